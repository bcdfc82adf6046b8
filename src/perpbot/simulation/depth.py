"""Quotes from outside as the depth of an exchange of ours: one level a side."""

from __future__ import annotations

import math
from decimal import Decimal

from perpbot.domain.money import decimal_of_float, floor_to
from perpbot.simulation.exchange import Exchange


class QuotedDepth:
    """The newest quote of each symbol; on the book once it is laid there."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._waiting: dict[str, tuple[float, float, float, float]] = {}
        """By symbol: bid, its size, ask and its size that are not on the book yet."""

    def keep(self, symbol: str, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """Take a quote in the place of the one before it."""
        self._waiting[symbol] = (bid, bid_size, ask, ask_size)

    def lay(self, symbol: str) -> None:
        """Put the newest quote on the book; numbers that are no market leave an empty one."""
        numbers = self._waiting.pop(symbol, None)
        if numbers is None:
            return
        bid, bid_size, ask, ask_size = numbers
        finite = all(math.isfinite(number) for number in numbers)
        if not finite or not 0.0 < bid < ask or min(bid_size, ask_size) <= 0.0:
            self._exchange.quote(symbol, (), ())
            return
        self._exchange.quote(
            symbol, self._level(symbol, bid, bid_size), self._level(symbol, ask, ask_size)
        )

    def _level(
        self, symbol: str, price: float, size: float
    ) -> tuple[tuple[Decimal, Decimal], ...]:
        """Return a level whose size can be traded: a tape of another venue has other steps."""
        quantity = floor_to(decimal_of_float(size), self._exchange.contract(symbol).quantity_step)
        return ((decimal_of_float(price), quantity),) if quantity > 0 else ()
