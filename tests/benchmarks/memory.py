"""What a million quotes add to the memory of a node, measured from outside of Python.

The process is a child, so that nothing else that a run does counts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from perpbot.kernel.clock import VirtualTime
from tests.benchmarks import stage
from tests.benchmarks.measure import Effort, Row

QUOTES = 1_000_000
LIMIT_MB = 20.0
_VENUES = ("okx", "binance", "hyperliquid")
_ASSETS = 10
_STATM = Path("/proc/self/statm")


def run(effort: Effort) -> list[Row]:
    """Measure; the ratio is the share of the limit that was used."""
    count = effort.times(QUOTES, 1_000)
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", str(count)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    added_mb = float(answer.stdout)
    ratio = round(added_mb / LIMIT_MB, 4)
    return [Row("memory", added_mb, LIMIT_MB, ratio, 1.0, added_mb < LIMIT_MB, "MB")]


def resident_mb() -> float:
    """Return the resident memory of this process; its peak where there is no /proc."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(count: int) -> None:
    """Feed a core in virtual time: 30 markets, all timers running; print the MB added."""
    names = stage.assets(_ASSETS)
    clock = VirtualTime(time.time_ns())
    core = stage.build_core(
        stage.settings(names),
        [stage.instrument(venue, asset) for venue in _VENUES for asset in names],
        clock=clock,
        timers=clock,
    )
    core.start(mode="demo", version="benchmark")
    slots = list(core.quotes)
    stage.quote_everywhere(core, clock)
    before = resident_mb()
    for number in range(count):
        if number % 1_000 == 0:
            clock.run_until(clock.now_ns() + 50_000_000)
        bid = stage.PRICE + (number * 7 % 9 - 4) * stage.TICK
        now_ns = clock.now_ns()
        slots[number % len(slots)].update(bid, 1.0, bid + stage.TICK, 1.0, now_ns, now_ns)
    print(f"{max(resident_mb() - before, 0.0):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
