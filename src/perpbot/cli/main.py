"""The tree of commands: one module a family in `perpbot.cli.commands`."""

from __future__ import annotations

import typer

from perpbot.cli.commands import configuration, home, journal, keys, node, risk
from perpbot.cli.output import open_streams

app = typer.Typer(
    name="perpbot",
    help="Trade perpetual futures across venues: watch, arbitrage, account for every cent.",
    epilog="Example: perpbot demo --seconds 30",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _family in (home, node, risk, configuration, journal, keys):
    app.add_typer(_family.commands)


app.callback()(configuration.before_any)


def main() -> None:
    """Entry point of the `perpbot` command."""
    open_streams()
    app()
