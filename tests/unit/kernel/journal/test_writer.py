"""The journal that is written: rotation, failed writes, two processes, the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue, JournalCorrupt, JournalFull, StateConflict
from perpbot.domain.events import Heartbeat
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.journal.record import MAX_RECORD_BYTES, pack_record
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import Disk, alert, events, fill, in_process


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    """In order, from any place."""
    fill(tmp_path, 5)

    assert events(tmp_path) == [alert(n) for n in range(1, 6)]
    assert events(tmp_path, after=3) == [alert(4), alert(5)]
    assert events(tmp_path, after=5) == []


def test_writing_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Numbers continue over processes."""
    fill(tmp_path, 3)

    journal = Journal(tmp_path)
    assert journal.append(alert(4)) == 4
    assert [record.sequence for record in journal.records(2)] == [3, 4]
    journal.close()
    journal.close()


@pytest.mark.parametrize("scratch", [True, False], ids=["a nameless file", "no such thing"])
def test_a_rehearsal_leaves_no_trace(
    scratch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the records, not in the directory, not in the numbers."""
    if not scratch:
        monkeypatch.delattr(os, "O_TMPFILE")
    journal = Journal(tmp_path)
    journal.append(alert(1))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    journal.rehearse(alert(2))

    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    assert journal.append(alert(3)) == 2
    journal.close()
    assert events(tmp_path) == [alert(1), alert(3)]


def test_segments_rotate_and_read_as_one(tmp_path: Path) -> None:
    """Each is named after its first record."""
    segments = fill(tmp_path, 20, segment_bytes=200)

    assert len(segments) > 3
    assert events(tmp_path) == [alert(n) for n in range(1, 21)]
    assert events(tmp_path, after=15) == [alert(n) for n in range(16, 21)]
    assert Journal(tmp_path).last_sequence == 20


def test_records_out_of_sequence_are_noticed(tmp_path: Path) -> None:
    """Two good records that do not follow each other are damage."""
    [segment] = fill(tmp_path, 1)
    segment.write_bytes(
        segment.read_bytes() + pack_record(5, alert(5), msgspec.msgpack.encode(alert(5)))
    )

    with pytest.raises(JournalCorrupt, match="sequence was 5, 2 was expected"):
        Journal(tmp_path)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """In this process and in another; the kernel frees the lock with the process."""
    journal = Journal(tmp_path)
    with pytest.raises(StateConflict, match="in use by another perpbot"):
        Journal(tmp_path)
    assert in_process(tmp_path, "Journal(path)").returncode == 1
    journal.close()

    killed = in_process(tmp_path, "j = Journal(path); j.append(event); os.kill(os.getpid(), 9)")

    assert killed.returncode == -9
    assert Journal(tmp_path).last_sequence == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_a_failed_write_is_a_full_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The number is not used; once there is room writing goes on."""
    journal = Journal(tmp_path, reserve_bytes=0)
    journal.append(alert(1))
    monkeypatch.setattr(os, "write", Disk(code, times=1).write)

    with pytest.raises(JournalFull, match=os.strerror(code)):
        journal.append(alert(2))

    assert journal.append(alert(2)) == 2
    assert events(tmp_path) == [alert(1), alert(2)]


def test_a_short_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a record never stays in the middle."""
    journal = Journal(tmp_path, reserve_bytes=0)
    journal.append(alert(1))
    monkeypatch.setattr(os, "write", Disk(0, times=1, part=10).write)

    with pytest.raises(JournalFull, match="it took 10 of"):
        journal.append(alert(2))
    journal.append(alert(2))

    assert events(tmp_path) == [alert(1), alert(2)]


def test_a_short_write_that_cannot_be_taken_back_ends_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written behind half a record; the next start cuts it off."""
    journal = Journal(tmp_path, reserve_bytes=0)
    journal.append(alert(1))

    def fail(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(0, times=1, part=10).write)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(JournalFull, match="broken"):
            journal.append(alert(2))
    with pytest.raises(JournalFull, match="could not be taken back"):
        journal.append(alert(2))
    journal.close()

    assert Journal(tmp_path).repaired_bytes == 10


def test_a_rotation_without_room_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half-made segment is in the way."""
    journal = Journal(tmp_path, segment_bytes=10, reserve_bytes=0)
    journal.append(alert(1))

    def fail(path: Path, flags: int, mode: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(JournalFull):
            journal.append(alert(2))

    assert journal.append(alert(2)) == 2
    assert events(tmp_path) == [alert(1), alert(2)]


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_a_synced_record_is_on_the_disk_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """A sync that fails takes the record back."""
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        if fails:
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fdatasync", sync)
    journal = Journal(tmp_path, sync=lambda _event: True, reserve_bytes=0)
    if fails:
        with pytest.raises(JournalFull, match="broken"):
            journal.append(alert(1))
    else:
        journal.append(alert(1))

    assert len(synced) == 1
    assert len(events(tmp_path)) == (0 if fails else 1)


def test_only_records_that_have_to_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule decides by record; a snapshot never outlives the records that it was made of."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = Journal(tmp_path, sync=lambda event: event.ts_ns == 2, reserve_bytes=0)
    journal.append(alert(1))
    assert not synced
    journal.append(alert(2))
    assert len(synced) == 1
    journal.append(alert(3))
    journal.write_snapshot(b"state")
    assert len(synced) == 2


def test_a_record_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    """Better an error now than a corrupt journal at the next start."""
    journal = Journal(tmp_path)

    with pytest.raises(InvalidValue, match="ALERT_FIRED record of"):
        journal.append(alert(1, size=MAX_RECORD_BYTES))

    assert journal.append(alert(1)) == 1


def test_a_directory_that_cannot_be_opened_leaves_no_lock(tmp_path: Path) -> None:
    """After damage the operator's tools can open it."""
    [segment] = fill(tmp_path, 2)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:20] + b"\xff" + whole[21:])
    with pytest.raises(JournalCorrupt):
        Journal(tmp_path)

    segment.write_bytes(whole)

    assert Journal(tmp_path).last_sequence == 2


def test_a_million_quotes_leave_the_journal_alone(tmp_path: Path) -> None:
    """Only durable events are written."""
    journal = Journal(tmp_path)
    bus = EventBus(VirtualTime(), journal)
    bus.subscribe(Heartbeat, lambda _event: None)
    beat = Heartbeat(component="x")
    for _ in range(1_000_000):
        bus.publish(beat)

    assert journal.last_sequence == 0
    assert sum(path.stat().st_size for path in tmp_path.glob("journal-*")) == 0
