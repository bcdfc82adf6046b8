"""The violations of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from perpbot.kernel.clock import SECOND, Clock
from perpbot.research.chaos.plan import START_NS

_WORST_KEPT = 12


class Verdict:
    """Lines that say what was broken, where, by how much and when; none means guiltless."""

    def __init__(self, clock: Clock) -> None:
        self.violations: list[str] = []
        self._clock = clock
        self._muted = False

    def violate(self, text: str) -> None:
        """Note a violation once."""
        if self._muted:
            return
        line = f"{(self._clock.now_ns() - START_NS) / SECOND:.2f} s: {text}"
        if len(self.violations) < _WORST_KEPT and all(
            known.split(": ", 1)[1] != text for known in self.violations
        ):
            self.violations.append(line)

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Note nothing meanwhile: what happens was judged before."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False
