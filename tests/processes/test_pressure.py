"""A node short of memory, and one whose console nobody reads."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perpbot.domain.events import AlertFired, BusOverflow, RiskRejected
from perpbot.kernel.journal.reading import read_records
from perpbot.operations.runfile import running
from tests.processes.guardian.rig import Rig, open_rig
from tests.processes.nursery import Nursery
from tests.processes.stage import open_stage, report_of
from tests.processes.test_instances import ALONE, alarms, planned
from tests.processes.test_network import trading

pytestmark = [pytest.mark.timeout(180)]

CLIENTS = 60
HELD_S = 8.0


def refusals(rig: Rig) -> set[str]:
    """The rules that refused something."""
    events = [r.event() for r in read_records(rig.state / "journal") if r.kind == "RISK_REJECTED"]
    return {event.rule for event in events if isinstance(event, RiskRejected)}


async def test_above_the_soft_limit_of_memory(tmp_path: Path) -> None:
    """Nothing opens, and a person is told; the node lives on."""
    async with open_rig(tmp_path, {**ALONE, "health.memory_soft_mb": 16}) as rig:
        node = await rig.node()
        await rig.until("a refusal", lambda: "back_pressure" in refusals(rig))
        assert planned(rig) == 0
        assert "nothing opens above 16 MB" in alarms(rig)
        assert await node.end() == 0


async def test_above_the_hard_limit_of_memory(tmp_path: Path) -> None:
    """It ends in order, as an error: whatever keeps it running starts it anew."""
    limits = {"health.memory_soft_mb": 16, "health.memory_hard_mb": 17}
    async with open_rig(tmp_path, {**ALONE, **limits}) as rig:
        node = await rig.start("run", "--testnet")
        assert await node.wait() == 1
        assert "health.memory_hard_mb" in node.words
        assert [r.kind for r in read_records(rig.state / "journal")][-1] == "RUN_ENDED"
        assert running(rig.state) is None


QUEUES = {"bus.high_water_events": 100, "bus.hard_limit_events": 400}


async def test_queue_above_its_high_water_mark(nursery: Nursery, tmp_path: Path) -> None:
    """Opens stop and go on, told on both edges; every event is journalled, in its order."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        child = await stage.start(flood=300, settings=QUEUES)
        await trading(stage, child)
        child.signal(signal.SIGUSR2)
        await trading(stage, child)
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.words()
        events = [record.event() for record in read_records(stage.journal)]
        found, _ = await stage.judge()
    assert found == []
    assert [e.active for e in events if isinstance(e, BusOverflow)] == [True, False]
    told = [e.text for e in events if isinstance(e, AlertFired) and e.name == "flood"]
    assert told == [str(number) for number in range(300)]


async def test_queue_above_its_hard_limit(nursery: Nursery, tmp_path: Path) -> None:
    """The node halts rather than drop anything, and the next one finds everything."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        child = await stage.start(flood=1_000, settings=QUEUES)
        await trading(stage, child)
        child.signal(signal.SIGUSR2)
        assert await child.wait() == 1
        assert "lane holds" in report_of(child)["failed"]
        found, _ = await stage.judge()
    assert found == []


async def test_clients_that_never_read(tmp_path: Path) -> None:
    """They ask and ask; the node trades as before and stays quick."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    console = {"console.enabled": True, "console.port": port}
    async with open_rig(tmp_path, {**ALONE, **console}) as rig:
        node = await rig.node()
        info = running(rig.state)
        assert info is not None
        place = urlsplit(info.console_url)
        question = f"GET /metrics HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode() * 200
        with contextlib.ExitStack() as clients:
            for _ in range(CLIENTS):
                client = clients.enter_context(
                    socket.create_connection((place.hostname, place.port), timeout=5)
                )
                client.setblocking(False)
                client.send(question)
            before = planned(rig)
            assert await rig.said(HELD_S) > HELD_S / 4, "it stood still"
            await rig.until("another trade", lambda: planned(rig) > before)
        assert await node.end() == 0
