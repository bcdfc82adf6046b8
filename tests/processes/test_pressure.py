"""A node short of memory, and one whose console nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perpbot.domain.events import RiskRejected
from perpbot.kernel.journal import read_records
from perpbot.operations.runfile import running
from tests.processes.guardian.rig import Rig, open_rig
from tests.processes.test_instances import ALONE, alarms, planned
from tests.processes.test_records import STATUS_S

pytestmark = [pytest.mark.timeout(90)]

CLIENTS = 60
HELD_S = 4.0


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
            before, ends = planned(rig), time.monotonic() + HELD_S
            slowest_s = 0.0
            while time.monotonic() < ends:
                await asyncio.sleep(0.1)
                slowest_s = max(slowest_s, time.time() - rig.status()["ts_ns"] / 1e9)
            assert slowest_s < STATUS_S
            assert planned(rig) > before
        assert await node.end() == 0
