"""Rounds, medians and the rows of the table.

Contenders are interleaved round by round in one run, so that what the machine does meanwhile meets
all of them; only their ratio means anything.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """How much work a run does."""

    rounds: int = 5
    scale: float = 1.0
    """Share of the usual number of repetitions; the smoke test takes very little."""

    def times(self, usual: int, least: int = 1) -> int:
        """Return a number of repetitions."""
        return max(int(usual * self.scale), least)


class Row(msgspec.Struct, frozen=True):
    """One line: ours against the contender, and the limit of their ratio."""

    name: str
    ours: float
    contender: float
    ratio: float
    limit: float
    holds: bool
    unit: str


def at_most(name: str, ours: float, contender: float, limit: float, unit: str) -> Row:
    """Return a row that holds while ours is at most `limit` times the contender."""
    ratio = ours / contender
    return Row(name, _short(ours), _short(contender), _short(ratio), limit, ratio <= limit, unit)


def at_least(name: str, ours: float, contender: float, limit: float, unit: str) -> Row:
    """Return a row that holds while ours is at least `limit` times the contender."""
    ratio = ours / contender
    return Row(name, _short(ours), _short(contender), _short(ratio), limit, ratio >= limit, unit)


def interleave(contenders: Mapping[str, Callable[[], float]], effort: Effort) -> dict[str, float]:
    """Run every contender once a round; return the median of what each returned."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(effort.rounds):
        for name, run in contenders.items():
            gc.collect()
            found[name].append(run())
    return {name: median(values) for name, values in found.items()}


def per_call_us(work: Callable[[], object], calls: int) -> Callable[[], float]:
    """Return a contender that runs `work`, which makes `calls` calls, and gives us per call."""

    def run() -> float:
        started_ns = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - started_ns) / calls / 1_000

    return run


@contextmanager
def processor_apart() -> Iterator[int | None]:
    """Keep this thread off one processor and give its number, for a process that stays awake.

    None, and nothing is done, where there is one processor only or the system binds none.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    all_of_us = os.sched_getaffinity(0)
    if len(all_of_us) < 2:
        yield None
        return
    apart = min(all_of_us)
    os.sched_setaffinity(0, all_of_us - {apart})
    try:
        yield apart
    finally:
        os.sched_setaffinity(0, all_of_us)


def say(text: str) -> None:
    """Tell progress; standard output is for the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _short(value: float) -> float:
    """Keep four significant digits."""
    return float(f"{value:.4g}")
