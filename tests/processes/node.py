"""The program of a node process: `python -m tests.processes.node PLAN.json`, or forked.

Puts a node together as the demo does, from the product's own parts, on a state directory that
outlives it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from perpbot import __version__
from perpbot.app.node import Node
from perpbot.app.summary import open_positions, profit_of
from perpbot.app.venues import make_venue
from perpbot.domain.events import AlertFired
from perpbot.domain.money import plain
from perpbot.kernel.clock import RealClock
from perpbot.venues.options import VenueConnection
from tests.processes.plan import NodePlan, decode
from tests.processes.points import Acks, Points, install

SETTLE_S = 30.0
CLOSE_S = 15.0
LOOK_S = 0.02
MOVING = frozenset({"runs", "equity", "nonces"})
"""Components whose state moves with every start or minute; a recovery that has nothing to do must
leave all others as they are."""


def run(plan: NodePlan) -> None:
    """Live one life."""
    began = time.monotonic()
    plan.state.mkdir(parents=True, exist_ok=True)
    points = Points(plan.death, plan.acks.with_name("deaths.txt"))
    install(points, Acks(plan.acks), plan.segment_bytes)
    try:
        asyncio.run(_live(plan, points, began))
    except BaseException as error:
        _write(plan.report, {"failed": f"{type(error).__name__}: {error}"})
        raise


async def _live(plan: NodePlan, points: Points, began: float) -> None:
    rng, clock = random.Random(plan.seed), RealClock()
    node = Node(
        plan.effective(),
        [
            make_venue(
                server.venue,
                VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url),
                server.credentials,
                clock,
                rng,
            )
            for server in plan.servers
        ],
        clock=clock,
        rng=rng,
        state_directory=plan.state,
        version=__version__,
        say=_say,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.leave)
    await node.open()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _flood, node, plan.flood)
    found: dict[str, Any] = {"opened_s": round(time.monotonic() - began, 3)}
    if plan.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.file_limit, plan.file_limit))
    try:
        if plan.task == "settle":
            node.core.stop_opening()
            found |= await _settle(node, began)
        else:
            await node.run()
            found["flat"] = await node.wind_down(CLOSE_S)
    finally:
        await node.close("processes")
    _write(plan.report, {**found, **_state(node), "reached": dict(points.reached)})


async def _settle(node: Node, began: float) -> dict[str, Any]:
    """Open nothing; wait until all venues agree and everything is flat, and they agree again."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S

    def agreed() -> bool:
        return not any(node.core.readiness.refusal(venue) for venue in node.venues)

    async def reached() -> bool:
        while not agreed() and loop.time() < until:  # noqa: ASYNC110 - a fact of several tables
            await asyncio.sleep(LOOK_S)
        return agreed()

    ready = await reached()
    ready_s = round(time.monotonic() - began, 3)
    flat = await node.wind_down(max(until - loop.time(), 0.0))
    return {
        "ready": ready,
        "ready_s": ready_s,
        "flat": flat,
        "agreed": await reached(),
        "settled_s": round(time.monotonic() - began, 3),
    }


def _state(node: Node) -> dict[str, Any]:
    core = node.core
    positions, dust = open_positions(core)
    state = msgspec.msgpack.decode(core.state.dump(), strict=False)
    return {
        "epoch": core.folds.runs.epoch,
        "halted": None if core.bus.halted is None else str(core.bus.halted),
        "pairs": len(core.folds.pairs),
        "open_orders": sum(1 for _ in core.folds.orders.unsettled()),
        "reserved": plain(core.capital.reserved_total()),
        "overfills": core.folds.orders.overfills,
        "positions": positions,
        "dust": dust,
        "net": plain(profit_of(core).net),
        "refusals": {venue: core.readiness.refusal(venue) for venue in node.venues},
        "digests": {
            name: hashlib.sha256(msgspec.msgpack.encode(part, order="deterministic")).hexdigest()
            for name, part in state.items()
            if name not in MOVING
        },
    }


def _flood(node: Node, count: int) -> None:
    """Let another thread publish while this one is busy, so that all of it waits at once."""

    def publish() -> None:
        for number in range(count):
            node.core.bus.publish(
                AlertFired(ts_ns=number, name="flood", severity="info", text=str(number))
            )

    other = threading.Thread(target=publish)
    other.start()
    other.join()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write(path: Path, found: dict[str, Any]) -> None:
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(msgspec.json.encode(found))
    scratch.replace(path)


def main() -> None:
    """Read the plan; live."""
    run(decode(Path(sys.argv[1]).read_bytes()))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
