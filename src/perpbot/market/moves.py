"""How far prices moved just now: the fact behind the freeze of a fast market."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from perpbot.domain.events import QuoteUpdated
from perpbot.kernel.clock import MS

_BUCKETS = 4
"""A window is kept in this many parts, so it reaches back one to one and a quarter of itself."""


class _Market:
    __slots__ = ("buckets", "end_ns", "high", "low", "moved_bps")

    def __init__(self) -> None:
        self.buckets: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)
        self.end_ns = 0
        self.low = math.inf
        self.high = 0.0
        self.moved_bps = 0.0


class Moves:
    """Highest against lowest mid of each market within a window.

    `on_fast(asset, moved_bps)` hears of each new extreme, and of each new part of a window, at
    which a market has moved by `fast_bps` or more.
    """

    def __init__(
        self,
        window_ms: int,
        fast_bps: float = math.inf,
        on_fast: Callable[[str, float], None] = lambda _asset, _moved_bps: None,
    ) -> None:
        self._bucket_ns = window_ms * MS // _BUCKETS
        self._fast_bps = fast_bps
        self._on_fast = on_fast
        self._markets: dict[str, dict[str, _Market]] = {}

    def note(self, quote: QuoteUpdated) -> None:
        """Take a quote."""
        try:
            market = self._markets[quote.asset][quote.venue]
        except KeyError:
            market = self._markets.setdefault(quote.asset, {})[quote.venue] = _Market()
        mid = (quote.bid + quote.ask) * 0.5
        if quote.recv_ns >= market.end_ns:
            self._turn(market, quote.recv_ns, mid)
        elif market.low <= mid <= market.high:
            return
        else:
            market.low = min(mid, market.low)
            market.high = max(mid, market.high)
            _measure(market)
        if market.moved_bps >= self._fast_bps:
            self._on_fast(quote.asset, market.moved_bps)

    def moved_bps(self, asset: str) -> float:
        """Return the largest move of an asset at any venue, at its last quote."""
        markets = self._markets.get(asset, {}).values()
        return max((market.moved_bps for market in markets), default=0.0)

    def _turn(self, market: _Market, now_ns: int, mid: float) -> None:
        """Begin a new part; forget the parts that the window no longer reaches."""
        parts = (now_ns - market.end_ns) // self._bucket_ns + 1
        if parts > _BUCKETS:
            market.buckets.clear()
        else:
            market.buckets.append((market.low, market.high))
            for _ in range(parts - 1):
                market.buckets.append((math.inf, 0.0))
        market.end_ns = now_ns - now_ns % self._bucket_ns + self._bucket_ns
        market.low = market.high = mid
        _measure(market)


def _measure(market: _Market) -> None:
    low = min([market.low, *(bucket[0] for bucket in market.buckets)])
    high = max([market.high, *(bucket[1] for bucket in market.buckets)])
    market.moved_bps = (high - low) / low * 10_000
