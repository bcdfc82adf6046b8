"""One delta and the best price of a book, against a sorted list and bisect written inline.

Ours is the ladder that the venues keep their books with, checks of each level included. The
contender believes every number. Both read the same messages of one level.
"""

from __future__ import annotations

import random
from bisect import bisect_left

from perpbot.venues.wire.ladder import Ladder, Level
from tests.benchmarks.measure import Effort, Row, at_most, interleave, per_call_us

LEVELS = 400
LIMIT = 2.0


def run(effort: Effort) -> list[Row]:
    """Measure a stream of one-level messages, most of them near the touch."""
    calls = effort.times(100_000, 100)
    messages = _messages(calls)
    start = [(100.0 + level * 0.1, 1.0) for level in range(LEVELS)]
    best: dict[str, Level] = {}

    def inline() -> None:
        prices = [price for price, _ in start]
        sizes = dict(start)
        for message in messages:
            for price, size in message:
                if size:
                    if price not in sizes:
                        prices.insert(bisect_left(prices, price), price)
                    sizes[price] = size
                elif price in sizes:
                    del sizes[price]
                    del prices[bisect_left(prices, price)]
            top = prices[-1]
            best["plain"] = (top, sizes[top])

    def ours() -> None:
        bids = Ladder(bids=True)
        bids.put(start)
        for message in messages:
            bids.put(message)
            top = bids.best
            assert top is not None
            best["ours"] = top

    found = interleave(
        {"ours": per_call_us(ours, calls), "plain": per_call_us(inline, calls)}, effort
    )
    if best["ours"] != best["plain"]:
        raise RuntimeError(f"the books differ: {best}")
    return [at_most("book", found["ours"], found["plain"], LIMIT, "us/delta")]


def _messages(count: int) -> list[tuple[Level]]:
    rng = random.Random(7)
    found: list[tuple[Level]] = []
    for _ in range(count):
        depth = min(int(rng.expovariate(0.1)), LEVELS - 2)
        size = 0.0 if depth and rng.random() < 0.3 else float(rng.randint(1, 99))
        found.append(((100.0 + (LEVELS - 1 - depth) * 0.1, size),))
    return found
