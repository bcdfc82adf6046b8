"""Hundreds of reconnects: nothing of a lost connection may stay behind.

A node on real adapters over loopback; the lines to three exchanges are cut again and again, in
order and by reset. Tasks, file descriptors and memory are counted before and after, with the same
streams up both times. No venue lets an address dial so often, so that limit is lifted here.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from perpbot.app.demo import node_at_home
from perpbot.app.node import Node
from perpbot.configuration import load_configuration
from perpbot.domain.events import ConnectionState, VenueConnectionChanged
from perpbot.settings import Flag
from perpbot.simulation.wire.process import RunningServers, ServerAddress, launch
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.limits import Window
from tests.load.cutter import Cutter, place_of

VENUES = ("binance", "okx", "hyperliquid")
CHANNELS = ("public", "private")
WARM_UP = 60
"""Reconnects before the first count: every lazy thing has been made by then."""
BACK_S = 60.0
"""Long enough for a machine that has much else to do; what is slow is told with its reason."""
LOOK_S = 0.02
QUIET_S = 1.5
GROWTH_BYTES = 2_000
"""By reconnect: counters and the comparison that follows each, not a connection or a task."""
DIALS = Window(name="dials", limit=1_000_000, period_s=1.0)
_DESCRIPTORS = Path("/proc/self/fd")


class Counts(msgspec.Struct, frozen=True):
    """What is there at one moment."""

    tasks: int
    comparisons: int
    """Under way; one a venue at most."""
    descriptors: int
    memory_bytes: int


class _Hasty(random.Random):
    """Draws the shortest delays: backoff is not what is measured."""

    def uniform(self, a: float, b: float) -> float:
        return min(super().uniform(a, b), 0.005)


async def measure(directory: Path, *, reconnects: int, warm_up: int = WARM_UP) -> dict[str, Any]:
    """Cut until there were so many reconnects; return the figures."""
    servers = await launch(list(VENUES), seed=1)
    tracemalloc.start()  # before anything that a reconnect replaces
    try:
        async with AsyncExitStack() as stack:
            cutters = {
                server.venue: await stack.enter_async_context(Cutter(*place_of(server.rest_url)))
                for server in servers.servers
            }
            node = _node(servers, cutters, directory)
            await node.open()
            try:
                return await _cut_and_count(node, cutters, reconnects, warm_up)
            finally:
                await node.close("measured")
    finally:
        tracemalloc.stop()
        await servers.stop()


def _node(servers: RunningServers, cutters: dict[str, Cutter], directory: Path) -> Node:
    flags = (Flag("mode", "load", "demo"), Flag("market.symbols", "load", ["BTC-PERP"]))
    settings = load_configuration(environ={}, flags=flags).settings

    def address(server: ServerAddress) -> VenueConnection:
        cut = cutters[server.venue].address
        return VenueConnection(
            rest_url=cut(server.rest_url), ws_url=cut(server.ws_url), dials=DIALS
        )

    return node_at_home(settings, servers, directory, _Hasty(1), address=address)


async def _cut_and_count(
    node: Node, cutters: dict[str, Cutter], reconnects: int, warm_up: int
) -> dict[str, Any]:
    back = 0
    reasons: dict[str, str] = {}

    def changed(event: VenueConnectionChanged) -> None:
        nonlocal back
        back += event.channel in CHANNELS and event.state is ConnectionState.LIVE
        if event.reason:
            reasons[event.venue] = f"{event.channel}: {event.reason}"

    async def cut_until(count: int) -> None:
        try:
            await asyncio.gather(
                *(_cut_until(node, *line, lambda: back >= count) for line in lines)
            )
        except TimeoutError as error:
            error.add_note(f"newest reasons: {reasons}")
            raise

    lines = list(cutters.items())
    node.core.stop_opening()
    node.core.bus.subscribe(VenueConnectionChanged, changed)
    await asyncio.gather(*(_live(node, venue) for venue in cutters))
    await cut_until(warm_up)
    before, counted, begun = await _count(), back, time.monotonic()
    await cut_until(counted + reconnects)
    seconds = time.monotonic() - begun
    after = await _count()
    done = back - counted
    growth = after.memory_bytes - before.memory_bytes
    return {
        "reconnects": done,
        "connections_accepted": sum(cutter.accepted for cutter in cutters.values()),
        "seconds": round(seconds, 1),
        "tasks_before": before.tasks,
        "tasks_after": after.tasks,
        "comparisons_after": after.comparisons,
        "descriptors_before": before.descriptors,
        "descriptors_after": after.descriptors,
        "memory_growth_bytes": growth,
        "memory_growth_per_reconnect": round(growth / done),
        "holds": (
            after.tasks <= before.tasks
            and after.comparisons <= len(cutters)
            and after.descriptors <= before.descriptors
            and growth / done <= GROWTH_BYTES
        ),
    }


async def _cut_until(node: Node, venue: str, cutter: Cutter, enough: Callable[[], bool]) -> None:
    """Cut the line of a venue again and again, each time once its streams are up."""
    rounds = 0
    while not enough():
        rounds += 1
        cutter.cut(reset=bool(rounds % 2))
        await asyncio.sleep(LOOK_S)
        await _live(node, venue)


async def _live(node: Node, venue: str) -> None:
    # Not: that the venue agrees. So many comparisons a minute exceed our own rate budgets.
    state = node.core.readiness.state
    until = time.monotonic() + BACK_S
    while down := [name for name in CHANNELS if state(venue, name) is not ConnectionState.LIVE]:
        if time.monotonic() > until:
            raise TimeoutError(f"{venue} is not back after {BACK_S:g} s: {', '.join(down)}")
        await asyncio.sleep(LOOK_S)


async def _count() -> Counts:
    """Count when it is quiet: the least of many looks, for requests come and go."""
    looks = []
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        await asyncio.sleep(LOOK_S)
        looks.append((*_tasks(), _descriptors()))
    gc.collect()
    return Counts(
        tasks=min(tasks for tasks, _, _ in looks),
        comparisons=min(comparisons for _, comparisons, _ in looks),
        descriptors=min(descriptors for _, _, descriptors in looks),
        memory_bytes=tracemalloc.get_traced_memory()[0],
    )


def _descriptors() -> int:
    return sum(1 for _ in _DESCRIPTORS.iterdir())


def _tasks() -> tuple[int, int]:
    """Return standing tasks, and comparisons that wait for their turn at a venue."""
    names = [f"{task.get_name()} {_code(task)}" for task in asyncio.all_tasks()]
    comparing = sum(" reconcile " in name for name in names)
    parts = sum("VenueGateway._survey" in name or "InfoClient.ask" in name for name in names)
    return len(names) - comparing - parts, comparing


def _code(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")
