"""What a survey finds in a journal."""

from __future__ import annotations

import shutil
from pathlib import Path

from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.repair import plan_repair
from perpbot.kernel.journal.survey import survey
from tests.unit.kernel.journal.damaged import flip, written


def test_an_intact_journal_has_one_run(tmp_path: Path) -> None:
    """Nothing to repair."""
    found = survey(written(tmp_path, snapshots=(5,)))

    assert found.runs == ((1, 12),)
    assert (found.records, found.newest, found.anchor, found.torn) == (12, 12, 5, 0)
    assert found.segments > 2
    assert found.holes == ()
    assert plan_repair(found) is None


def test_an_empty_directory_has_none(tmp_path: Path) -> None:
    """A node that never ran."""
    found = survey(tmp_path)

    assert (found.runs, found.newest, found.anchor, found.segments) == ((), 0, 0, 0)


def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    """The next start cuts it off."""
    written(tmp_path)
    _, last = segment_files(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-7])

    found = survey(tmp_path)

    assert found.newest == 11
    assert found.torn > 0
    assert found.holes == ()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """At any offset of the middle segment: a hole, or a torn tail, never a wrong record."""
    source = written(tmp_path / "source")
    number = len(segment_files(source)) // 2
    size = segment_files(source)[number][1].stat().st_size
    for at in range(size):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        flip(segment_files(copy)[number][1], at)
        found = survey(copy)
        assert found.holes, at
        assert found.holes[0].file not in found.holes[0].problem
        assert found.newest == 12
        assert found.records < 12


def test_a_missing_segment_is_a_hole(tmp_path: Path) -> None:
    """Somebody deleted a file."""
    written(tmp_path)
    first, path = segment_files(tmp_path)[1]
    path.unlink()

    found = survey(tmp_path)

    assert found.holes[0].after == first - 1
    assert "are missing" in found.holes[0].problem
