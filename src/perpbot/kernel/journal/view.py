"""The records and the snapshot of a journal that another process may be writing, without a lock.

They are given in the way in which the journal itself gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.reading import JournalCursor
from perpbot.kernel.journal.record import Record
from perpbot.kernel.journal.snapshots import read_snapshot


class JournalView:
    """A journal that somebody else may be writing, to be read only.

    It ends at the last whole record: one that is half written is not there yet. Raises
    `JournalCorrupt` at damage.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.last_sequence = 0
        """The newest record that was read."""

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return (sequence, state) of the newest whole snapshot, or None."""
        # A snapshot is written after its last record, so whatever is here has its records.
        found = read_snapshot(self._directory, 2**63)
        if found is not None:
            self.last_sequence = max(self.last_sequence, found[0])
        return found

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1. Raises `JournalCorrupt` where one is missing.

        A first segment that begins later than asked for is such a gap too.
        """
        cursor = JournalCursor(self._directory, after)
        expected = after + 1
        while found := cursor.read():
            for record in found:
                if record.sequence != expected:
                    raise JournalCorrupt(
                        f"{self._directory}: record {expected} was expected, {record.sequence} was"
                        " found"
                    )
                expected += 1
                yield record
            self.last_sequence = max(self.last_sequence, cursor.sequence)
