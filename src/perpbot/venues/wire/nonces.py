"""Nonces in milliseconds that never repeat and never step back, whatever the wall clock does."""

from __future__ import annotations

from perpbot.domain.errors import NonceClash
from perpbot.kernel.clock import MS, Clock

SPARE = 1_000
"""How many of those that are allowed the wall clock leaves alone: enough for every request until
more are allowed."""


class NonceSource:
    """Gives max(now, last + 1) in ms, up to what is allowed.

    Who remembers nonces across restarts (`perpbot.execution.nonces`) says where the last run may
    have come to, and allows only what is written down already. Nobody does for a single question.
    """

    def __init__(self, clock: Clock, *, last: int = 0, venue: str = "") -> None:
        self._clock = clock
        self._venue = venue
        self._allowed: int | None = None
        self.last = last

    def resume(self, last: int) -> None:
        """Give nothing up to `last`: it may have been used."""
        self.last = max(self.last, last)

    def allow(self, until: int) -> None:
        """Give nothing beyond `until` from now on."""
        self._allowed = until

    def next_ms(self) -> int:
        """Return the next nonce; strictly greater than every one before.

        Raises `NonceClash` where it would lie beyond what is allowed.
        """
        nonce = self._clock.now_ns() // MS
        allowed = self._allowed
        if allowed is not None and nonce > allowed - SPARE:
            nonce = allowed - SPARE  # the wall clock ran ahead of what is written down
        if nonce <= self.last:
            nonce = self.last + 1
        if allowed is not None and nonce > allowed:
            raise NonceClash(
                self._venue, "not sent: the journal keeps no nonce for it", code="nonce_unwritten"
            )
        self.last = nonce
        return nonce
