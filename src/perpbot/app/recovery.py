"""Durable state out of a journal: the one way in which a node, a view and a replay recover.

The newest snapshot that fits this version, then every record after it. A record that a person has
passed over is left out, wherever the replay begins.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from perpbot.app.folds import Folds
from perpbot.domain.errors import JournalCorrupt, StateConflict
from perpbot.domain.events import JournalRepaired, KillSwitchEngaged, RecordPassedOver
from perpbot.kernel.clock import Clock
from perpbot.kernel.fold import DurableState, PoisonRecord
from perpbot.kernel.journal.files import take_lock
from perpbot.kernel.journal.record import Record
from perpbot.kernel.journal.repair import RepairPlan, carry_out, newest_epoch
from perpbot.kernel.journal.writer import Journal

EPOCH_MARGIN = 1_000
"""More runs than a lost part can hide: ids of a new run must never repeat an old one's."""


class Memory(Protocol):
    """A journal to recover from: `Journal`, `JournalView`."""

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return (sequence, state) of the newest whole snapshot, or None."""

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1."""


class Recovered(msgspec.Struct, frozen=True):
    """What came out, and of what."""

    folds: Folds
    state: DurableState
    snapshot: int
    """Sequence of the snapshot that it began with; 0 where it began with the first record."""
    records: int
    """Folded after it."""
    passed_over: tuple[int, ...]
    """Records that a person had left out."""
    refused_snapshot: str
    """Why the newest snapshot was not used, where one was there."""


Heard = Callable[[Record, DurableState], None]
"""Called with every record before it is folded, and the state of all before it."""


def recover(memory: Memory, heard: Heard | None = None) -> Recovered:
    """Fold a journal.

    Raises `PoisonRecord` for one that cannot be folded, `JournalCorrupt` for damage.
    """
    passing: frozenset[int] = frozenset()
    while True:
        folds, state, after, refused = _from_snapshot(memory)
        records = memory.records(after)
        if heard is not None:
            records = _overheard(records, state, heard)
        try:
            with _no_collections():
                count = state.replay(records, passing_over=passing)
        except PoisonRecord as poison:
            # Decisions stand behind the record that they are about.
            decided = passing | passed_over(memory.records(poison.sequence))
            if poison.sequence not in decided or decided == passing:
                raise
            passing = decided
        else:
            return Recovered(folds, state, after, count, tuple(sorted(passing)), refused)


def _from_snapshot(memory: Memory) -> tuple[Folds, DurableState, int, str]:
    """Return the state of the newest snapshot; an empty one where it does not fit this version."""
    folds = Folds()
    state = folds.state()
    snapshot = memory.read_snapshot()
    if snapshot is None:
        return folds, state, 0, ""
    try:
        state.load(snapshot[1])
    except StateConflict as conflict:
        folds = Folds()
        return folds, folds.state(), 0, str(conflict)
    return folds, state, snapshot[0], ""


def passed_over(records: Iterator[Record]) -> frozenset[int]:
    """Return the records that a person has left out, as far as `records` tell."""
    found = set()
    for record in records:
        if record.kind == RecordPassedOver.kind:
            event = record.event()
            assert isinstance(event, RecordPassedOver)
            found.add(event.sequence)
    return frozenset(found)


def _overheard(records: Iterator[Record], state: DurableState, heard: Heard) -> Iterator[Record]:
    for record in records:
        heard(record, state)
        yield record


@contextmanager
def _no_collections() -> Iterator[None]:
    """Folding makes no cycles, and what it makes stays: looking for garbage is in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


# --- what a person may decide ---


def pass_over(directory: Path, poison: PoisonRecord, clock: Clock, actor: str, reason: str) -> int:
    """Leave a record out of every replay; return the sequence of that decision.

    The state then lacks what the record said, so the kill switch is latched first: nothing opens
    until a person has looked. Raises `StateConflict` while a node runs.
    """
    journal = Journal(directory)
    try:
        now_ns = clock.now_ns()
        why = f"record {poison.sequence} ({poison.kind}) was passed over: {reason}"
        journal.append(KillSwitchEngaged(ts_ns=now_ns, level=1, actor=actor, reason=why))
        return journal.append(
            RecordPassedOver(
                ts_ns=now_ns,
                sequence=poison.sequence,
                record_kind=poison.kind,
                component=poison.component,
                error=poison.error,
                actor=actor,
                reason=reason,
            )
        )
    finally:
        journal.close()


def repair(
    directory: Path, plan: RepairPlan, quarantine: Path, clock: Clock, actor: str
) -> tuple[str, ...]:
    """Move damaged parts aside; return the names of their files.

    Where that loses records the kill switch is latched, and the numbers of runs skip ahead so that
    no order id of a lost run is used again. Raises `StateConflict` while a node runs.
    """
    lock = take_lock(directory)
    files = carry_out(directory, plan, quarantine)
    journal = Journal(directory, lock=lock)
    try:
        now_ns = clock.now_ns()
        epoch = 0
        if not plan.complete:
            journal.append(
                KillSwitchEngaged(
                    ts_ns=now_ns,
                    level=1,
                    actor=actor,
                    reason=f"{plan.lost} records after {plan.last} of the journal are lost",
                )
            )
            known = _epoch(journal)
            epoch = max(known, newest_epoch(quarantine, files)) + EPOCH_MARGIN
        journal.append(
            JournalRepaired(
                ts_ns=now_ns,
                damage=plan.damage,
                kept_until=plan.last,
                lost=plan.lost,
                epoch=epoch,
                files=files,
                actor=actor,
            )
        )
    finally:
        journal.close()
    return files


def _epoch(journal: Journal) -> int:
    """Return the newest run that the journal still knows; 0 where it cannot be folded."""
    try:
        return recover(journal).folds.runs.epoch
    except (PoisonRecord, JournalCorrupt):
        return 0
