"""Snapshots: the newest whole one, and nothing that is ahead of its records."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perpbot.domain.errors import JournalFull
from perpbot.kernel.journal.snapshots import snapshot_state
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import alert, fill


def test_the_newest_snapshot_is_read_and_old_ones_go(tmp_path: Path) -> None:
    """Two are kept."""
    journal = Journal(tmp_path)
    for number in range(1, 5):
        journal.append(alert(number))
        journal.write_snapshot(f"state {number}".encode())

    assert journal.read_snapshot() == (4, b"state 4")
    assert len(list(tmp_path.glob("snapshot-*.bin"))) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data[:-1] + b"X",
        lambda data: b"X" + data[1:],
        lambda _data: b"",
    ],
    ids=["head", "short", "content", "checksum", "empty"],
)
def test_a_damaged_snapshot_is_passed_over(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """The older one and the records after it give the same state."""
    journal = Journal(tmp_path)
    paths = []
    for number in (1, 2):
        journal.append(alert(number))
        paths.append(journal.write_snapshot(f"state {number}".encode()))
    paths[1].write_bytes(spoil(paths[1].read_bytes()))

    assert journal.read_snapshot() == (1, b"state 1")

    paths[0].write_bytes(b"")
    assert journal.read_snapshot() is None


def test_a_snapshot_of_records_that_are_gone_is_passed_over(tmp_path: Path) -> None:
    """A state ahead of the journal is not its fold."""
    [segment] = fill(tmp_path, 2)
    journal = Journal(tmp_path)
    journal.write_snapshot(b"state 2")
    journal.close()
    segment.write_bytes(segment.read_bytes()[:-1])

    assert Journal(tmp_path).read_snapshot() is None


def test_a_snapshot_without_room_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is all there or not at all."""
    journal = Journal(tmp_path)
    journal.append(alert(1))
    journal.write_snapshot(b"state 1")
    journal.append(alert(2))

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalFull, match="full"):
            journal.write_snapshot(b"state 2")

    assert journal.read_snapshot() == (1, b"state 1")
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_snapshot_of_an_earlier_moment_keeps_its_number(tmp_path: Path) -> None:
    """It is written beside the loop while records go on."""
    journal = Journal(tmp_path, reserve_bytes=0)
    for number in range(4):
        journal.append(alert(number))
    path = journal.write_snapshot(b"state 2", sequence=2)

    assert journal.read_snapshot() == (2, b"state 2")
    assert [record.sequence for record in journal.records(2)] == [3, 4]
    assert snapshot_state(path) == b"state 2"
    assert snapshot_state(path.rename(tmp_path / "snapshot-000000000003.bin")) is None
    assert snapshot_state(tmp_path / "snapshot-000000000009.bin") is None
