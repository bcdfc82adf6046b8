"""A journal that forgets with the process."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perpbot.domain.events import Event
from perpbot.kernel.journal.record import Record


class MemoryJournal:
    """A journal that forgets with the process: replay, backtests, tests. Encodes all the same."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self._records: list[Record] = []
        self._encoder = msgspec.msgpack.Encoder()

    def append(self, event: Event) -> int:
        """Keep one event as its bytes; return its sequence number."""
        self.last_sequence += 1
        self._records.append(
            Record(self.last_sequence, event.ts_ns, event.kind, self._encoder.encode(event))
        )
        return self.last_sequence

    def rehearse(self, event: Event) -> None:
        """Encode one event, and forget it."""
        self._encoder.encode(event)

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1."""
        return iter(self._records[after:])

    def cursor(self, after: int = 0) -> MemoryCursor:
        """Return a place in this journal."""
        return MemoryCursor(self, after)


class MemoryCursor:
    """A place in a `MemoryJournal`."""

    def __init__(self, journal: MemoryJournal, after: int) -> None:
        self._journal = journal
        self.sequence = after

    def read(self) -> list[Record]:
        """Return everything after the last record that was read."""
        found = list(self._journal.records(self.sequence))
        self.sequence += len(found)
        return found
