"""Rules of the house for which import-linter has no contract (see pyproject.toml for its own)."""

from __future__ import annotations

import grimp


def test_only_app_and_cli_import_the_console() -> None:
    """Nothing else imports the console, save that the settings tree takes the room's settings."""
    graph = grimp.build_graph("perpbot", cache_dir=None)
    console = {name for name in graph.modules if name.startswith("perpbot.console")}

    importers = {
        (importer.split(".")[1], imported)
        for imported in console
        for importer in graph.find_modules_that_directly_import(imported)
    }
    strangers = {pair for pair in importers if pair[0] not in {"app", "cli", "console"}}

    assert strangers <= {("configuration", "perpbot.console.settings")}
