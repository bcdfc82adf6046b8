"""One side of an order book: a sorted list with the best price at its end, and sizes by price.

A change of a known level, which most changes are, costs one write to a dict; a change of the
touch moves the end of a list, a deeper one is a bisection and a memory move. Sequence rules are
the venue package's: what is put here is in order already. Units are those of the caller.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

from perpbot.domain.errors import InvalidValue

Level = tuple[float, float]
"""(price, size)."""

_INFINITE: Final = float("inf")


class Ladder:
    """See the module. Bids and asks differ by which price is the best one."""

    __slots__ = ("_keys", "_sign", "_sizes", "best")

    def __init__(self, *, bids: bool) -> None:
        # Keys ascend towards the best: prices of bids, negated prices of asks.
        self._sign = 1.0 if bids else -1.0
        self._keys: list[float] = []
        self._sizes: dict[float, float] = {}
        self.best: Level | None = None
        """The touch, after the last message."""

    def put(self, levels: Iterable[Level]) -> None:
        """Take the levels of one message: set their sizes; size 0 removes, known or not.

        Raises `InvalidValue` for a price that is not positive and finite, or a size that is not
        zero or positive and finite; what is here is then worth nothing.
        """
        sizes = self._sizes
        for price, size in levels:
            if 0.0 < size < _INFINITE:
                if price not in sizes:
                    if not 0.0 < price < _INFINITE:
                        raise _bad_level(price, size)
                    insort(self._keys, price * self._sign)
                sizes[price] = size
            elif size != 0.0:
                raise _bad_level(price, size)
            elif price in sizes:
                del sizes[price]
                del self._keys[bisect_left(self._keys, price * self._sign)]
        keys = self._keys
        if keys:
            price = keys[-1] * self._sign
            self.best = price, sizes[price]
        else:
            self.best = None

    def top(
        self, depth: int, size_unit: float = 1.0, price_unit: float = 1.0
    ) -> tuple[Level, ...]:
        """Return up to `depth` levels, best first: sizes times, prices divided by their unit."""
        sizes, unit = self._sizes, price_unit * self._sign
        return tuple(
            (key / unit, sizes[key * self._sign] * size_unit)
            for key in self._keys[: -depth - 1 : -1]
        )


def _bad_level(price: float, size: float) -> InvalidValue:
    return InvalidValue(
        f"level was {price!r} x {size!r}, a positive price and a size of at least 0 were expected"
    )
