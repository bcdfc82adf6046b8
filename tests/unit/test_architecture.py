"""Rules of the house for which import-linter has no contract (see pyproject.toml for its own)."""

from __future__ import annotations

import grimp


def test_only_app_and_cli_import_the_console() -> None:
    """Nothing but app, cli and the console itself imports the console directly."""
    graph = grimp.build_graph("perpbot", cache_dir=None)
    console = {name for name in graph.modules if name.startswith("perpbot.console")}

    importers = {
        importer.split(".")[1]
        for name in console
        for importer in graph.find_modules_that_directly_import(name)
    }

    assert importers <= {"app", "cli", "console"}
