"""Request weights and order counts in fixed windows, as Binance counts and tells them."""

from __future__ import annotations

from collections.abc import Callable

from perpbot.simulation.wire.binance.contracts import (
    ORDERS_PER_10_S,
    ORDERS_PER_MINUTE,
    WEIGHT_PER_MINUTE,
)
from perpbot.simulation.wire.binance.errors import Refused

SECOND_NS = 1_000_000_000
BAN_AFTER = 20
"""Requests sent in spite of 429 that turn it into a ban."""
BAN_S = 120


class Window:
    """A count that starts again at each multiple of its length."""

    def __init__(self, limit: int, length_s: int) -> None:
        self.limit = limit
        self.length_ns = length_s * SECOND_NS
        self._slot = -1
        self._used = 0

    def used(self, now_ns: int) -> int:
        """What the running window has counted."""
        slot = now_ns // self.length_ns
        if slot != self._slot:
            self._slot, self._used = slot, 0
        return self._used

    def add(self, now_ns: int, amount: int) -> None:
        """Count."""
        self.used(now_ns)
        self._used += amount

    def left_s(self, now_ns: int) -> int:
        """Whole seconds until the window starts again."""
        return -(-(self.length_ns - now_ns % self.length_ns) // SECOND_NS)


class Limits:
    """The three windows of one client."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._weight = Window(WEIGHT_PER_MINUTE, 60)
        self._orders_10s = Window(ORDERS_PER_10_S, 10)
        self._orders_1m = Window(ORDERS_PER_MINUTE, 60)
        self._ignored = 0
        self._banned_until_ns = 0

    def take(self, weight: int, orders: int) -> None:
        """Count a request. Raises `Refused`: 418 while banned, 429 when over a limit."""
        now = self._clock_ns()
        if now < self._banned_until_ns:
            left_s = -(-(self._banned_until_ns - now) // SECOND_NS)
            until_ms = self._banned_until_ns // 1_000_000
            raise Refused(
                -1003,
                f"Way too many requests; IP banned until {until_ms}.",
                status=418,
                retry_after_s=left_s,
            )
        if self._weight.used(now) + weight > self._weight.limit:
            self._ignored += 1
            if self._ignored > BAN_AFTER:
                self._banned_until_ns = now + BAN_S * SECOND_NS
            raise Refused(
                -1003,
                f"Too many requests; current limit is {self._weight.limit} requests per minute.",
                status=429,
                retry_after_s=self._weight.left_s(now),
            )
        self._ignored = 0
        self._weight.add(now, weight)
        for window in (self._orders_10s, self._orders_1m) if orders else ():
            if window.used(now) + orders > window.limit:
                raise Refused(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per "
                    f"{window.length_ns // SECOND_NS} SECOND.",
                    status=429,
                    retry_after_s=window.left_s(now),
                )
        if orders:
            self._orders_10s.add(now, orders)
            self._orders_1m.add(now, orders)

    def headers(self, *, orders: bool) -> dict[str, str]:
        """Return the headers of a reply; order counts only after requests that count orders."""
        now = self._clock_ns()
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight.used(now))}
        if orders:
            headers["X-MBX-ORDER-COUNT-10S"] = str(self._orders_10s.used(now))
            headers["X-MBX-ORDER-COUNT-1M"] = str(self._orders_1m.used(now))
        return headers

    def counts(self) -> list[dict[str, object]]:
        """Return the `rateLimits` of a websocket reply."""
        now = self._clock_ns()
        return [
            _count("REQUEST_WEIGHT", "MINUTE", 1, self._weight, now),
            _count("ORDERS", "SECOND", 10, self._orders_10s, now),
            _count("ORDERS", "MINUTE", 1, self._orders_1m, now),
        ]


def _count(
    kind: str, interval: str, number: int, window: Window, now_ns: int
) -> dict[str, object]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": window.limit,
        "count": window.used(now_ns),
    }
