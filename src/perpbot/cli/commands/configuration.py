"""Commands that set up and check what a node needs: files, settings, surroundings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, command, family

commands = family()
config_commands = family(
    "What is set, and what set it.", example="perpbot config explain risk.max_slippage_bps"
)
commands.add_typer(config_commands, name="config")


@command(commands, example="perpbot init")
def init(
    yes: Annotated[bool, typer.Option("--yes", help="Write over files that exist.")] = False,
    directory: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Write a first config.yaml and .env."""
    from perpbot.cli.init import run_init

    return run_init(directory, yes=yes, as_json=json)


@command(commands, example="perpbot doctor -c config.yaml")
def doctor(json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Look for what would keep a run from working."""
    from perpbot.cli.doctor import run_doctor

    return run_doctor(as_json=json, files=config)


@command(commands, example="perpbot version --json")
def version(json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Print the version."""
    from perpbot import __version__
    from perpbot.cli.output import Exit, emit, show

    if json:
        emit({"version": __version__})
    else:
        show(f"perpbot {__version__}")
    return Exit.OK


def _tell_version(asked: bool) -> None:
    from perpbot import __version__
    from perpbot.cli.output import show

    if asked:
        show(f"perpbot {__version__}")
        raise typer.Exit


def before_any(
    told: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take what stands before any command."""


@command(config_commands, "validate", example="perpbot config validate -c config.yaml")
def config_validate(json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Check the configuration; say every problem."""
    from perpbot.cli.config import run_validate

    return run_validate(as_json=json, files=config)


@command(config_commands, "show", example="perpbot config show --changed")
def config_show(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """List every value that is in force."""
    from perpbot.cli.config import run_config_show

    return run_config_show(changed=changed, as_json=json, files=config)


@command(config_commands, "schema", example="perpbot config schema > perpbot.schema.json")
def config_schema(json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Print the JSON schema of the configuration, for editors."""
    from perpbot.cli.config import run_schema

    return run_schema()


@command(config_commands, "explain", example="perpbot config explain risk.max_slippage_bps")
def config_explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Such as risk.max_slippage_bps.")],
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Say what a key means, its value, which file and line set it, and what that replaced."""
    from perpbot.cli.config import run_config_explain

    return run_config_explain(key, as_json=json, files=config)
