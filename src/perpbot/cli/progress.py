"""Says how far a long work is: on standard error, once it takes longer than two seconds."""

from __future__ import annotations

import time

from perpbot.cli.output import say

_WORDS_EVERY_S = 2.0
_LOOK_EVERY = 5_000


class Progress:
    """Counts records; `seconds` and `rate` tell how long that took."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = self._told = time.monotonic()
        self.count = 0

    def tick(self, *_told: object) -> None:
        """Count one; say so now and then."""
        self.count += 1
        if self.count % _LOOK_EVERY:
            return
        now = time.monotonic()
        if now - self._told > _WORDS_EVERY_S:
            self._told = now
            say(f"{self._what}: {self.count:,} records, {self.rate:,.0f} a second")

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    @property
    def rate(self) -> float:
        """Records a second so far."""
        return self.count / max(self.seconds, 1e-9)
