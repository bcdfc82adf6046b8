"""The demo: our own exchanges in a child process, a node against them over real sockets.

Needs no keys and no network. It trades for a while, stops opening, closes every pair and asks the
exchanges' own accountant whether our books are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpbot import __version__
from perpbot.app.heap import set_aside
from perpbot.app.node import Node
from perpbot.app.summary import TrueBooks, percentiles, summarise
from perpbot.app.venues import make_venue
from perpbot.configuration import Settings
from perpbot.kernel.clock import RealClock
from perpbot.simulation.wire.process import RunningServers, ServerAddress, launch
from perpbot.venues.options import VenueConnection

PATIENCE_S = 5.0
"""How long open pairs may leave by themselves before they are closed."""
CLOSE_LIMIT_S = 30.0
Watcher = Callable[[Node, float], None]
"""Called a few times a second with the node and the seconds since it began."""


async def run_demo(
    settings: Settings,
    venues: Sequence[str],
    *,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
    watch: Watcher,
    refresh_s: float = 0.25,
) -> dict[str, Any]:
    """Run the demo; return its summary. Raises `ServersFailed` when the exchanges do not start.

    The node lives in a directory of its own; one that came to its end leaves its records in the
    state directory, for `perpbot explain` and the like.
    """
    say(f"starting {len(venues)} local exchanges: {', '.join(venues)}")
    servers = await launch(
        venues,
        seed=seed,
        port_base=settings.simulation.port_base,
        balance=settings.simulation.balance_usd,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="perpbot-demo-") as directory:
            summary = await _run_node(
                settings, servers, seconds, seed, Path(directory), say, watch, refresh_s
            )
            keep_records(Path(directory), settings.state_path, say)
    finally:
        await servers.stop()
    return summary


def keep_records(work: Path, kept: Path, say: Callable[[str], None]) -> None:
    """Move what a demo wrote to `kept`, in the place of the last demo's; say how to look at it."""
    try:
        if kept.exists():
            shutil.rmtree(kept)
        kept.mkdir(mode=0o700, parents=True)
        for path in list(work.iterdir()):
            shutil.move(path, kept)
    except OSError as error:
        say(f"its records could not be kept: {error}")
    else:
        say(f"its records are kept in {kept}: perpbot trades export --mode demo")


def address_of(server: ServerAddress) -> VenueConnection:
    """Return where a server of ours answers."""
    return VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url)


def node_at_home(
    settings: Settings,
    servers: RunningServers,
    directory: Path,
    rng: random.Random,
    *,
    say: Callable[[str], None] = lambda _text: None,
    address: Callable[[ServerAddress], VenueConnection] = address_of,
) -> Node:
    """Return a node on exchanges of ours, not yet open; `address` may lead through a proxy."""
    clock = RealClock()
    return Node(
        settings,
        [
            make_venue(server.venue, address(server), server.credentials, clock, rng)
            for server in servers.servers
        ],
        clock=clock,
        rng=rng,
        state_directory=directory,
        version=__version__,
        say=say,
    )


async def _run_node(
    settings: Settings,
    servers: RunningServers,
    seconds: float,
    seed: int,
    directory: Path,
    say: Callable[[str], None],
    watch: Watcher,
    refresh_s: float,
) -> dict[str, Any]:
    node = node_at_home(settings, servers, directory, random.Random(seed), say=say)
    await node.open()
    set_aside()
    try:
        return await _trade(node, servers, seconds, seed, say, watch, refresh_s)
    finally:
        await node.close("demo ended")


async def _trade(
    node: Node,
    servers: RunningServers,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
    watch: Watcher,
    refresh_s: float,
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    say(f"trading for {seconds:g} s, then closing everything")
    watcher = asyncio.create_task(_watch(node, started, watch, refresh_s))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await node.run()
        say("no more opens; pairs may converge for a moment, then all are closed")
        flat = await node.wind_down(CLOSE_LIMIT_S, patience_s=PATIENCE_S)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    elapsed = loop.time() - started
    books = await _settled_books(node, servers)
    summary = summarise(node.core, node.tally, books, mode="demo", seed=seed, seconds=elapsed)
    summary["latency_us"] = {"tick_to_order": percentiles(node.links.latency.tick_to_order_us, 1)}
    if not flat:
        summary["violations"].append(f"not flat {CLOSE_LIMIT_S:g} s after the end")
    return summary


async def _watch(node: Node, started: float, watch: Watcher, refresh_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        watch(node, loop.time() - started)
        await asyncio.sleep(refresh_s)


async def _settled_books(node: Node, servers: RunningServers) -> TrueBooks:
    """Ask the accountant, again while a last report may still be on its way to us."""
    for _ in range(20):
        books = true_books(await servers.accountant())
        ours = node.core.folds.positions.profit({}) if node.core.flat else None
        if ours is not None and abs(ours.net - books.net) < Decimal("0.01"):
            return books
        await asyncio.sleep(0.1)
    return books


def true_books(answer: dict[str, Any]) -> TrueBooks:
    """Read the accountant's answer."""
    return TrueBooks(
        net=Decimal(answer["net"]),
        positions={
            (row["venue"], row["asset"]): Decimal(row["quantity"]) for row in answer["positions"]
        },
        executions_per_client_id=answer["executions_per_client_id"],
    )
