"""How a command is declared: the options that several share, and what every command goes through.

Every command takes `--json` and `-c`, also where it has no use for them: nobody has to remember
which one does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec

import typer

from perpbot.cli.output import guarded

P = ParamSpec("P")

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print data as JSON on standard output, nothing else.")
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", help="Configuration file; may be repeated, later files win."),
]
ModeOption = Annotated[
    str | None,
    typer.Option("--mode", help="Mode of the node: paper, testnet, live. Default: as configured."),
]
TestnetFlag = Annotated[bool, typer.Option("--testnet", help="The venues' test networks.")]


def family(help_text: str = "", *, example: str = "") -> typer.Typer:
    """Return a place for commands that belong together; `example` ends its `--help`."""
    return typer.Typer(
        help=help_text or None,
        epilog=f"Example: {example}" if example else None,
        no_args_is_help=True,
    )


def command(
    commands: typer.Typer, name: str | None = None, *, example: str
) -> Callable[[Callable[P, int]], Callable[P, NoReturn]]:
    """Declare a function that returns its exit code as a command; errors of ours have their own.

    `example` ends its `--help`. What a command needs it imports inside, so that `--help` answers
    at once.
    """

    def declare(work: Callable[P, int]) -> Callable[P, NoReturn]:
        @wraps(work)
        def run(*values: P.args, **options: P.kwargs) -> NoReturn:
            guarded(lambda: work(*values, **options))

        return commands.command(name, epilog=f"Example: {example}")(run)

    return declare
