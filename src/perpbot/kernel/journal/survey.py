"""What the files of a journal hold, read without a lock and without changing anything.

A survey finds every run of records that follow each other without a gap, what lies between them,
and the snapshots that are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.files import is_settled, read_segment, segment_files
from perpbot.kernel.journal.record import Record, read_one
from perpbot.kernel.journal.snapshots import snapshot_files, snapshot_state
from perpbot.kernel.journal.tail import is_torn_tail

_LEAST_RECORD = 25
"""Bytes of a record with an empty kind and content."""


class Hole(msgspec.Struct, frozen=True):
    """Something between two readable records that is not a record."""

    file: str
    offset: int
    after: int
    """Last record that can be read before it."""
    following: int
    """First record that can be read after it; 0 where there is none."""
    problem: str


class SnapshotFile(msgspec.Struct, frozen=True):
    """One snapshot."""

    sequence: int
    size: int
    whole: bool


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. Runs of records are (first, last) sequences, oldest first."""

    segments: int
    size: int
    """Bytes of all segments."""
    runs: tuple[tuple[int, int], ...]
    holes: tuple[Hole, ...]
    torn: int
    """Bytes of a last write that was cut short: the next start cuts them off."""
    snapshots: tuple[SnapshotFile, ...]

    @property
    def newest(self) -> int:
        """The last record that can be read, however many holes lie before it."""
        return self.runs[-1][1] if self.runs else 0

    @property
    def records(self) -> int:
        """How many records can be read."""
        return sum(last - first + 1 for first, last in self.runs)

    @property
    def anchor(self) -> int:
        """The newest whole snapshot, 0 without one."""
        return max((found.sequence for found in self.snapshots if found.whole), default=0)


def next_record(data: bytes, offset: int) -> int:
    """Return where the next whole record begins, from `offset` on; the end where none does."""
    for start in range(offset, len(data) - _LEAST_RECORD + 1):
        length = int.from_bytes(data[start : start + 4], "little")
        if _LEAST_RECORD - 8 <= length <= len(data) - start - 8:
            try:
                read_one(data, start, "")
            except JournalCorrupt:
                continue
            return start
    return len(data)


def readable(data: bytes) -> Iterator[tuple[Record, int, int]]:
    """Yield every whole record of a segment with its beginning and end, whatever lies between."""
    offset = next_record(data, 0)
    while offset < len(data):
        record, after = read_one(data, offset, "")
        yield record, offset, after
        offset = next_record(data, after)


class _Reader:
    """Walks through the segments and notes what it sees."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []
        self.holes: list[Hole] = []
        self.torn = 0
        self.size = 0
        self._begun = False
        self._first = 0
        self._last = 0
        self._open: tuple[str, int, str] | None = None

    def segment(self, path: Path, first: int, *, newest: bool) -> None:
        """Read one segment to its end, over everything that cannot be read.

        Records after the `newest` settled one may have been lost with the power, and its end too.
        """
        data = read_segment(path)
        self.size += len(data)
        offset = 0
        torn_off = self.torn or first != self._last + 1
        if not is_settled(path) and self._begun and torn_off and not self._open:
            self.torn += len(data)
            return
        self._begun = True
        if not self._open and self._last and first != self._last + 1:
            self._open = (path.name, 0, f"records {self._last + 1} to {first - 1} are missing")
        if not self._last and not self._open:
            self._last = first - 1
        while offset < len(data):
            try:
                record, after = read_one(data, offset, path.name)
                if record.sequence <= self._last:
                    raise JournalCorrupt(f"record {record.sequence} comes again")
                if record.sequence != self._last + 1 and not self._open:
                    raise JournalCorrupt(
                        f"sequence was {record.sequence}, {self._last + 1} was expected"
                    )
            except JournalCorrupt as error:
                if newest and is_torn_tail(data[offset:], self._last):
                    self.torn = len(data) - offset
                    return
                problem = str(error).removeprefix(f"{path.name} at byte {offset}: ")
                self._open = self._open or (path.name, offset, problem)
                offset = next_record(data, offset + 1)
            else:
                self._take(record)
                offset = after

    def _take(self, record: Record) -> None:
        if self._open is not None:
            self._end_run()
            name, offset, problem = self._open
            self.holes.append(Hole(name, offset, self._last, record.sequence, problem))
            self._open = None
        self._first = self._first or record.sequence
        self._last = record.sequence

    def _end_run(self) -> None:
        if self._first:
            self.runs.append((self._first, self._last))
        self._first = 0

    def finish(self) -> None:
        """Note the last run, and a hole that reaches the end."""
        self._end_run()
        if self._open is not None:
            name, offset, problem = self._open
            self.holes.append(Hole(name, offset, self._last, 0, problem))


def survey(directory: Path) -> Survey:
    """Read every file of a journal that nobody writes; never raises for what it finds in it."""
    segments = segment_files(directory)
    reader = _Reader()
    for number, (first, path) in enumerate(segments):
        following = segments[number + 1 :]
        reader.segment(path, first, newest=not any(is_settled(later) for _, later in following))
    reader.finish()
    return Survey(
        segments=len(segments),
        size=reader.size,
        runs=tuple(reader.runs),
        holes=tuple(reader.holes),
        torn=reader.torn,
        snapshots=tuple(
            SnapshotFile(sequence, path.stat().st_size, snapshot_state(path) is not None)
            for sequence, path in snapshot_files(directory)
        ),
    )
