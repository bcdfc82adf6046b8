"""A node in process that a guardian took over while its loop stood still."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpbot.app.core import Core
from perpbot.app.run import run_node
from perpbot.configuration import Configuration, load_configuration
from perpbot.domain.events import ComponentFailed, Heartbeat, RunEnded, RunStarted
from perpbot.guardian.epoch import Epoch, raise_epoch
from perpbot.guardian.heartbeat import read_beat
from perpbot.guardian.pulse import TakenOver
from perpbot.kernel.clock import Clock
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.writer import Journal
from perpbot.operations.killsignals import KillSignals
from perpbot.settings import Flag
from perpbot.simulation.wire.process import RunningServers, launch

LIMIT_S = 30.0


def configure(tmp_path: Path, servers: RunningServers) -> Configuration:
    """A paper node with a lease of half a second."""
    flags: dict[str, Any] = {
        "mode": "paper",
        "market.symbols": ["BTC-PERP", "ETH-PERP"],
        "paths.state_dir": str(tmp_path / "state"),
        "venues.hyperliquid.enabled": False,
        "console.enabled": False,
        "guardian.heartbeat_interval_s": 0.1,
        "guardian.silence_s": 1.0,
    }
    for server in servers.servers:
        flags[f"venues.{server.venue}.rest_url"] = server.rest_url
        flags[f"venues.{server.venue}.ws_url"] = server.ws_url
    return load_configuration(
        environ={}, flags=tuple(Flag(name, "test", value) for name, value in flags.items())
    )


async def until(look: Any) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT_S):
        while not look():  # noqa: ASYNC110 - files are looked at
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.blocking
async def test_a_takeover_while_the_node_ends_leaves_the_rest_to_the_guardian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is closed; the end is not called orderly, so the guardian goes on."""
    servers = await launch(["binance", "okx"], seed=1, port_base=0, balance=Decimal(10_000))
    state = tmp_path / "state" / "paper"
    stop = asyncio.Event()

    async def fenced(core: Core, _clock: Clock) -> None:
        core.bus.halt(TakenOver("the guardian took over"))
        core.bus.publish(Heartbeat(ts_ns=0, component="core"))

    monkeypatch.setattr("perpbot.app.node.cancel_resting", fenced)
    try:
        node = asyncio.create_task(
            run_node(configure(tmp_path, servers), stop, say=lambda _text: None)
        )
        await until((state / "status.json").exists)
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await node
    finally:
        await servers.stop()

    beat = read_beat(state)
    assert beat is not None
    assert not beat.ended
    Journal(state / "journal").close()  # nobody holds it


@pytest.mark.slow
@pytest.mark.blocking
async def test_the_next_run_begins_in_the_same_process(tmp_path: Path) -> None:
    """The first run halts before it sends; the second recovers, keeps the signals, ends."""
    servers = await launch(["binance", "okx"], seed=1, port_base=0, balance=Decimal(10_000))
    state = tmp_path / "state" / "paper"
    said: list[str] = []
    stop, kills = asyncio.Event(), KillSignals()
    try:
        node = asyncio.create_task(
            run_node(configure(tmp_path, servers), stop, say=said.append, kills=kills)
        )

        def epoch() -> int:
            beat = read_beat(state)
            return 0 if beat is None else beat.epoch

        await until(epoch)
        first = epoch()
        raise_epoch(
            state, Epoch(number=first + 7, run_epoch=first, at_ns=time.time_ns(), reason="silent")
        )
        time.sleep(0.7)  # noqa: ASYNC251 - the loop stands still
        await until(lambda: epoch() > first)
        assert epoch() == first + 8
        await until((state / "status.json").exists)
        status = json.loads((state / "status.json").read_text())
        assert {row["cancels"] for row in status["protection"]} == {"not needed"}
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await node
    finally:
        await servers.stop()

    assert any("recovering before anything is sent" in text for text in said)
    beat = read_beat(state)
    assert beat is not None
    assert beat.ended
    events = [record.event() for record in read_records(state / "journal")]
    runs = [event.epoch for event in events if isinstance(event, RunStarted)]
    assert runs == [first, first + 8]
    assert any(isinstance(e, ComponentFailed) and "TakenOver" in e.error for e in events)
    assert isinstance(events[-1], RunEnded)
