"""One market's order book: sorted lists with the best level at the tail.

A change at the touch, which most changes are, costs an append or a pop; deeper ones one bisection
and one memory move; a depth walk reads from the tail. Sequence rules are the venue package's: what
is applied here is in order already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Side

Levels = Sequence[tuple[float, float]]
"""(price, size) in any order; size 0 removes a level."""

_INFINITE: Final = float("inf")


class OrderBook:
    """Sizes in base coins by price, as floats."""

    __slots__ = ("_ask_sizes", "_asks", "_bid_sizes", "_bids")

    def __init__(self) -> None:
        # Ascending: prices of bids, negated prices of asks, so that both have the best last.
        self._bids: list[float] = []
        self._asks: list[float] = []
        self._bid_sizes: dict[float, float] = {}
        self._ask_sizes: dict[float, float] = {}

    # --- writing ---

    def clear(self) -> None:
        """Forget everything."""
        for part in (self._bids, self._asks, self._bid_sizes, self._ask_sizes):
            part.clear()

    def apply_snapshot(self, bids: Levels, asks: Levels) -> None:
        """Replace everything. Raises `InvalidValue` as `apply` does."""
        self.clear()
        self.apply(bids, asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set or remove the levels of one message.

        Raises `InvalidValue` for a price that is not positive and finite or a size that is not
        zero or positive and finite; the book is then empty and needs a snapshot.
        """
        try:
            if bids:
                _apply(self._bids, self._bid_sizes, bids, 1.0)
            if asks:
                _apply(self._asks, self._ask_sizes, asks, -1.0)
        except InvalidValue:
            self.clear()
            raise

    # --- reading ---

    @property
    def best_bid(self) -> tuple[float, float] | None:
        """Highest bid as (price, size), or None."""
        if not self._bids:
            return None
        price = self._bids[-1]
        return price, self._bid_sizes[price]

    @property
    def best_ask(self) -> tuple[float, float] | None:
        """Lowest ask as (price, size), or None."""
        if not self._asks:
            return None
        negated = self._asks[-1]
        return -negated, self._ask_sizes[negated]

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask: something was lost."""
        return bool(self._bids and self._asks) and self._bids[-1] >= -self._asks[-1]

    def bids(self, depth: int) -> tuple[tuple[float, float], ...]:
        """Return up to `depth` bids as (price, size), best first."""
        sizes = self._bid_sizes
        return tuple((price, sizes[price]) for price in self._bids[: -depth - 1 : -1])

    def asks(self, depth: int) -> tuple[tuple[float, float], ...]:
        """Return up to `depth` asks as (price, size), best first."""
        sizes = self._ask_sizes
        return tuple((-negated, sizes[negated]) for negated in self._asks[: -depth - 1 : -1])

    def vwap(self, side: Side, quantity: float) -> tuple[float, float] | None:
        """Return (average, worst) price of taking `quantity` with an order of `side`.

        None where the book does not hold that much, or `quantity` is not positive.
        """
        if not quantity > 0.0:
            return None
        buy = side is Side.BUY
        prices, sizes = (self._asks, self._ask_sizes) if buy else (self._bids, self._bid_sizes)
        left, paid = quantity, 0.0
        for price in reversed(prices):
            size = sizes[price]
            if size >= left:
                return abs(paid + price * left) / quantity, abs(price)
            paid += price * size
            left -= size
        return None


def _apply(prices: list[float], sizes: dict[float, float], levels: Levels, sign: float) -> None:
    for price, size in levels:
        key = price * sign
        if key in sizes:
            if 0.0 < size < _INFINITE:
                sizes[key] = size
            elif size == 0.0:
                del sizes[key]
                if prices[-1] == key:
                    prices.pop()
                else:
                    del prices[bisect_left(prices, key)]
            else:
                raise _bad_level(price, size)
        elif 0.0 < size < _INFINITE and 0.0 < price < _INFINITE:
            sizes[key] = size
            if not prices or key > prices[-1]:
                prices.append(key)
            else:
                prices.insert(bisect_left(prices, key), key)
        elif size != 0.0 or not 0.0 < price < _INFINITE:
            raise _bad_level(price, size)


def _bad_level(price: float, size: float) -> InvalidValue:
    return InvalidValue(
        f"level was {price!r} x {size!r}, a positive price and a size of at least 0 were expected"
    )
