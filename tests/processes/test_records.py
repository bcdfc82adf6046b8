"""The tables of a running node: locked by somebody else, damaged, deleted."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
from pathlib import Path

import pytest

from perpbot.kernel.journal.reading import read_records
from tests.processes.guardian.rig import Rig, open_rig
from tests.processes.test_instances import ALONE, alarms, planned

pytestmark = [pytest.mark.timeout(180)]

LOCKED_S = 10.0


def completed(rig: Rig) -> set[str]:
    """The pairs that the journal says are done."""
    records = read_records(rig.state / "journal")
    return {r.event().correlation_id for r in records if r.kind == "TRADE_COMPLETED"}


def shown(database: Path) -> set[str]:
    """The pairs that the tables show."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as tables:
        return {pair for (pair,) in tables.execute("SELECT pair_id FROM trades")}


def is_up_to_date(rig: Rig, database: Path) -> bool:
    """Whether the tables show every pair; False while they are being built."""
    with contextlib.suppress(sqlite3.Error):
        return shown(database) >= completed(rig)
    return False


@pytest.mark.blocking
async def test_locked_for_ten_seconds(tmp_path: Path) -> None:
    """The node trades on and stays quick; the tables catch up when they can."""
    async with open_rig(tmp_path, ALONE) as rig:
        node = await rig.node()
        database = rig.state / "records.db"
        await rig.until("tables", lambda: database.exists() and shown(database))
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        before = planned(rig)
        assert await rig.said(LOCKED_S) > LOCKED_S / 4, "it stood still"
        assert planned(rig) > before
        assert not shown(database) >= completed(rig)
        holder.close()
        await rig.until("tables up to date", lambda: is_up_to_date(rig, database))
        assert await node.end() == 0


@pytest.mark.blocking
async def test_damaged_and_deleted(tmp_path: Path) -> None:
    """Built again from the journal, while the node trades; a person is told."""
    async with open_rig(tmp_path, ALONE) as rig:
        node = await rig.node()
        database = rig.state / "records.db"
        await rig.until("tables", lambda: database.exists() and shown(database))
        database.write_bytes(os.urandom(20_000))
        await rig.until("an alarm", lambda: "built again from the journal" in alarms(rig))
        await rig.until("tables up to date", lambda: is_up_to_date(rig, database))
        for suffix in ("", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        await rig.until("tables up to date", lambda: is_up_to_date(rig, database))
        assert stat.S_IMODE(database.stat().st_mode) == 0o600
        before = planned(rig)
        await rig.until("another trade", lambda: planned(rig) > before)
        assert await node.end(signal.SIGTERM) == 0
