"""A journal that somebody else writes, read only."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.view import JournalView
from tests.unit.kernel.journal.damaged import written


def test_a_view_reads_what_is_whole(tmp_path: Path) -> None:
    """While another process writes; a half-written record is not there yet."""
    written(tmp_path, snapshots=(5,))
    _, last = segment_files(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-3])
    view = JournalView(tmp_path)

    assert view.read_snapshot() == (5, b"state 5")
    assert [record.sequence for record in view.records(5)] == [6, 7, 8, 9, 10, 11]
    assert view.last_sequence == 11


def test_a_view_of_a_journal_with_a_gap_says_so(tmp_path: Path) -> None:
    """A fold over a gap would be silently wrong."""
    written(tmp_path)
    segment_files(tmp_path)[1][1].unlink()

    with pytest.raises(JournalCorrupt, match="is missing"):
        list(JournalView(tmp_path).records())


def test_a_view_of_a_journal_whose_beginning_is_gone_says_so(tmp_path: Path) -> None:
    """Only a snapshot stands for what was before."""
    written(tmp_path, snapshots=(8,))
    segment_files(tmp_path)[0][1].unlink()

    with pytest.raises(JournalCorrupt, match="record 1 was expected"):
        list(JournalView(tmp_path).records())
    assert len(list(JournalView(tmp_path).records(8))) == 4
