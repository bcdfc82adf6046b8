"""Many seeds, one verdict: what broke, what was hit, and how to see it again."""

from __future__ import annotations

import hashlib

from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import ROWS
from perpbot.research.chaos.run import run_seed


class Campaign:
    """Runs seeds one by one and keeps the sums. With a mutant, a violation is what is wanted."""

    def __init__(self, mutant: str | None = None, row: str | None = None) -> None:
        self.mutant = mutant
        self.row = row
        self.counters = Counters()
        self.violations: list[dict[str, object]] = []
        self.killed_at: int | None = None
        self.worst_unhedged_s = 0.0
        self.worst_loss_ratio = 0.0
        self._hash = hashlib.sha256()

    def run(self, seed: int) -> tuple[str, ...]:
        """Run one seed; return its violations."""
        result = run_seed(seed, self.mutant, self.row)
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
        return {row: self.counters.rows[row] for row in ROWS}

    def replay_line(self, seed: int) -> str:
        """Return the command that runs this seed again."""
        parts = ["perpbot chaos", "--seeds 1", f"--from {seed}"]
        parts += [f"--row {self.row}"] if self.row else []
        parts += [f"--mutant {self.mutant}"] if self.mutant else []
        return " ".join(parts)
