"""Many seeds, one verdict: what broke, what was hit, and how to see it again.

Seeds run in this process or in several; results are taken in the order of the seeds, so that the
verdict and the trace hash do not depend on how many there were.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import ROWS
from perpbot.research.chaos.run import SeedResult, run_seed

T = TypeVar("T")
R = TypeVar("R")
_CHUNK = 8
"""Seeds that a process takes at once."""


class Runner(Protocol):
    """Runs one seed. A function of a module, so that other processes can find it."""

    def __call__(self, seed: int, mutant: str | None = None, row: str | None = None) -> SeedResult:
        """Return what the seed gave; raise `InvalidValue` for a mutant that does not exist."""


def cores() -> int:
    """Return how many processes this machine runs at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Campaign:
    """Runs seeds and keeps the sums. With a mutant, a violation is what is wanted."""

    def __init__(
        self,
        mutant: str | None = None,
        row: str | None = None,
        *,
        tier: str = "A",
        runner: Runner = run_seed,
        rows: Iterable[str] = ROWS,
    ) -> None:
        self.mutant = mutant
        self.row = row
        self.tier = tier
        self.runner = runner
        self.counters = Counters()
        self.violations: list[dict[str, object]] = []
        self.seeds = 0
        self.killed_at: int | None = None
        self.worst_unhedged_s = 0.0
        self.worst_loss_ratio = 0.0
        self._rows = tuple(rows)
        self._hash = hashlib.sha256()

    def run(self, seed: int) -> tuple[str, ...]:
        """Run one seed here; return its violations."""
        return self.take(self.runner(seed, self.mutant, self.row))

    def run_all(self, seeds: Sequence[int], jobs: int = 1) -> Generator[SeedResult, None, None]:
        """Run seeds in up to `jobs` processes; yield what each gave, in order.

        Closed early it begins no further seed.
        """
        for result in each(partial(self.runner, mutant=self.mutant, row=self.row), seeds, jobs):
            self.take(result)
            yield result

    def take(self, result: SeedResult) -> tuple[str, ...]:
        """Add what a seed gave; return its violations."""
        seed = result.seed
        self.seeds += 1
        self.counters.add(result.counters)
        self._hash.update(result.trace_hash.encode())
        self.worst_unhedged_s = max(self.worst_unhedged_s, result.worst_unhedged_s)
        self.worst_loss_ratio = max(self.worst_loss_ratio, float(result.loss / result.bound))
        if result.violations:
            if self.killed_at is None:
                self.killed_at = seed
            self.violations += [
                {"seed": seed, "text": text, "replay": self.replay_line(seed)}
                for text in result.violations
            ]
        return result.violations

    @property
    def failed(self) -> list[object]:
        """The seeds that broke something."""
        return list(dict.fromkeys(found["seed"] for found in self.violations))

    @property
    def passed(self) -> bool:
        """Whether nothing broke; with a mutant, whether it was caught."""
        if self.mutant is not None:
            return self.killed_at is not None
        return not self.violations

    @property
    def trace_hash(self) -> str:
        """One hash over the traces of all seeds, in order."""
        return self._hash.hexdigest()

    def rows(self) -> dict[str, int]:
        """Hits of every row, those that were never hit included."""
        return {row: self.counters.rows[row] for row in self._rows}

    def replay_line(self, seed: int) -> str:
        """Return the command that runs this seed again."""
        parts = ["perpbot chaos", "--seeds 1", f"--from {seed}"]
        parts += [f"--tier {self.tier}"] if self.tier != "A" else []
        parts += [f"--row {self.row}"] if self.row else []
        parts += [f"--mutant {self.mutant}"] if self.mutant else []
        return " ".join(parts)


class Hunt(msgspec.Struct, frozen=True):
    """How looking for a mutant ended."""

    mutant: str
    seeds: int
    """How many were run."""
    killed_at: int | None
    text: str
    """What caught it."""


def hunt(
    mutant: str, seeds: Sequence[int], row: str | None = None, runner: Runner = run_seed
) -> Hunt:
    """Run seeds until one catches a mutant."""
    for count, seed in enumerate(seeds, 1):
        broken = runner(seed, mutant, row).violations
        if broken:
            return Hunt(mutant, count, seed, broken[0])
    return Hunt(mutant, len(seeds), None, "")


def each(
    work: Callable[[T], R], subjects: Sequence[T], jobs: int, chunk: int = _CHUNK
) -> Iterator[R]:
    """Yield `work(subject)` of each subject, in order, made by up to `jobs` processes."""
    jobs = min(jobs, -(-len(subjects) // chunk))
    if jobs <= 1:
        yield from map(work, subjects)
        return
    # Fresh processes: nothing of this one's threads, loops and sockets comes along.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare_worker) as pool:
        yield from pool.map(work, subjects, chunksize=chunk)


def prepare_worker() -> None:
    """Leave interrupts to the parent, and what is loaded out of garbage collections."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
