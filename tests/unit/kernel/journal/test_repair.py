"""How a repair keeps what can be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.events import RunStarted
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.repair import RepairPlan, carry_out, newest_epoch, plan_repair
from perpbot.kernel.journal.survey import survey
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.damaged import alert, flip, sequences, written


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


def test_a_plan_says_what_is_lost() -> None:
    """In numbers."""
    plan = RepairPlan(damage="d", first=1, last=3, lost=2, complete=False)

    assert plan.lost == 2
