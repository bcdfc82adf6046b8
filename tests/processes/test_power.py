"""Power losses: the process is killed, and the disk forgets what was never forced to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.app.durability import SYNCED
from perpbot.kernel.journal.record import read_one
from perpbot.operations.settings import SyncPolicy
from tests.processes.nursery import Nursery
from tests.processes.stage import Stage, open_stage
from tests.processes.test_network import trading

pytestmark = [pytest.mark.timeout(180)]

LOSSES = 3


def forget(stage: Stage, policy: SyncPolicy) -> int:
    """Cut the journal behind the last record that waited for the disk; return what was lost."""
    segment = max(stage.journal.glob("journal-*.log"))
    data = segment.read_bytes()
    offset = kept = lost = 0
    while offset < len(data):
        record, offset = read_one(data, offset, segment.name)
        lost += 1
        if SYNCED[policy](record.event()):
            kept, lost = offset, 0
    segment.write_bytes(data[:kept])
    return lost


async def lose_power(stage: Stage, policy: SyncPolicy) -> int:
    """Let a node trade, and take the power away."""
    child = await stage.start(settings={"journal.sync": policy.value})
    await trading(stage, child)
    child.kill()
    await child.wait()
    stage.acks.unlink()  # what was acknowledged may be lost here
    return forget(stage, policy)


async def test_intents_wait_for_the_disk(nursery: Nursery, tmp_path: Path) -> None:
    """Facts are lost and asked for again: orders, fills and positions all come back."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        lost = 0
        for _ in range(LOSSES):
            lost += await lose_power(stage, SyncPolicy.INTENTS)
        found, _ = await stage.judge()
    assert lost > 0
    assert found == []


async def test_nothing_but_the_start_waits_for_the_disk(nursery: Nursery, tmp_path: Path) -> None:
    """Intents are lost too: what the exchanges hold is adopted, and no id comes again."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        for _ in range(LOSSES):
            assert await lose_power(stage, SyncPolicy.WRITE) > 0
        report = await stage.settle()
        assert (report["exit"], report["ready"], report["halted"]) == (0, True, None)
        true = (await stage.exchanges.accountant())["positions"]
        assert sorted((p["venue"], p["asset"], p["quantity"]) for p in report["positions"]) == (
            sorted((p["venue"], p["asset"], p["quantity"]) for p in true)
        )
        taken = await stage.exchanges.orders()
    assert [row for row in taken if row["taken"] > 1] == []
