"""Journals and snapshots of a node that really traded, damaged at every place."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from perpbot.app.folds import Folds
from perpbot.app.recovery import recover
from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.record import read_one
from perpbot.kernel.journal.writer import Journal
from tests.processes.guardian.rig import Rig, open_rig
from tests.processes.nursery import Nursery
from tests.processes.stage import open_stage
from tests.processes.test_network import trading

pytestmark = [pytest.mark.timeout(180)]

LONGEST = 9_000
"""Bytes of the journal whose every offset is damaged: it holds a pair's opening and its fills."""


class Recorded:
    """The beginning of a real journal, and the state after each of its records."""

    def __init__(self, segment: Path) -> None:
        data = segment.read_bytes()
        self.name = segment.name
        self.ends = [0]
        self.digests = [Folds().state().digest()]
        state = Folds().state()
        while (end := self.ends[-1]) < len(data):
            record, after = read_one(data, end, segment.name)
            if after > LONGEST:
                break
            state.apply(record.event())
            self.ends.append(after)
            self.digests.append(state.digest())
        self.data = data[: self.ends[-1]]
        self.kinds = {r.kind for r in itertools.islice(read_records(segment.parent), len(self))}

    def __len__(self) -> int:
        """How many records."""
        return len(self.ends) - 1


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """What a node has written until it was killed."""
    return asyncio.run(_record(tmp_path_factory.mktemp("recording")))


async def _record(directory: Path) -> Recorded:
    async with (
        Nursery(directory) as nursery,
        open_stage(directory / "stage", nursery) as stage,
    ):
        child = await stage.start()
        await trading(stage, child, pairs=1)
        child.kill()
        await child.wait()
        (segment,) = stage.journal.glob("journal-*.log")
        found = Recorded(segment)
    assert {"RUN_STARTED", "PAIR_PLANNED"} <= found.kinds
    return found


def opened(directory: Path) -> tuple[str, int]:
    """Open a journal for writing and recover; return the digest and the last record."""
    journal = Journal(directory, reserve_bytes=0)
    try:
        return recover(journal).state.digest(), journal.last_sequence
    finally:
        journal.close()


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of journals are opened and closed: none of them waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def test_flipped_bits(recorded: Recorded, tmp_path: Path) -> None:
    """One bit of any byte: damage, by name and offset; nothing is repaired by itself."""
    directory = tmp_path / "flipped"
    directory.mkdir()
    segment = directory / recorded.name
    for offset in range(len(recorded.data)):
        data = bytearray(recorded.data)
        data[offset] ^= 1 << offset % 8
        segment.write_bytes(data)
        with pytest.raises(JournalCorrupt, match=rf"{recorded.name} at byte \d+: "):
            opened(directory)
        assert segment.read_bytes() == data


@pytest.mark.usefixtures("quick_disk")
def test_truncated_at_every_byte(recorded: Recorded, tmp_path: Path) -> None:
    """The torn record goes, every whole one stays; the state is that of the whole ones."""
    directory = tmp_path / "truncated"
    directory.mkdir()
    segment = directory / recorded.name
    for length in range(len(recorded.data) + 1):
        segment.write_bytes(recorded.data[:length])
        whole = sum(end <= length for end in recorded.ends) - 1
        assert opened(directory) == (recorded.digests[whole], whole)
        assert segment.stat().st_size == recorded.ends[whole]


def test_damaged_snapshots(recorded: Recorded, tmp_path: Path) -> None:
    """An older snapshot or the records alone give the same state, whatever bit was flipped."""
    directory = tmp_path / "snapshots"
    directory.mkdir()
    (directory / recorded.name).write_bytes(recorded.data)
    journal = Journal(directory, reserve_bytes=0)
    state = Folds().state()
    kept = (len(recorded) // 3, 2 * len(recorded) // 3)
    for record in journal.records():
        state.apply(record.event())
        if record.sequence in kept:
            journal.write_snapshot(state.dump(), sequence=record.sequence)
    journal.close()
    older, newest = sorted(directory.glob("snapshot-*.bin"))
    whole = newest.read_bytes()
    assert opened(directory) == (recorded.digests[-1], len(recorded))
    for offset in range(len(whole)):
        data = bytearray(whole)
        data[offset] ^= 1 << offset % 8
        newest.write_bytes(data)
        reopened = Journal(directory, reserve_bytes=0)
        found = recover(reopened)
        reopened.close()
        assert (found.snapshot, found.state.digest()) == (kept[0], recorded.digests[-1])
    shutil.copy(newest, older)
    assert opened(directory) == (recorded.digests[-1], len(recorded))


# --- as people meet it ---------------------------------------------------------------------------


async def _told(rig: Rig, *arguments: str) -> tuple[int, str]:
    process = await rig.start(*arguments)
    return await process.wait(), process.words


async def test_node_refuses_a_damaged_journal(tmp_path: Path) -> None:
    """It says what to do and sends nothing; repaired, it compares, and a person lets it open."""
    async with open_rig(tmp_path, {"guardian.enabled": False}) as rig:
        node = await rig.node()
        await rig.until("a trade", lambda: rig.status()["overview"]["pairs_closed"])
        await node.end(signal.SIGKILL)
        (rig.state / "status.json").unlink()
        (segment,) = (rig.state / "journal").glob("journal-*.log")
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        taken = len(await rig.exchanges.orders())
        left = await rig.net()

        code, words = await _told(rig, "run", "--testnet")
        assert code == 1
        assert "the journal is damaged" in words
        assert "perpbot recover --dry-run" in words
        assert segment.read_bytes() == data
        code, words = await _told(rig, "recover", "--dry-run", "--json", "--mode", "testnet")
        assert code == 1
        assert json.loads(words)["repair"]["lost"] > 0
        assert len(await rig.exchanges.orders()) == taken

        code, words = await _told(rig, "recover", "--yes", "--mode", "testnet")
        assert code == 0, words
        node = await rig.node()
        assert rig.status()["overview"]["kill_level"] == 1
        await node.end()
        # The death may have parted two legs whose plan is lost: those are a person's to close.
        for asset, net in (await rig.net()).items():
            assert net in {Decimal(0), left[asset]}, f"{asset}: {left[asset]} became {net}"
        rows = await rig.exchanges.orders()
        assert all(row["taken"] == 1 for row in rows)
