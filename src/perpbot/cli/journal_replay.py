"""`perpbot journal replay`: folds every record anew and holds the state against the snapshots."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from perpbot.app.recovery import recover
from perpbot.cli.output import Exit, emit, show
from perpbot.cli.place import place_of
from perpbot.cli.progress import Progress
from perpbot.kernel.fold import DurableState
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.record import Record
from perpbot.kernel.journal.snapshots import snapshot_files, snapshot_state
from perpbot.kernel.journal.view import JournalView


class Compared(msgspec.Struct, frozen=True):
    """One snapshot, held against the state that the records up to it give."""

    sequence: int
    snapshot_hash: str
    """Empty where the file is damaged."""
    replay_hash: str
    agrees: bool
    """Byte for byte."""


class _Begin:
    """A journal up to a record, folded from its first one: from a snapshot only where it must."""

    def __init__(self, directory: Path, until: int | None) -> None:
        self._view = JournalView(directory)
        self._directory = directory
        self._until = until

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return the oldest snapshot that stands for records which are not there any more."""
        segments = segment_files(self._directory)
        if not segments or segments[0][0] == 1:
            return None
        for sequence, path in snapshot_files(self._directory):
            state = snapshot_state(path)
            if state is not None and sequence >= segments[0][0] - 1:
                return sequence, state
        return None

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records up to the last one that is wanted."""
        for record in self._view.records(after):
            if self._until is not None and record.sequence > self._until:
                return
            yield record


class _Comparison:
    """Looks at each snapshot when the replay has come to it."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._progress = progress
        self._snapshots = dict(snapshot_files(directory))
        self.done: dict[int, Compared] = {}

    def heard(self, record: Record, state: DurableState) -> None:
        """Take note of a record that is about to be folded."""
        self._progress.tick()
        if record.sequence - 1 in self._snapshots:
            self.at(record.sequence - 1, state)

    def at(self, sequence: int, state: DurableState) -> None:
        """Compare the snapshot of a sequence with the state there."""
        path = self._snapshots.get(sequence)
        if path is None:
            return
        kept, dumped = snapshot_state(path), state.dump()
        self.done[sequence] = Compared(
            sequence,
            "" if kept is None else hashlib.sha256(kept).hexdigest(),
            hashlib.sha256(dumped).hexdigest(),
            kept == dumped,
        )


def run_journal_replay(
    until: int | None, *, mode: str | None, as_json: bool, files: Sequence[Path] | None
) -> int:
    """Fold; 0 when every snapshot on the way agrees byte for byte, else 1."""
    place = place_of(files, mode)
    progress = Progress("folding")
    comparison = _Comparison(place.journal, progress)
    found = recover(_Begin(place.journal, until), comparison.heard)
    seconds, rate = progress.seconds, progress.rate
    last = found.snapshot + found.records
    comparison.at(last, found.state)
    compared = [comparison.done[sequence] for sequence in sorted(comparison.done)]
    agrees = all(one.agrees for one in compared)
    answer: dict[str, Any] = {
        "directory": str(place.journal),
        "from_snapshot": found.snapshot,
        "records": found.records,
        "last_sequence": last,
        "passed_over": list(found.passed_over),
        "state_hash": found.state.digest(),
        "snapshots": msgspec.to_builtins(compared),
        "agrees": agrees,
        "component_bytes": found.state.sizes(),
        "seconds": round(seconds, 3),
        "records_per_s": round(rate),
    }
    if as_json:
        emit(answer)
    else:
        show("\n".join(_lines(answer, compared)))
    return Exit.OK if agrees else Exit.ERROR


def _lines(answer: dict[str, Any], compared: Sequence[Compared]) -> Iterator[str]:
    begin = f"snapshot {answer['from_snapshot']} and " if answer["from_snapshot"] else ""
    yield (
        f"{answer['directory']}: {begin}{answer['records']:,} records folded in"
        f" {answer['seconds']:.2f} s, {answer['records_per_s']:,} a second"
    )
    for one in compared:
        verdict = "the same, byte for byte" if one.agrees else "DIFFERS"
        if not one.snapshot_hash:
            verdict = "damaged"
        yield f"  snapshot {one.sequence}: {one.replay_hash[:16]}, {verdict}"
    yield f"state after record {answer['last_sequence']}: {answer['state_hash']}"
    for name, size in answer["component_bytes"].items():
        yield f"  {name:<14} {size:>12,} bytes"
    for sequence in answer["passed_over"]:
        yield f"record {sequence} is passed over: a person decided so"
