"""The journal: torn tails, flipped bits, full disks, two processes, snapshots."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue, JournalCorrupt, JournalFull, StateConflict
from perpbot.domain.events import AlertFired, Event, Heartbeat
from perpbot.kernel import journal as module
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.journal import (
    Journal,
    JournalCursor,
    MemoryJournal,
    Record,
    pack_record,
    read_records,
    segment_files,
    snapshot_state,
)


def alert(number: int, size: int = 0) -> AlertFired:
    """One durable event, `size` bytes longer than it has to be."""
    return AlertFired(ts_ns=number, name=f"n{number}", severity="low", text="x" * size)


def fill(directory: Path, count: int, *, segment_bytes: int = 1 << 20) -> list[Path]:
    """Write `count` records and return the segments."""
    journal = Journal(directory, reserve_bytes=0, segment_bytes=segment_bytes)
    for number in range(1, count + 1):
        assert journal.append(alert(number)) == number
    journal.close()
    return sorted(directory.glob("journal-*.log"))


def events(directory: Path, after: int = 0) -> list[Event]:
    """Read everything back."""
    return [record.event() for record in read_records(directory, after)]


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


def test_segments_rotate_and_read_as_one(tmp_path: Path) -> None:
    """Each is named after its first record."""
    segments = fill(tmp_path, 20, segment_bytes=200)

    assert len(segments) > 3
    assert events(tmp_path) == [alert(n) for n in range(1, 21)]
    assert events(tmp_path, after=15) == [alert(n) for n in range(16, 21)]
    assert Journal(tmp_path).last_sequence == 20


def test_a_torn_tail_is_cut_off_at_every_offset(tmp_path: Path) -> None:
    """Whatever part of the last record was written, all before it stay and writing goes on."""
    [segment] = fill(tmp_path, 3)
    whole = segment.read_bytes()
    ends = [0]
    for number in range(1, 4):
        ends.append(ends[-1] + len(pack_record(number, alert(number), _payload(number))))
    assert ends[-1] == len(whole)

    for length in range(len(whole)):
        segment.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends[1:])
        journal = Journal(tmp_path, reserve_bytes=0)
        assert journal.last_sequence == kept, length
        assert journal.repaired_bytes == length - ends[kept]
        journal.append(alert(kept + 1))
        journal.close()
        assert events(tmp_path) == [alert(n) for n in range(1, kept + 2)]


def _payload(number: int) -> bytes:
    return msgspec.msgpack.encode(alert(number))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Reading and opening name file and byte; nothing is cut off, nothing wrong is read."""
    [segment] = fill(tmp_path, 3)
    whole = segment.read_bytes()

    for offset in range(len(whole)):
        for bit in (0, 3, 7):
            spoiled = bytearray(whole)
            spoiled[offset] ^= 1 << bit
            segment.write_bytes(spoiled)
            with pytest.raises(JournalCorrupt, match=r"journal-0+1\.log at byte \d+"):
                Journal(tmp_path, reserve_bytes=0)
            with pytest.raises(JournalCorrupt, match=r"journal-0+1\.log at byte \d+"):
                events(tmp_path)
            assert segment.read_bytes() == bytes(spoiled)


def test_space_that_a_power_loss_left_unwritten_is_a_torn_tail(tmp_path: Path) -> None:
    """Zeros behind the last record are cut off."""
    [segment] = fill(tmp_path, 2)
    segment.write_bytes(segment.read_bytes() + bytes(300))

    journal = Journal(tmp_path, reserve_bytes=0)

    assert (journal.last_sequence, journal.repaired_bytes) == (2, 300)


def test_damage_in_an_older_segment_is_noticed_when_read(tmp_path: Path) -> None:
    """Not only in the one that is written."""
    segments = fill(tmp_path, 20, segment_bytes=200)
    spoiled = bytearray(segments[1].read_bytes())
    spoiled[40] ^= 1
    segments[1].write_bytes(spoiled)

    with pytest.raises(JournalCorrupt, match=segments[1].name):
        events(tmp_path)


@pytest.mark.parametrize("lost", [0, 1], ids=["oldest", "middle"])
def test_a_missing_segment_is_noticed(tmp_path: Path, lost: int) -> None:
    """Records are never skipped quietly."""
    segments = fill(tmp_path, 20, segment_bytes=200)
    segments[lost].unlink()

    with pytest.raises(JournalCorrupt, match=r"expected|starts at"):
        events(tmp_path)


def test_records_out_of_sequence_are_noticed(tmp_path: Path) -> None:
    """Two good records that do not follow each other are damage."""
    [segment] = fill(tmp_path, 1)
    segment.write_bytes(segment.read_bytes() + pack_record(5, alert(5), _payload(5)))

    with pytest.raises(JournalCorrupt, match="sequence was 5, 2 was expected"):
        Journal(tmp_path)


def test_a_record_of_another_version_is_refused_by_name() -> None:
    """An unknown kind, and a known one with other fields."""
    with pytest.raises(InvalidValue, match="NO_SUCH_KIND"):
        Record(1, 0, "NO_SUCH_KIND", b"\x80").event()
    with pytest.raises(InvalidValue, match=r"record 7 \(ALERT_FIRED\) does not fit"):
        Record(7, 0, "ALERT_FIRED", b"\x80").event()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """In this process and in another; the kernel frees the lock with the process."""
    journal = Journal(tmp_path)
    with pytest.raises(StateConflict, match="in use by another perpbot"):
        Journal(tmp_path)
    assert _in_process(tmp_path, "Journal(path)").returncode == 1
    journal.close()

    killed = _in_process(tmp_path, "j = Journal(path); j.append(event); os.kill(os.getpid(), 9)")

    assert killed.returncode == -9
    assert Journal(tmp_path).last_sequence == 1


def _in_process(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    source = f"""
        import os, sys, resource
        from pathlib import Path
        from perpbot.domain.errors import JournalFull
        from perpbot.domain.events import AlertFired
        from perpbot.kernel.journal import Journal
        path = Path({str(directory)!r})
        event = AlertFired(name="n", severity="low", text="x" * 1000)
        {code}
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_size_limit_is_a_full_journal_that_stays_readable(tmp_path: Path) -> None:
    """A real short write by the kernel: what it left of the record is taken back."""
    code = """resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        j = Journal(path, reserve_bytes=0)
        try:
            for _ in range(20):
                j.append(event)
        except JournalFull as full:
            print(j.last_sequence, full)"""
    done = _in_process(tmp_path, code)

    count = int(done.stdout.split()[0])
    assert "no space left" in done.stdout
    assert 3 <= count <= 4
    assert len(events(tmp_path)) == count
    assert resource.getrlimit(resource.RLIMIT_FSIZE)


class Disk:
    """Stands in for os.write: fails as told, `times` times from the `first` write on."""

    def __init__(self, error: int, *, times: int = 10**9, part: int = 0) -> None:
        self._error, self._times, self._part = error, times, part
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if self._times <= 0:
            return self._write(descriptor, data)
        self._times -= 1
        if self._part:
            return self._write(descriptor, data[: self._part])
        raise OSError(self._error, os.strerror(self._error))


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


def test_the_reserve_takes_what_still_has_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the reserve is freed, the record is written, opens are told to stop."""
    journal = Journal(tmp_path, reserve_bytes=100_000)
    assert (tmp_path / "reserve").stat().st_size == 100_000
    monkeypatch.setattr(os, "write", Disk(errno.ENOSPC, times=1).write)

    assert journal.append(alert(1)) == 1

    assert journal.low_space
    assert not (tmp_path / "reserve").exists()
    assert journal.regain_reserve()
    low = journal.low_space
    assert not low


def test_a_disk_that_stays_full_is_told_after_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice without room: the second time for good."""
    journal = Journal(tmp_path, reserve_bytes=100_000)
    monkeypatch.setattr(os, "write", Disk(errno.ENOSPC).write)

    for _ in range(2):
        with pytest.raises(JournalFull, match="No space left"):
            journal.append(alert(1))

    assert journal.low_space


def test_without_room_for_the_reserve_space_is_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that starts on a full disk opens nothing."""

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = Journal(tmp_path)

    assert journal.low_space
    assert not journal.regain_reserve()
    assert not (tmp_path / "reserve").exists()


def test_little_space_on_the_disk_stops_opens_before_the_reserve_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor that people set; looked at again with the reserve. Unknown is too little."""
    free = os.statvfs(tmp_path)
    enough = free.f_bavail * free.f_frsize
    assert not Journal(tmp_path / "enough", reserve_bytes=0, min_free_bytes=1).low_space
    journal = Journal(tmp_path / "short", reserve_bytes=0, min_free_bytes=enough * 2)

    def low() -> bool:
        return journal.low_space

    assert low()
    assert journal.append(alert(1)) == 1

    roomy = os.statvfs_result((4096, 4096, *[enough] * 3, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: roomy)
    journal.regain_reserve()
    assert not low()

    def untold(path: Path) -> os.statvfs_result:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "statvfs", untold)
    journal.regain_reserve()
    assert low()


def test_a_rotation_without_room_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half-made segment is in the way."""
    journal = Journal(tmp_path, segment_bytes=10, reserve_bytes=0)
    journal.append(alert(1))

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
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
        journal.append(alert(1, size=module.MAX_RECORD_BYTES))

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


def test_bytes_that_look_like_a_number_are_no_record(tmp_path: Path) -> None:
    """A torn record whose text holds the number of a later one is still torn."""
    journal = Journal(tmp_path, reserve_bytes=0)
    text = "\x02" + "\x00" * 7 + "x" * 40
    journal.append(AlertFired(name="n", severity="low", text=text))
    journal.close()
    [segment] = tmp_path.glob("journal-*.log")
    segment.write_bytes(segment.read_bytes()[:-4])

    assert Journal(tmp_path).last_sequence == 0


def test_a_tail_that_cannot_be_cut_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try can open it."""
    fill(tmp_path, 2)

    def fail(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="broken"):
            Journal(tmp_path)

    assert Journal(tmp_path).last_sequence == 2


# --- snapshots -----------------------------------------------------------------------------------


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


# --- cursors -------------------------------------------------------------------------------------


def test_a_cursor_follows_a_writer_over_segments(tmp_path: Path) -> None:
    """Every record once, in order, however late it reads."""
    journal = Journal(tmp_path, segment_bytes=300)
    cursor = journal.cursor()
    read: list[int] = []
    assert cursor.read() == []
    for number in range(1, 61):
        journal.append(alert(number))
        if number % 7 == 0:
            while found := cursor.read():
                read += [record.sequence for record in found]
    while found := cursor.read():
        read += [record.sequence for record in found]

    assert read == list(range(1, 61))
    assert cursor.read() == []


def test_a_cursor_reads_records_larger_than_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part holds at least one whole record."""
    monkeypatch.setattr(module, "_CURSOR_BYTES", 64)
    journal = Journal(tmp_path)
    for number in range(1, 6):
        journal.append(alert(number, size=500))

    cursor = JournalCursor(tmp_path, after=2)
    read: list[int] = []
    while found := cursor.read():
        read += [record.sequence for record in found]

    assert read == [3, 4, 5]


def test_a_cursor_waits_for_the_rest_of_a_record(tmp_path: Path) -> None:
    """Half a record is not there yet; damage is an error."""
    [segment] = fill(tmp_path, 2)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    cursor = JournalCursor(tmp_path)
    assert [record.sequence for record in cursor.read()] == [1]
    assert cursor.read() == []

    segment.write_bytes(whole)
    assert [record.sequence for record in cursor.read()] == [2]

    segment.write_bytes(whole[:20] + b"\xff" + whole[21:])
    with pytest.raises(JournalCorrupt, match="byte 0"):
        JournalCursor(tmp_path).read()


def test_a_cursor_of_an_empty_directory_finds_nothing(tmp_path: Path) -> None:
    """There is no journal yet."""
    assert JournalCursor(tmp_path).read() == []


# --- memory --------------------------------------------------------------------------------------


def test_the_memory_journal_keeps_bytes_not_objects() -> None:
    """So a replay decodes what a file would give."""
    journal = MemoryJournal()
    assert [journal.append(alert(n)) for n in (1, 2, 3)] == [1, 2, 3]
    cursor = journal.cursor(after=1)

    assert [record.event() for record in journal.records(after=2)] == [alert(3)]
    assert [record.sequence for record in cursor.read()] == [2, 3]
    assert cursor.read() == []


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


def test_a_cursor_begins_where_the_journal_begins(tmp_path: Path) -> None:
    """After a repair the beginning may be gone; in the middle a missing record is damage."""
    journal = Journal(tmp_path, segment_bytes=100, reserve_bytes=0)
    for number in range(10):
        journal.append(alert(number))
    segments = segment_files(tmp_path)
    segments[0][1].unlink()
    cursor = journal.cursor()
    found = [record.sequence for record in cursor.read()]
    while more := cursor.read():
        found += [record.sequence for record in more]

    assert found == list(range(segments[1][0], 11))
    # The writer goes on in a later segment: one between is missing.
    segments[3][1].unlink()
    broken = JournalCursor(tmp_path, segments[3][0] - 1)
    with pytest.raises(JournalCorrupt, match="is missing"):
        broken.read()
