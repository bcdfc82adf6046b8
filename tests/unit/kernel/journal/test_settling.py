"""Full segments are forced to the disk beside the writer: late, failing, without power."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perpbot.domain.errors import JournalCorrupt, JournalFull
from perpbot.kernel.journal.files import is_settled, records_size, segment_files
from perpbot.kernel.journal.reading import JournalCursor
from perpbot.kernel.journal.record import read_one
from perpbot.kernel.journal.survey import survey
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import Later, alert, events

OPEN = Path("/proc/self/fd")


def open_descriptors() -> set[str]:
    """Return what this process has open, but for this look at it."""
    return {path.name for path in OPEN.iterdir() if path.exists()}


def full(directory: Path, later: Later, count: int = 7) -> Journal:
    """Write until a second segment is begun and not settled."""
    journal = Journal(directory, reserve_bytes=0, segment_bytes=300, beside=later)
    for number in range(1, count + 1):
        journal.append(alert(number))
    assert [is_settled(path) for _, path in segment_files(directory)] == [True, False]
    return journal


def broken(descriptor: int) -> None:
    """Stand in for a disk that refuses."""
    raise OSError(errno.EIO, "broken")


@pytest.fixture
def later() -> Later:
    """Return what a test lets happen late."""
    return Later()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """Give a thread as a node has one."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_writing_goes_on_before_the_full_segment_is_on_the_disk(
    tmp_path: Path, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits, and the older segment comes to the disk before the name of the newer one."""
    steps: list[str] = []
    rename = Path.rename

    def synced(descriptor: int) -> None:
        steps.append("directory" if (OPEN / str(descriptor)).is_dir() else "records")

    def renamed(path: Path, target: Path) -> Path:
        steps.append("name")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "rename", renamed)
        journal = full(tmp_path, later)
        assert steps.pop() == "directory"
        assert not steps
        later.waiting[0].run()
        assert steps == ["records", "name", "directory"]
    journal.append(alert(8))
    journal.close()

    assert all(is_settled(path) for _, path in segment_files(tmp_path))
    assert events(tmp_path) == [alert(n) for n in range(1, 9)]


def test_a_segment_waits_for_the_one_before_the_one_before(tmp_path: Path, later: Later) -> None:
    """However full they get, one at most is not settled."""
    journal = Journal(tmp_path, reserve_bytes=0, segment_bytes=200, beside=later)
    for number in range(1, 40):
        journal.append(alert(number))
        unsettled = [path for _, path in segment_files(tmp_path) if not is_settled(path)]
        assert len(unsettled) <= 1

    assert len(later.waiting) > 3
    assert [work.done() for work in later.waiting[:-1]] == [True] * (len(later.waiting) - 1)
    assert [record.sequence for record in journal.records()] == list(range(1, 40))


def test_a_thread_does_it(tmp_path: Path, thread: ThreadPoolExecutor) -> None:
    """As in a node: records, cursors and snapshots while segments are settled."""
    journal = Journal(tmp_path, reserve_bytes=0, segment_bytes=2_000, beside=thread.submit)
    cursor = journal.cursor()
    read: list[int] = []
    for number in range(1, 1_001):
        journal.append(alert(number))
        read += [record.sequence for record in cursor.read()]
        if number % 100 == 0:
            journal.write_snapshot(b"state")
    journal.close()

    assert read == list(range(1, 1_001))
    assert len(events(tmp_path)) == 1_000


@pytest.mark.parametrize("when", ["next record", "next segment", "synced record", "close"])
def test_a_full_segment_that_the_disk_refuses_ends_the_journal(
    tmp_path: Path, later: Later, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The error comes with whatever is done next, and nothing is written behind it."""
    journal = full(tmp_path, later)
    monkeypatch.setattr(os, "fsync", broken)
    if when == "close":
        with pytest.raises(JournalFull, match="broken"):
            journal.close()
    else:
        if when == "next record":
            later.waiting[0].run()
        if when == "synced record":
            journal._sync = lambda _event: True
        if when == "next segment":
            journal._segment_bytes = 1
        with pytest.raises(JournalFull, match="broken"):
            journal.append(alert(8))
        for _ in range(2):
            with pytest.raises(JournalFull, match="a full segment did not reach the disk"):
                journal.append(alert(8))
        assert events(tmp_path)[-1] == alert(7)
        with pytest.raises(JournalFull):
            journal.close()
    monkeypatch.undo()

    # Nobody holds it any more, and what was written is there.
    again = Journal(tmp_path, reserve_bytes=0)
    assert (again.last_sequence, again.repaired_bytes) == (7, 0)
    assert all(is_settled(path) for _, path in segment_files(tmp_path))


def test_with_one_thread_the_record_waits_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written into a segment behind one that did not reach the disk."""
    journal = Journal(tmp_path, reserve_bytes=0, segment_bytes=300)
    for number in range(1, 5):
        journal.append(alert(number))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(JournalFull, match="broken"):
            journal.append(alert(5))
    with pytest.raises(JournalFull, match="a full segment did not reach the disk"):
        journal.append(alert(5))

    assert segment_files(tmp_path)[-1][1].stat().st_size == 0
    assert events(tmp_path) == [alert(n) for n in range(1, 5)]


def test_no_descriptor_stays_open(
    tmp_path: Path, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the disk takes the segment or not."""
    before = open_descriptors()
    full(tmp_path / "taken", later).close()
    journal = full(tmp_path / "refused", Later())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(JournalFull):
            journal.close()

    assert open_descriptors() == before


def test_closing_waits_for_the_disk(tmp_path: Path, later: Later) -> None:
    """Everything is settled afterwards."""
    journal = full(tmp_path, later)
    assert not later.waiting[0].done()
    journal.close()

    assert later.waiting[0].done()
    assert all(is_settled(path) for _, path in segment_files(tmp_path))


def test_a_record_that_waits_for_the_disk_waits_for_all_before_it(
    tmp_path: Path, later: Later
) -> None:
    """A power loss takes later records only."""
    journal = full(tmp_path, later)
    journal._sync = lambda event: event.ts_ns == 9
    journal.append(alert(8))
    assert not later.waiting[0].done()
    journal.append(alert(9))
    assert later.waiting[0].done()


def test_a_snapshot_waits_for_both_segments(
    tmp_path: Path, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not survive a power loss that its records do not survive."""
    journal = full(tmp_path, later)
    synced: list[str] = []

    def note(descriptor: int) -> None:
        synced.append((OPEN / str(descriptor)).readlink().name)

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr(os, "fsync", note)
    journal.write_snapshot(b"state")
    names = [path.name for _, path in segment_files(tmp_path)]

    assert synced == [*names, tmp_path.name, "snapshot-000000000007.tmp", tmp_path.name]

    monkeypatch.undo()
    later.waiting[0].run()
    synced.clear()
    monkeypatch.setattr(os, "fdatasync", note)
    journal.write_snapshot(b"state")
    assert synced == [segment_files(tmp_path)[-1][1].name]


# --- crashes between -----------------------------------------------------------------------------


def crashed(source: Path, target: Path) -> Path:
    """Return the files as a process that died would leave them."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("lock"))
    return target


def test_a_process_that_dies_while_settling_loses_nothing(tmp_path: Path, later: Later) -> None:
    """The kernel has the records of both segments."""
    full(tmp_path / "j", later)
    copy = crashed(tmp_path / "j", tmp_path / "copy")
    assert survey(copy).runs == ((1, 7),)
    assert len(list(JournalView(copy).records())) == 7

    journal = Journal(copy, reserve_bytes=0)
    assert (journal.last_sequence, journal.repaired_bytes) == (7, 0)
    assert journal.append(alert(8)) == 8
    journal.close()
    assert all(is_settled(path) for _, path in segment_files(copy))
    assert events(copy) == [alert(n) for n in range(1, 9)]


def test_a_process_that_dies_before_the_first_record_of_a_segment(
    tmp_path: Path, later: Later
) -> None:
    """An empty segment goes on where the full one ended; one alone is a beginning."""
    full(tmp_path / "j", later)
    (_, older), (first, newer) = segment_files(tmp_path / "j")
    newer.write_bytes(b"")
    copy = crashed(tmp_path / "j", tmp_path / "copy")
    journal = Journal(copy, reserve_bytes=0)
    assert journal.append(alert(first)) == first
    assert len(segment_files(copy)) == 2

    older.unlink()
    alone = crashed(tmp_path / "j", tmp_path / "alone")
    assert Journal(alone, reserve_bytes=0).append(alert(first)) == first


def test_a_power_loss_while_settling_takes_the_end(tmp_path: Path, later: Later) -> None:
    """Wherever the older segment was cut, what is before stays and writing goes on there."""
    full(tmp_path / "j", later)
    (_, older), (first, _) = segment_files(tmp_path / "j")
    whole = older.read_bytes()
    for length in range(len(whole)):
        copy = crashed(tmp_path / "j", tmp_path / f"copy-{length}")
        (_, cut), (_, newer) = segment_files(copy)
        cut.write_bytes(whole[:length])
        lost = newer.stat().st_size
        found = survey(copy)
        cursor, seen = JournalCursor(copy), 0
        while read := cursor.read():
            seen = read[-1].sequence
        journal = Journal(copy, reserve_bytes=0)
        kept = journal.last_sequence
        assert kept < first - 1
        assert seen == kept
        assert not found.holes
        assert found.torn == journal.repaired_bytes >= lost
        assert not newer.exists()
        journal.append(alert(kept + 1))
        journal.close()
        assert events(copy) == [alert(n) for n in range(1, kept + 2)]
        shutil.rmtree(copy)


def test_a_power_loss_may_leave_zeros(tmp_path: Path, later: Later) -> None:
    """Space that was never written, at the end of the older segment."""
    full(tmp_path / "j", later)
    _, older = segment_files(tmp_path / "j")[0]
    whole = older.read_bytes()
    _, after = read_one(whole, 0, older.name)
    for kept in (0, after):
        copy = crashed(tmp_path / "j", tmp_path / f"copy-{kept}")
        (copy / older.name).write_bytes(whole[:kept] + bytes(len(whole) - kept))

        journal = Journal(copy, reserve_bytes=0)
        assert (journal.last_sequence, len(segment_files(copy))) == (int(kept > 0), 1)


def test_a_cut_segment_is_damage_once_the_next_is_settled(tmp_path: Path, later: Later) -> None:
    """Then the disk had all of it: nothing is thrown away."""
    full(tmp_path, later).close()
    (_, older), (_, newer) = segment_files(tmp_path)
    older.write_bytes(older.read_bytes()[:-5])

    with pytest.raises(JournalCorrupt):
        events(tmp_path)
    assert survey(tmp_path).holes
    assert newer.exists()


def test_damage_before_an_unsettled_segment_is_named(tmp_path: Path, later: Later) -> None:
    """A flipped bit is no power loss."""
    full(tmp_path / "j", later)
    copy = crashed(tmp_path / "j", tmp_path / "copy")
    (_, older), (_, newer) = segment_files(copy)
    data = bytearray(older.read_bytes())
    data[20] ^= 1
    older.write_bytes(data)

    with pytest.raises(JournalCorrupt, match=older.name):
        Journal(copy, reserve_bytes=0)
    assert newer.exists()
    assert survey(copy).runs[-1][1] == 7


def test_a_reader_that_listed_an_unsettled_segment_finds_it_settled(
    tmp_path: Path, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name changes under whoever reads."""
    journal = full(tmp_path, later)
    listed = segment_files(tmp_path)
    later.waiting[0].run()
    monkeypatch.setattr("perpbot.kernel.journal.reading.segment_files", lambda _path: listed)

    assert [record.sequence for record in journal.records()] == list(range(1, 8))
    sizes = [path.stat().st_size for _, path in segment_files(tmp_path)]
    monkeypatch.setattr("perpbot.kernel.journal.files.segment_files", lambda _path: listed)
    assert records_size(tmp_path) == sum(sizes)
    listed[0][1].unlink()
    with pytest.raises(FileNotFoundError):
        list(journal.records())
