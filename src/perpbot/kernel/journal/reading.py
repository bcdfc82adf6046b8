"""Reading a journal: whole, or from a place that moves along behind a writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.files import is_settled, open_segment, read_segment, segment_files
from perpbot.kernel.journal.record import HEAD, MAX_RECORD_BYTES, Record, TornRecord, read_one

_CURSOR_BYTES = 256 * 1024


def scan(path: Path, expected: int) -> Iterator[tuple[Record, int]]:
    """Yield records with the offset after each; raise `JournalCorrupt` at the first bad byte."""
    data = read_segment(path)
    offset = 0
    while offset < len(data):
        record, after = read_one(data, offset, path.name)
        if record.sequence != expected:
            raise JournalCorrupt(
                f"{path.name} at byte {offset}: sequence was {record.sequence}, {expected} was"
                " expected"
            )
        offset = after
        expected += 1
        yield record, offset


def read_records(directory: Path, after: int = 0) -> Iterator[Record]:
    """Yield the records of a journal that nobody writes, from sequence `after` + 1.

    Raises `JournalCorrupt` at damage, a torn tail included (opening for writing repairs that).
    """
    segments = segment_files(directory)
    if segments and segments[0][0] > after + 1:
        raise JournalCorrupt(
            f"{segments[0][1].name} is the oldest segment, records from {after + 1} were expected"
        )
    for number, (first, path) in enumerate(segments):
        following = segments[number + 1][0] if number + 1 < len(segments) else None
        if following is not None and following <= after + 1:
            continue
        last = first - 1
        for record, _ in scan(path, first):
            last = record.sequence
            if record.sequence > after:
                yield record
        if following is not None and following != last + 1:
            raise JournalCorrupt(f"{path.name} ends at {last}, the next one starts at {following}")


class JournalCursor:
    """A place in a journal that somebody else writes: reads on from there, part by part.

    For projections and slow subscribers. Raises `JournalCorrupt` at damage; a record that is only
    half written yet is simply not there yet.
    """

    def __init__(self, directory: Path, after: int = 0) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._first = 0
        self._offset = 0
        self.sequence = after
        """Of the last record that was read."""

    def read(self) -> list[Record]:
        """Return the next records, oldest first; an empty list when there are none yet."""
        # What seems to be the end may be a segment that the writer has left since.
        found = self._read() or (self._read() if self._left_behind() else [])
        if not found and self._left_behind(settled=True):
            raise JournalCorrupt(f"{self._directory}: record {self.sequence + 1} is missing")
        return found

    def _left_behind(self, *, settled: bool = False) -> bool:
        """Whether there are later segments that the next record should have led to.

        One that is not settled need not follow: a power loss may have taken the end before it.
        """
        segments = segment_files(self._directory)
        if segments and not self.sequence:
            self.sequence = segments[0][0] - 1  # whatever was before is no part of it any more
        return any(
            first > self.sequence + 1
            for first, path in segments
            if is_settled(path) or not settled
        )

    def _read(self) -> list[Record]:
        found: list[Record] = []
        while not found and self._place():
            data, name = self._part(), str(self._path)
            offset = 0
            while offset < len(data):
                try:
                    record, offset = read_one(data, offset, name, self._offset)
                except TornRecord:
                    break
                if record.sequence > self.sequence:
                    self.sequence = record.sequence
                    found.append(record)
            self._offset += offset
            if not offset:
                break
        return found

    def _part(self) -> bytes:
        """Return bytes from here that hold at least one whole record, if there is one."""
        size = _CURSOR_BYTES
        assert self._path is not None
        with open_segment(self._path) as file:
            file.seek(self._offset)
            data = file.read(size)
            if len(data) >= HEAD.size:
                missing = HEAD.size + HEAD.unpack_from(data)[0] - len(data)
                if 0 < missing <= MAX_RECORD_BYTES:
                    data += file.read(missing)
        return data

    def _place(self) -> bool:
        """Find the segment of the next record; return False where there is none."""
        segments = [(f, p) for f, p in segment_files(self._directory) if f <= self.sequence + 1]
        if not segments:
            return False
        first, self._path = segments[-1]
        if first != self._first:
            self._first, self._offset = first, 0
        return True
