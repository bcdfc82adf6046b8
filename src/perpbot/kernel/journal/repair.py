"""Moves damaged parts of a journal aside, on a person's command, and never deletes anything.

What stays is the one run of records that the newest whole snapshot continues into: the state is
folded from those two. Records that come later and cannot be joined to them are moved aside as
well; then the state is older than the world, and only the venues know what is true (`lost`).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from perpbot.domain.events import RunStarted
from perpbot.kernel.journal.files import segment_files, segment_path, sync_directory
from perpbot.kernel.journal.record import read_one
from perpbot.kernel.journal.snapshots import snapshot_files, snapshot_state
from perpbot.kernel.journal.survey import Survey, readable


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair would do."""

    damage: str
    first: int
    """First record that stays; with `last` before it none does, and `first` comes next."""
    last: int
    lost: int
    """Records after `last` that were there once, as far as they can be counted."""
    complete: bool
    """Whether the state is what it was: everything since the snapshot can be read."""


def plan_repair(found: Survey) -> RepairPlan | None:
    """Return what to do about the damage that a survey found; None where there is none."""
    if not found.holes:
        return None
    anchor = found.anchor
    damage = "; ".join(
        f"{hole.file} at byte {hole.offset}: {hole.problem}" for hole in found.holes
    )
    for first, last in found.runs:
        if first <= anchor + 1 <= last + 1:
            break
    else:
        first, last = anchor + 1, anchor
    newest = max(found.newest, anchor)
    ends_in_damage = found.holes[-1].following == 0
    return RepairPlan(
        damage=damage,
        first=first,
        last=last,
        lost=max(newest - last, int(ends_in_damage)),
        complete=newest == last and not ends_in_damage,
    )


def carry_out(directory: Path, plan: RepairPlan, quarantine: Path) -> tuple[str, ...]:
    """Do it, under the journal's lock; return the names of the files that were moved aside.

    May be interrupted and begun again: what it has not moved yet is found damaged again.
    """
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    moved: list[str] = []
    kept: list[tuple[Path, Path]] = []
    for _, path in segment_files(directory):
        data = path.read_bytes()
        part = _between(data, plan.first, plan.last)
        if part == data and data:
            continue
        if part:
            sequence = read_one(part, 0, path.name)[0].sequence
            scratch = directory / f"repaired-{sequence:012d}.tmp"
            _write(scratch, part)
            kept.append((scratch, segment_path(directory, sequence)))
        moved.append(path.name)
    for sequence, path in snapshot_files(directory):
        if sequence > max(plan.last, plan.first - 1) or snapshot_state(path) is None:
            moved.append(path.name)
    for name in moved:
        (directory / name).rename(quarantine / name)
    for scratch, path in kept:
        scratch.rename(path)
    if not segment_files(directory):
        _write(segment_path(directory, plan.first), b"")
    sync_directory(directory)
    return tuple(moved)


def newest_epoch(directory: Path, names: tuple[str, ...]) -> int:
    """Return the highest run number that files moved aside still tell, 0 where they tell none."""
    newest = 0
    for name in names:
        for record, _, _ in readable((directory / name).read_bytes()):
            if record.kind == RunStarted.kind:
                newest = max(newest, msgspec.msgpack.decode(record.payload, type=RunStarted).epoch)
    return newest


def _between(data: bytes, first: int, last: int) -> bytes:
    """Return the bytes of the records `first` to `last` that follow each other in a segment."""
    begin = end = expected = 0
    for record, start, after in readable(data):
        if first <= record.sequence <= last and record.sequence == (expected or record.sequence):
            begin = begin if expected else start
            expected, end = record.sequence + 1, after
    return data[begin:end]


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
