"""The journal that forgets with the process."""

from __future__ import annotations

from perpbot.kernel.journal.memory import MemoryJournal
from tests.unit.kernel.journal.written import alert


def test_the_memory_journal_keeps_bytes_not_objects() -> None:
    """So a replay decodes what a file would give."""
    journal = MemoryJournal()
    assert [journal.append(alert(n)) for n in (1, 2, 3)] == [1, 2, 3]
    cursor = journal.cursor(after=1)

    assert [record.event() for record in journal.records(after=2)] == [alert(3)]
    assert [record.sequence for record in cursor.read()] == [2, 3]
    assert cursor.read() == []
