"""`perpbot config`: what is set, what it means, and which file and line set it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perpbot.cli.output import Exit, argument, config_paths, emit, say, show
from perpbot.cli.place import dotenv
from perpbot.configuration import (
    Configuration,
    Settings,
    credential_problems,
    load_configuration,
)
from perpbot.settings import Flag, SettingsError, leaves, mask_value, schema, value_at
from perpbot.settings import show as written


def _load(files: Sequence[Path] | None) -> Configuration:
    """Load as `perpbot run` would, `--live` included where the file says live."""
    paths, environ, env_file = config_paths(files), os.environ, dotenv()
    try:
        return load_configuration(paths, environ=environ, dotenv=env_file)
    except SettingsError as error:
        told = [problem.message for problem in error.problems]
        not_meant = any("configuration file" in message for message in told)
        if not_meant or not any("--live" in message for message in told):
            raise
        flags = (Flag("mode", "--live", "live"),)
        return load_configuration(paths, environ=environ, dotenv=env_file, flags=flags)


def run_validate(*, as_json: bool, files: Sequence[Path] | None) -> int:
    """Check everything; say every problem."""
    warnings: list[str] = []
    try:
        configuration = _load(files)
        problems = [str(problem) for problem in credential_problems(configuration)]
        warnings = [str(warning) for warning in configuration.warnings]
        mode = configuration.settings.mode.value
    except SettingsError as error:
        problems, mode = [str(problem) for problem in error.problems], ""
    if as_json:
        emit({"valid": not problems, "mode": mode, "problems": problems, "warnings": warnings})
    else:
        for text in (*problems, *(f"warning: {warning}" for warning in warnings)):
            say(text)
        if not problems:
            show(f"valid, mode {mode}")
    return Exit.CONFIG if problems else Exit.OK


def run_config_show(*, changed: bool, as_json: bool, files: Sequence[Path] | None) -> int:
    """List every value with its source."""
    configuration = _load(files)
    rows = []
    for key in _keys(configuration):
        value = value_at(configuration.settings, tuple(key.split(".")))
        origin = str(configuration.origin(key))
        if value is None and origin == "default":
            continue
        if not (changed and origin.startswith("default")):
            rows.append({"key": key, "value": _masked(key, value), "source": origin})
    if as_json:
        emit(rows)
        return Exit.OK
    width = max((len(row["key"]) for row in rows), default=0)
    for row in rows:
        source = "" if row["source"] == "default" else f"  ({row['source']})"
        show(f"{row['key']:<{width}} = {row['value']}{source}")
    return Exit.OK


def _keys(configuration: Configuration) -> list[str]:
    """Return every key in the order of declaration, then those of blocks that somebody wrote."""
    keys = [note.key for note in leaves(Settings) if "*" not in note.key]
    return list(dict.fromkeys([*keys, *map(".".join, configuration.layers.paths())]))


def _masked(key: str, value: object) -> str:
    return mask_value(key, value) if isinstance(value, str) else written(value)


def run_schema() -> int:
    """Print the JSON schema for editors."""
    emit(schema(Settings))
    return Exit.OK


def run_config_explain(key: str, *, as_json: bool, files: Sequence[Path] | None) -> int:
    """Say what one key is, where its value came from and what it replaced."""
    configuration = _load(files)
    with argument():
        explanation = configuration.explain(key)
    if as_json:
        emit(explanation.as_dict())
    else:
        show(explanation.text())
    return Exit.OK
