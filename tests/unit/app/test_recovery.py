"""Recovering the durable state: snapshots, poison, repairs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpbot.app.recovery import EPOCH_MARGIN, pass_over, recover, repair
from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    AlertFired,
    Event,
    KillSwitchCleared,
    PairPlanned,
    RunStarted,
)
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.fold import PoisonRecord
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.record import Record, read_one
from perpbot.kernel.journal.repair import RepairPlan, plan_repair
from perpbot.kernel.journal.survey import survey
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from tests.unit.operations.small_world import traded_world, write_journal

CLOCK = VirtualTime(1_700_000_000_000_000_000)


def append(directory: Path, *events: Event) -> list[int]:
    """Write more to a journal; return the sequences."""
    journal = Journal(directory, reserve_bytes=0)
    found = [journal.append(event) for event in events]
    journal.close()
    return found


def poisonous(directory: Path) -> tuple[Event, ...]:
    """Write the journal of a pair; return its plan, which cannot be folded again, and more."""
    write_journal(traded_world(), directory)
    planned = next(r for r in JournalView(directory).records() if r.kind == PairPlanned.kind)
    return (planned.event(), AlertFired(name="later", severity="low", text="t"))


def test_a_snapshot_and_the_rest_give_the_same_state(tmp_path: Path) -> None:
    """As the fold of every record, and a view gives what the journal gives."""
    directory = write_journal(traded_world(), tmp_path)
    whole = recover(JournalView(directory))
    journal = Journal(directory, reserve_bytes=0)
    half = journal.last_sequence // 2
    first = recover(JournalView(directory))
    assert first.state.digest() == whole.state.digest()
    early = recover(_Until(journal, half))
    path = journal.write_snapshot(early.state.dump())
    path.rename(path.with_name(f"snapshot-{half:012d}.bin"))
    _restamp(tmp_path / f"snapshot-{half:012d}.bin", half)

    found = recover(journal)

    assert found.snapshot == half
    assert found.records == journal.last_sequence - half
    assert found.state.digest() == whole.state.digest()
    assert found.refused_snapshot == ""
    journal.close()


def _restamp(path: Path, sequence: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4] + sequence.to_bytes(8, "little") + data[12:])


class _Until:
    """The first records of a journal, without snapshots."""

    def __init__(self, journal: Journal, last: int) -> None:
        self._journal = journal
        self._last = last

    def read_snapshot(self) -> tuple[int, bytes] | None:
        return None

    def records(self, after: int = 0) -> Iterator[Record]:
        return (r for r in self._journal.records(after) if r.sequence <= self._last)


def test_a_snapshot_of_another_version_is_passed_over(tmp_path: Path) -> None:
    """Then every record is folded, and it is told."""
    directory = write_journal(traded_world(), tmp_path)
    journal = Journal(directory, reserve_bytes=0)
    expected = recover(journal).state.digest()
    journal.write_snapshot(b"\x80")  # a map without anything

    found = recover(journal)

    assert found.snapshot == 0
    assert "nothing of" in found.refused_snapshot
    assert found.state.digest() == expected
    journal.close()


def test_a_poison_record_is_named(tmp_path: Path) -> None:
    """Its number, its kind, whose fold raised, and what."""
    (sequence, _) = append(tmp_path, *poisonous(tmp_path))

    with pytest.raises(PoisonRecord, match="perpbot recover --dry-run") as caught:
        recover(JournalView(tmp_path))

    poison = caught.value
    assert (poison.sequence, poison.kind) == (sequence, "PAIR_PLANNED")
    assert poison.component == "orders"
    assert "is used twice" in poison.error


def test_a_record_that_was_passed_over_is_left_out_of_every_replay(tmp_path: Path) -> None:
    """With the kill switch latched, which a person clears."""
    (sequence, _) = append(tmp_path, *poisonous(tmp_path))
    with pytest.raises(PoisonRecord) as caught:
        recover(JournalView(tmp_path))

    decision = pass_over(tmp_path, caught.value, CLOCK, "me", "looked at it")

    found = recover(JournalView(tmp_path))
    assert found.passed_over == (sequence,)
    assert decision == sequence + 3
    assert found.folds.latches.kill_level == 1
    assert "looked at it" in found.folds.latches.kill_reason
    append(tmp_path, KillSwitchCleared(actor="me", reason="checked"))
    again = recover(JournalView(tmp_path))
    assert again.folds.latches.kill_level == 0
    assert again.passed_over == (sequence,)


def test_two_poison_records_are_two_decisions(tmp_path: Path) -> None:
    """The second one shows once the first is passed over."""
    bad, later = poisonous(tmp_path)
    append(tmp_path, bad, later, bad)
    for _ in range(2):
        with pytest.raises(PoisonRecord) as caught:
            recover(JournalView(tmp_path))
        pass_over(tmp_path, caught.value, CLOCK, "me", "why")

    assert len(recover(JournalView(tmp_path)).passed_over) == 2


def test_a_record_of_another_version_is_poison_too(tmp_path: Path) -> None:
    """Its content does not fit."""
    journal = Journal(tmp_path, reserve_bytes=0)
    journal.append(RunStarted(epoch=1, mode="paper", version="1", config_hash=""))
    journal.close()
    path = segment_files(tmp_path)[0][1]
    data = path.read_bytes()
    record, _ = read_one(data, 0, "")
    body = data[8:].replace(record.payload, b"\x80" * len(record.payload))
    path.write_bytes(data[:4] + zlib.crc32(body).to_bytes(4, "little") + body)

    with pytest.raises(PoisonRecord, match="reading"):
        recover(JournalView(tmp_path))


def test_a_repair_that_loses_records_latches_the_kill_switch(tmp_path: Path) -> None:
    """And skips run numbers, so that no order id of a lost run comes again."""
    directory = tmp_path / "journal"
    append(directory, RunStarted(epoch=7, mode="paper", version="1", config_hash=""))
    append(
        directory,
        AlertFired(name="damaged", severity="low", text="t"),
        RunStarted(epoch=8, mode="paper", version="1", config_hash=""),
    )
    path = segment_files(directory)[0][1]
    data = bytearray(path.read_bytes())
    data[data.index(b"damaged")] ^= 1
    path.write_bytes(data)
    plan = plan_repair(survey(directory))
    assert plan is not None

    moved = repair(directory, plan, tmp_path / "aside", CLOCK, "me")

    found = recover(JournalView(directory))
    assert moved == (path.name,)
    assert found.folds.latches.kill_level == 1
    assert found.folds.runs.epoch == 8 + EPOCH_MARGIN
    assert plan_repair(survey(directory)) is None


def test_a_repair_that_loses_nothing_latches_nothing(tmp_path: Path) -> None:
    """The snapshot stands for what was damaged."""
    directory = write_journal(traded_world(), tmp_path / "journal")
    journal = Journal(directory, reserve_bytes=0)
    expected = recover(journal)
    journal.write_snapshot(expected.state.dump())
    journal.close()
    path = segment_files(directory)[0][1]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    plan = plan_repair(survey(directory))
    assert plan is not None
    assert plan.complete

    repair(directory, plan, tmp_path / "aside", CLOCK, "me")

    found = recover(JournalView(directory))
    assert found.folds.latches.kill_level == 0
    assert found.state.digest() == expected.state.digest()
    assert found.records == 1


def test_decisions_need_the_lock(tmp_path: Path) -> None:
    """Nothing is decided beside a running node."""
    (sequence, _) = append(tmp_path, *poisonous(tmp_path))
    poison = PoisonRecord(sequence, "K", "pairs", "e")
    plan = RepairPlan(damage="d", first=1, last=1, lost=0, complete=True)
    holder = Journal(tmp_path, reserve_bytes=0)
    with pytest.raises(StateConflict, match="in use"):
        pass_over(tmp_path, poison, CLOCK, "me", "why")
    with pytest.raises(StateConflict, match="in use"):
        repair(tmp_path, plan, tmp_path / "aside", CLOCK, "me")
    holder.close()
