"""Processes that stand still (SIGSTOP) and go on: the node, and its exchanges."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.processes.nursery import Child, Nursery
from tests.processes.stage import Stage, open_stage, report_of
from tests.processes.test_network import STALE_S, opened, trading

pytestmark = [pytest.mark.timeout(180)]

STOPPED_S = 6.0
HELD_S = STALE_S + 2.0


async def _node_stands(stage: Stage, child: Child) -> tuple[int, int]:
    """Resume into a socket full of old frames; no new one comes before all of them are read."""
    child.signal(signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    os.kill(stage.exchanges.pid, signal.SIGSTOP)
    await asyncio.sleep(STALE_S)
    resumed_ns = time.time_ns()
    child.signal(signal.SIGCONT)
    await asyncio.sleep(STALE_S)
    os.kill(stage.exchanges.pid, signal.SIGCONT)
    return resumed_ns, time.time_ns()


async def _exchanges_stand(stage: Stage, child: Child) -> tuple[int, int]:
    """Every socket is half-open: the kernel takes what is sent, and nobody answers."""
    os.kill(stage.exchanges.pid, signal.SIGSTOP)
    stopped_ns = time.time_ns()
    await asyncio.sleep(HELD_S)
    os.kill(stage.exchanges.pid, signal.SIGCONT)
    return stopped_ns + int(STALE_S * 1e9), time.time_ns()


Stop = Callable[[Stage, Child], Awaitable[tuple[int, int]]]


async def suffer(stop: Stop, nursery: Nursery, directory: Path) -> list[str]:
    """Trade, stand, go on, trade again, end; return what does not hold."""
    async with open_stage(directory, nursery) as stage:
        child = await stage.start()
        await trading(stage, child)
        span = await stop(stage, child)
        await trading(stage, child)
        child.signal(signal.SIGTERM)
        code = await child.wait()
        found = [] if code == 0 else [f"exit code {code}: {child.words()[-2000:]}"]
        if not report_of(child).get("flat"):
            found.append(f"not flat: {report_of(child)}")
        if pairs := opened(stage, *span):
            found.append(f"{pairs} pairs were opened on old quotes")
        broken, _ = await stage.judge()
    return found + broken


async def test_processes_that_stand_still(nursery: Nursery, tmp_path: Path) -> None:
    """Nothing is decided on what was old at the time; everything goes on, and all ends flat."""
    stops: dict[str, Stop] = {"node": _node_stands, "exchanges": _exchanges_stand}
    found = await asyncio.gather(
        *(suffer(stop, nursery, tmp_path / name) for name, stop in stops.items())
    )
    assert dict(zip(stops, found, strict=True)) == {name: [] for name in stops}
