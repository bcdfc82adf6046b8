"""Nonces in milliseconds that never repeat and never step back, whatever the wall clock does."""

from __future__ import annotations

from perpbot.kernel.clock import MS, Clock


class NonceSource:
    """Gives max(now, last + 1) in ms. Hand `last` back in after a restart."""

    def __init__(self, clock: Clock, *, last: int = 0) -> None:
        self._clock = clock
        self.last = last

    def next_ms(self) -> int:
        """Return the next nonce; strictly greater than every one before."""
        self.last = max(self._clock.now_ns() // MS, self.last + 1)
        return self.last
