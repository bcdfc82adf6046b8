"""A journal of a million records: how fast it is written, folded, and a node ready again.

Lives of pairs go through the product's own bus, journal and folds; 500 pairs with 1,000 orders at
work are left at the end. A restart is a process of its own, measured from its start. Pace is also
given by processor time, and judged by it: other work on the machine is not the journal's fault.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.app.markets import Markets
from perpbot.app.recovery import recover
from perpbot.domain.instruments import Instrument
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, VirtualTime
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from tests.benchmarks.measure import say
from tests.load.lives import tell
from tests.unit.execution.stand import Stand, settings_of

SNAPSHOT_EVERY = 100_000
AFTER_SNAPSHOT = 10_000
"""Records behind the last snapshot: as many as a node lets pass by default."""
READY_S = 15.0
FOLD_PER_S = 50_000
STALL_MS = 50.0


class _WithoutSnapshots(JournalView):
    """Folds from the first record."""

    def read_snapshot(self) -> tuple[int, bytes] | None:
        return None


def measure(directory: Path, *, records: int, left_open: int) -> dict[str, Any]:
    """Write, fold and restart; return the figures. `holds` tells whether the limits are kept."""
    say(f"load: writing {records:,} records")
    written = _write(directory, records, left_open)
    say("load: folding all of them")
    begun, worked = time.perf_counter(), time.process_time()
    folded = recover(_WithoutSnapshots(directory))
    fold_s, fold_cpu_s = time.perf_counter() - begun, time.process_time() - worked
    say("load: snapshots")
    stall = _snapshots(directory, folded.state.digest(), written.pop("digest"))
    say("load: restarting in a process of its own")
    restart = _restart(directory)
    rate = folded.records / fold_cpu_s
    figures = {
        **written,
        "fold_s": round(fold_s, 2),
        "fold_records_per_s": round(folded.records / fold_s),
        "fold_records_per_cpu_s": round(rate),
        **stall,
        **restart,
        "open_orders": sum(1 for _ in folded.folds.orders.unsettled()),
        "open_pairs": len(folded.folds.pairs),
        "component_bytes": folded.state.sizes(),
    }
    figures["holds"] = bool(
        rate >= FOLD_PER_S
        and restart["ready_s"] <= READY_S
        and stall["snapshot_on_loop_cpu_ms"] <= STALL_MS
        and restart["state_hash"] == folded.state.digest()
    )
    return figures


def _write(directory: Path, records: int, left_open: int) -> dict[str, Any]:
    journal = Journal(directory)
    folds = Folds()
    state = folds.state()
    bus = EventBus(VirtualTime(), journal)
    state.attach(bus)
    last_snapshot = records - AFTER_SNAPSHOT
    begun = time.perf_counter()
    for record in tell(records, left_open=left_open):
        bus.publish(record.event())
        at = record.sequence
        if at == last_snapshot or (at % SNAPSHOT_EVERY == 0 and at < last_snapshot):
            journal.write_snapshot(state.dump())
    elapsed = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in directory.glob("journal-*.log"))
    count = journal.last_sequence
    journal.close()
    return {
        "records": count,
        "journal_mb": round(size / 1e6, 1),
        "write_records_per_s": round(count / elapsed),
        "digest": state.digest(),
    }


def _snapshots(directory: Path, folded: str, live: str) -> dict[str, Any]:
    """Measure what a snapshot costs a running node, on a copy of its state."""
    if folded != live:
        raise SystemExit("the folded state is not the one that was written")
    found = recover(JournalView(directory))
    if found.state.digest() != live:
        raise SystemExit("the state by snapshot is not the one that was written")
    journal = Journal(directory)
    dumps, worked, writes, dumped = [], [], [], b""
    for _ in range(9):
        begun, began = time.perf_counter(), time.process_time()
        dumped = found.state.dump()
        dumps.append((time.perf_counter() - begun) * 1_000)
        worked.append((time.process_time() - began) * 1_000)
        begun = time.perf_counter()
        journal.write_snapshot(dumped, keep=3)
        writes.append((time.perf_counter() - begun) * 1_000)
    # The restart below shall begin at the older snapshot, with records behind it.
    (directory / f"snapshot-{journal.last_sequence:012d}.bin").unlink()
    journal.close()
    return {
        "snapshot_mb": round(len(dumped) / 1e6, 2),
        "snapshot_on_loop_ms": round(median(dumps), 1),
        "snapshot_on_loop_max_ms": round(max(dumps), 1),
        "snapshot_on_loop_cpu_ms": round(median(worked), 1),
        "snapshot_beside_loop_ms": round(median(writes), 1),
    }


def _restart(directory: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.load.journal", str(directory), repr(time.time())]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    told: dict[str, Any] = json.loads(answer.stdout)
    return told


def restart(directory: Path, begun: float) -> dict[str, Any]:
    """Open the journal, recover, start a core: what a node does before it asks its venues."""
    imported = time.time()
    journal = Journal(directory)
    opened = time.time()
    found = recover(journal)
    recovered = time.time()
    digest = found.state.digest()
    hashed = time.time()
    now = VirtualTime(time.time_ns())
    core = Core(
        settings_of(),
        _markets(found.folds),
        found.folds,
        clock=now,
        timers=now,
        rng=random.Random(1),
        journal=journal,
    )
    core.start(mode="paper", version="load")
    now.run_until(now.now_ns() + 200 * MS)
    ready = time.time()
    journal.close()
    return {
        "ready_s": round(ready - begun - (hashed - recovered), 2),
        "ready_imports_s": round(imported - begun, 2),
        "ready_open_s": round(opened - imported, 2),
        "ready_recover_s": round(recovered - opened, 2),
        "ready_start_s": round(ready - hashed, 2),
        "ready_from_snapshot": found.snapshot,
        "ready_records_after_it": found.records,
        "state_hash": digest,
    }


def _markets(folds: Folds) -> Markets:
    """Return the markets of a stand, in every asset that a pair is open in."""
    markets = Stand().markets
    instruments: dict[tuple[str, str], Instrument] = {}
    for pair in folds.pairs:
        for (venue, _), listed in markets.instruments.items():
            asset = pair.plan.asset
            instruments[(venue, asset)] = msgspec.structs.replace(listed, asset=asset)
    return msgspec.structs.replace(markets, instruments=instruments)


def main() -> None:
    """Restart on a journal that is there, as a child of `measure`."""
    directory, begun = sys.argv[1:]
    print(json.dumps(restart(Path(directory), float(begun))))


if __name__ == "__main__":
    main()
