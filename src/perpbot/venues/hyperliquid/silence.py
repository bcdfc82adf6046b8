"""Which subscriptions have gone silent while the connection lives.

The venue's streams stop now and then without a word. A subscription that is silent beyond its
limit is due for another subscribe, and each time that changes nothing the wait doubles.
"""

from __future__ import annotations

from perpbot.kernel.clock import SECOND

_MAX_WAIT_NS = 60 * SECOND


class Watched:
    """One subscription. The read path sets `last_ns` (monotonic) at each data frame."""

    __slots__ = ("_asked_ns", "_limit_ns", "_wait_ns", "attempts", "coin", "kind", "last_ns")

    def __init__(self, kind: str, coin: str, limit_s: float, now_ns: int) -> None:
        self.kind = kind
        self.coin = coin
        self._limit_ns = int(limit_s * SECOND)
        self.restart(now_ns)

    def restart(self, now_ns: int) -> None:
        """Count from now: a new connection."""
        self.last_ns = now_ns
        self._asked_ns = now_ns
        self._wait_ns = self._limit_ns
        self.attempts = 0
        """Fruitless subscribes since the last data."""

    def due(self, now_ns: int) -> bool:
        """Tell, once per wait, that it is time to subscribe again."""
        if self.last_ns >= self._asked_ns:
            self._wait_ns = self._limit_ns
            self.attempts = 0
        if now_ns - max(self.last_ns, self._asked_ns) < self._wait_ns:
            return False
        self._asked_ns = now_ns
        self._wait_ns = min(self._wait_ns * 2, max(_MAX_WAIT_NS, self._limit_ns))
        self.attempts += 1
        return True
