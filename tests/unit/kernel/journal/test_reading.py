"""Reading a journal: missing and damaged parts, and cursors behind a writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal import reading
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.reading import JournalCursor
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import alert, events, fill


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
    monkeypatch.setattr(reading, "_CURSOR_BYTES", 64)
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
