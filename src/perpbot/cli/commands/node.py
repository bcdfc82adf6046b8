"""Commands that run a node, look at one, stop one."""

from __future__ import annotations

from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, ModeOption, TestnetFlag, command, family

commands = family()


@command(commands, example="perpbot run --paper -c config.yaml")
def run(
    paper: Annotated[bool, typer.Option("--paper", help="Real data, simulated fills.")] = False,
    testnet: TestnetFlag = False,
    live: Annotated[
        bool, typer.Option("--live", help="Real money; needs two more confirmations.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Trade until stopped with Ctrl-C or SIGTERM: on paper unless told otherwise.

    SIGUSR1 and SIGUSR2 are the kill switch at level 2 and level 4 (perpbot kill --help).
    """
    from perpbot.cli.run import run_run

    return run_run(paper=paper, testnet=testnet, live=live, as_json=json, files=config)


@command(commands, example="perpbot guardian --testnet -c config.yaml")
def guardian(
    testnet: TestnetFlag = False,
    live: Annotated[
        bool, typer.Option("--live", help="Real money; needs the same confirmations as run.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Watch a node of the same configuration; when it falls silent, cancel and flatten for it.

    Runs beside `perpbot run`, with keys of its own (docs/guardian.md). With --json one fact a
    line.
    """
    from perpbot.cli.guardian import run_guard

    return run_guard(testnet=testnet, live=live, as_json=json, files=config)


@command(commands, example="perpbot status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Say what a running node holds; exit code 3 when none runs."""
    from perpbot.cli.node import run_status

    return run_status(watch=watch, interval_s=interval, mode=mode, as_json=json, files=config)


@command(commands, example="perpbot health || echo ill")
def health(mode: ModeOption = None, json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Tell by the exit code whether a node works: 0 healthy, 1 ill, 3 not running."""
    from perpbot.cli.node import run_health

    return run_health(mode=mode, as_json=json, files=config)


@command(commands, example='perpbot kill --level 4 --reason "venue looks wrong"')
def kill(
    level: Annotated[
        int,
        typer.Option(
            min=1,
            max=5,
            help="1 no opens; 2 and cancel resting orders; 3 and flatten what is unhedged; "
            "4 flatten everything; 5 and exit.",
        ),
    ] = 3,
    venue: Annotated[
        str, typer.Option(help="Only what is on this venue, with levels 1 to 4.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "perpbot kill",
    clear: Annotated[
        bool,
        typer.Option("--clear", help="Take the kill switch away instead: all, or the venue's."),
    ] = False,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Stop a running node, or one of its venues, from trading, by level. A restart keeps it.

    On a venue: 1 no opens with a leg there; 2 and cancel what rests there; 3 and flatten what is
    unhedged with a leg there; 4 close every pair with a leg there. Other venues trade on.

    The same by `touch KILL` in the state directory (level 3), SIGUSR1 (2), SIGUSR2 (4), or the
    console's API with its token. Only a person takes it away: --clear.
    """
    from perpbot.cli.node import run_kill

    return run_kill(level, reason, venue=venue, clear=clear, mode=mode, as_json=json, files=config)
