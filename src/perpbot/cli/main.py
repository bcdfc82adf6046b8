"""The tree of commands: one module a family in `perpbot.cli.commands`."""

from __future__ import annotations

import typer

from perpbot.cli.commands import configuration, home, journal, keys, node

app = typer.Typer(
    name="perpbot",
    help="Trade perpetual futures across venues: watch, arbitrage, account for every cent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _family in (home, node, configuration, journal, keys):
    app.add_typer(_family.commands)


def main() -> None:
    """Entry point of the `perpbot` command."""
    app()
