"""The tree of commands. Rooms are imported inside commands, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.output import ConfigFiles, JsonFlag, guarded

app = typer.Typer(
    name="perpbot",
    help="Trade perpetual futures across venues: watch, arbitrage, account for every cent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Example: perpbot demo --seconds 20 --seed 7")
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long to trade before closing everything.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the market.")] = None,
    venues: Annotated[
        str, typer.Option(help="Venues to run, separated by commas.")
    ] = "binance,okx,hyperliquid",
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Start local exchanges in their real protocols, trade on them, close, print a summary."""
    from perpbot.cli.demo import run_demo

    guarded(lambda: run_demo(seconds, seed, venues, as_json=json, files=config))


@app.command(epilog="Example: perpbot simulate okx hyperliquid --port-base 9100")
def simulate(
    venues: Annotated[list[str], typer.Argument(help="Venues to serve.")],
    port_base: Annotated[int, typer.Option(min=0, help="First port; 0 takes free ones.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of market and credentials.")] = 1,
    tape: Annotated[
        Path | None, typer.Option(help="Recorded tape that moves the markets.")
    ] = None,
    json: JsonFlag = False,  # noqa: ARG001 - output is JSON lines anyway
) -> None:
    """Serve local exchanges in their real protocols until SIGTERM; one JSON line a server."""
    from perpbot.cli.simulate import run_simulate

    guarded(lambda: run_simulate(venues, port_base, seed, tape))


@app.command(
    epilog="Example: perpbot replay tape.csv.gz --map binance_usdm=binance,bybit_linear=okx"
)
def replay(
    tape: Annotated[Path, typer.Argument(help="Recorded tape, csv or csv.gz.")],
    mapping: Annotated[
        str, typer.Option("--map", help="Which venue a venue of the tape stands for.")
    ],
    maker_bps: Annotated[float, typer.Option(help="Maker fee of every venue.")] = 2.0,
    taker_bps: Annotated[float, typer.Option(help="Taker fee of every venue.")] = 5.0,
    min_edge_bps: Annotated[float, typer.Option(min=0, help="Least edge after all costs.")] = 1.0,
    latency_ms: Annotated[
        float, typer.Option(min=0, max=60_000, help="One-way latency of requests and answers.")
    ] = 20.0,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Run a recorded cross-venue tape through the node in virtual time; deterministic."""
    from perpbot.cli.replay import run_replay

    guarded(
        lambda: run_replay(
            tape,
            mapping,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            min_edge_bps=min_edge_bps,
            latency_ms=latency_ms,
            as_json=json,
            files=config,
        )
    )


def main() -> None:
    """Entry point of the `perpbot` command."""
    app()
