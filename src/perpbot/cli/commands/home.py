"""Commands that need no venue: the demo, our exchanges, a tape, chaos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, command, family

LAST_SEED = 2**63 - 1

commands = family()


@command(commands, example="perpbot demo --seconds 20 --seed 7")
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=1, max=86_400, help="How long to trade before closing everything."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LAST_SEED, help="Seed of the market.")
    ] = None,
    venues: Annotated[
        str, typer.Option(help="Venues to run, separated by commas.")
    ] = "binance,okx,hyperliquid",
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Start local exchanges in their real protocols, trade on them, close, print a summary."""
    from perpbot.cli.demo import run_demo

    return run_demo(seconds, seed, venues, as_json=json, files=config)


@command(commands, example="perpbot simulate okx hyperliquid --port-base 9100")
def simulate(
    venues: Annotated[list[str], typer.Argument(help="Venues to serve.")],
    port_base: Annotated[int, typer.Option(min=0, help="First port; 0 takes free ones.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of market and credentials.")] = 1,
    tape: Annotated[
        Path | None, typer.Option(help="Recorded tape that moves the markets.")
    ] = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Serve local exchanges in their real protocols until SIGTERM; one JSON line a server."""
    from perpbot.cli.simulate import run_simulate

    return run_simulate(venues, port_base, seed, tape)


@command(
    commands, example="perpbot replay tape.csv.gz --map binance_usdm=binance,bybit_linear=okx"
)
def replay(
    tape: Annotated[Path, typer.Argument(help="Recorded tape, csv or csv.gz.")],
    mapping: Annotated[
        str, typer.Option("--map", help="Which venue a venue of the tape stands for.")
    ],
    maker_bps: Annotated[
        float, typer.Option(min=-100, max=1_000, help="Maker fee of every venue; < 0: a rebate.")
    ] = 2.0,
    taker_bps: Annotated[
        float, typer.Option(min=-100, max=1_000, help="Taker fee of every venue.")
    ] = 5.0,
    min_edge_bps: Annotated[
        float, typer.Option(min=0, max=5_000, help="Least edge after all costs.")
    ] = 1.0,
    latency_ms: Annotated[
        float, typer.Option(min=0, max=60_000, help="One-way latency of requests and answers.")
    ] = 20.0,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Run a recorded cross-venue tape through the node in virtual time; deterministic."""
    from perpbot.cli.replay import run_replay

    return run_replay(
        tape,
        mapping,
        maker_bps=maker_bps,
        taker_bps=taker_bps,
        min_edge_bps=min_edge_bps,
        latency_ms=latency_ms,
        as_json=json,
        files=config,
    )


@command(commands, example="perpbot chaos --seeds 200 --row 6")
def chaos(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run.")] = 100,
    first: Annotated[int, typer.Option("--from", min=0, help="First seed.")] = 1,
    tier: Annotated[
        str,
        typer.Option(help="A: the core against exchanges in process; B: adapters and wires, too."),
    ] = "A",
    row: Annotated[
        str | None,
        typer.Option(
            help="Row of the fault matrix that every seed contains. Any other word names them."
        ),
    ] = None,
    mutant: Annotated[
        str | None,
        typer.Option(
            help="Safeguard to take away, or all: each must be caught. Any other word names them."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes that run seeds; 0: one for every core.")
    ] = 0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail also when a row, an edge or a kill point is not hit."),
    ] = False,
    within: Annotated[
        float,
        typer.Option(min=0, help="Seconds after which no further seed is begun; 0: run all."),
    ] = 0.0,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Break everything by seed, in virtual time; every invariant must hold."""
    from perpbot.cli.chaos import run_chaos

    return run_chaos(
        seeds,
        first,
        tier,
        row,
        mutant,
        jobs=jobs,
        strict=strict,
        within_s=within,
        as_json=json,
    )
