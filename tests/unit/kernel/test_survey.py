"""What a survey finds in a journal, and how a repair keeps what can be kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perpbot.domain.errors import JournalCorrupt
from perpbot.domain.events import AlertFired, RunStarted
from perpbot.kernel.journal import Journal, read_records, segment_files
from perpbot.kernel.repair import RepairPlan, carry_out, newest_epoch, plan_repair
from perpbot.kernel.survey import JournalView, survey


def alert(number: int) -> AlertFired:
    """Return a small event."""
    return AlertFired(ts_ns=number, name=f"n{number}", severity="low", text="t" * 20)


def written(directory: Path, count: int = 12, *, snapshots: tuple[int, ...] = ()) -> Path:
    """Write a journal of several segments; return its directory."""
    journal = Journal(directory, segment_bytes=300, reserve_bytes=0)
    for number in range(1, count + 1):
        journal.append(alert(number))
        if number in snapshots:
            journal.write_snapshot(f"state {number}".encode())
    journal.close()
    return directory


def flip(path: Path, at: int) -> None:
    """Turn one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def sequences(directory: Path, after: int = 0) -> list[int]:
    """Return what can be read now."""
    return [record.sequence for record in read_records(directory, after)]


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
        assert found.newest == 12
        assert found.records < 12


@pytest.mark.parametrize("damaged", [2, 6, 12], ids=["first", "middle", "last"])
@pytest.mark.parametrize("anchor", [0, 4, 8], ids=["no_snapshot", "early", "late"])
def test_a_repair_keeps_the_run_that_the_snapshot_continues_into(
    tmp_path: Path, damaged: int, anchor: int
) -> None:
    """And afterwards the journal opens, appends, and folds from the snapshot without a gap."""
    written(tmp_path / "j", snapshots=(anchor,) if anchor else ())
    _damage(tmp_path / "j", damaged)
    plan = plan_repair(survey(tmp_path / "j"))
    assert plan is not None

    moved = carry_out(tmp_path / "j", plan, tmp_path / "aside")

    assert moved
    assert all((tmp_path / "aside" / name).exists() for name in moved)
    kept = list(range(plan.first, plan.last + 1))
    assert sequences(tmp_path / "j", plan.first - 1) == kept
    if damaged <= anchor:
        assert plan.complete
        assert (plan.first, plan.last) == (damaged + 1, 12)
    else:
        assert not plan.complete
        assert (plan.first, plan.last) == (1, damaged - 1)
        assert plan.lost >= 12 - damaged
    journal = Journal(tmp_path / "j", reserve_bytes=0)
    assert journal.last_sequence == plan.last
    journal.append(alert(99))
    snapshot = journal.read_snapshot()
    assert (snapshot[0] if snapshot else 0) == anchor
    assert [record.sequence for record in journal.records(anchor)] == list(
        range(anchor + 1, plan.last + 2)
    )
    journal.close()
    assert plan_repair(survey(tmp_path / "j")) is None


def _damage(directory: Path, sequence: int) -> None:
    for first, path in reversed(segment_files(directory)):
        if first <= sequence:
            data = path.read_bytes()
            at = data.index(sequence.to_bytes(8, "little"))
            flip(path, at + 20)
            if sequence == 12:  # the last write cannot be told from damage by its checksum alone
                flip(path, at + 22)
            return


def test_a_missing_segment_is_a_hole(tmp_path: Path) -> None:
    """Somebody deleted a file."""
    written(tmp_path)
    first, path = segment_files(tmp_path)[1]
    path.unlink()

    found = survey(tmp_path)

    assert found.holes[0].after == first - 1
    assert "are missing" in found.holes[0].problem


def test_a_repair_with_nothing_left_begins_behind_the_snapshot(tmp_path: Path) -> None:
    """All segments are gone, the snapshot is whole: no number is used again."""
    written(tmp_path / "j", snapshots=(8,))
    for _, path in segment_files(tmp_path / "j"):
        path.write_bytes(b"\x01" * 64)
    plan = plan_repair(survey(tmp_path / "j"))
    assert plan is not None
    assert (plan.first, plan.last, plan.complete) == (9, 8, False)

    carry_out(tmp_path / "j", plan, tmp_path / "aside")

    journal = Journal(tmp_path / "j", reserve_bytes=0)
    assert journal.append(alert(1)) == 9
    assert journal.read_snapshot() == (8, b"state 8")
    journal.close()


def test_an_interrupted_repair_is_begun_again(tmp_path: Path) -> None:
    """What was moved is a gap that the next survey finds."""
    written(tmp_path / "j")
    _damage(tmp_path / "j", 6)
    plan = plan_repair(survey(tmp_path / "j"))
    assert plan is not None
    moved = carry_out(tmp_path / "j", plan, tmp_path / "aside")
    # As if it had died before the repaired segment got its name.
    names = [path.name for _, path in segment_files(tmp_path / "j")]
    (tmp_path / "j" / next(name for name in moved if name in names)).unlink()

    again = plan_repair(survey(tmp_path / "j"))

    if again is not None:
        carry_out(tmp_path / "j", again, tmp_path / "aside2")
    assert plan_repair(survey(tmp_path / "j")) is None


def test_runs_that_were_moved_aside_are_still_counted(tmp_path: Path) -> None:
    """So that ids of lost orders are never used again."""
    journal = Journal(tmp_path / "j", reserve_bytes=0)
    for epoch in (3, 4):
        journal.append(RunStarted(epoch=epoch, mode="paper", version="1", config_hash=""))
    journal.close()
    name = segment_files(tmp_path / "j")[0][1].name
    flip(tmp_path / "j" / name, 3)

    assert newest_epoch(tmp_path / "j", (name,)) == 4
    assert newest_epoch(tmp_path / "j", ()) == 0


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


def test_a_plan_says_what_is_lost() -> None:
    """In numbers."""
    plan = RepairPlan(damage="d", first=1, last=3, lost=2, complete=False)

    assert plan.lost == 2
