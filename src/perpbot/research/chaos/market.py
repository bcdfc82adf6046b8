"""A small lively market for chaos: one walk an asset, a basis a venue, frequent dislocations.

Coarser than `perpbot.simulation.market` by intention: a seed has to run in some milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from perpbot.kernel.clock import SECOND

STARTS = {"BTC-PERP": 60_000.0, "ETH-PERP": 3_000.0}
TOUCH_USD = 2_500.0
LARGEST_JUMP = 0.012
_BPS = 1e-4


class Tick(msgspec.Struct, frozen=True):
    """The true touch of one market."""

    venue: str
    asset: str
    bid: float
    ask: float
    size: float


class _Gap:
    """One venue's price away from the others, for a while."""

    def __init__(self, bps: float, start_ns: int, stay_ns: int, close_ns: int) -> None:
        self._bps = bps
        self._leave_ns = start_ns + stay_ns
        self.end_ns = start_ns + stay_ns + close_ns

    def at(self, now_ns: int) -> float:
        if now_ns <= self._leave_ns:
            return self._bps
        left = (self.end_ns - now_ns) / (self.end_ns - self._leave_ns)
        return self._bps * max(left, 0.0)


class ChaosMarket:
    """See the module. `step` once a tick, in order."""

    def __init__(self, seed: int, venues: tuple[str, ...], assets: tuple[str, ...]) -> None:
        self._rng = random.Random(f"chaos market {seed}")
        self._price = {asset: STARTS[asset] for asset in assets}
        self._keys = [(venue, asset) for asset in assets for venue in venues]
        self._basis = {key: self._rng.gauss(0.0, 2.0) for key in self._keys}
        self._gaps: dict[tuple[str, str], _Gap] = {}
        self.calm = False
        """No new gaps; those that are open close by themselves."""

    def jump(self, asset: str, ratio: float) -> None:
        """Move an asset everywhere at once."""
        self._price[asset] *= 1.0 + ratio

    def step(self, now_ns: int) -> Iterator[Tick]:
        """Move every market; yield the true touches."""
        rng = self._rng
        for asset in self._price:
            self._price[asset] *= 1.0 + rng.gauss(0.0, 0.6) * _BPS
        if not self.calm and rng.random() < 0.05:
            key = rng.choice(self._keys)
            bps = rng.uniform(15.0, 40.0) * rng.choice((-1.0, 1.0))
            stay_ns = int(rng.uniform(0.5, 2.0) * SECOND)
            self._gaps[key] = _Gap(bps, now_ns, stay_ns, int(rng.uniform(2.0, 6.0) * SECOND))
        for key in self._keys:
            gap = self._gaps.get(key)
            away = self._basis[key] + (0.0 if gap is None else gap.at(now_ns))
            mid = self._price[key[1]] * (1.0 + away * _BPS)
            half = mid * 0.4 * _BPS
            size = TOUCH_USD / mid * rng.uniform(0.5, 1.5)
            yield Tick(key[0], key[1], mid - half, mid + half, size)
