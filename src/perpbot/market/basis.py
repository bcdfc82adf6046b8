"""What leaving a pair usually costs: the rolling median of each direction's exit cost.

Venues differ by a standing basis; an edge is what lies beyond it (DESIGN.md section 4). For long
venue L and short venue S the exit cost is ask_S - bid_L in bps of the mean mid. It is sampled on a
timer, from usable quotes on both sides only; until a direction is warm nothing is expected of it.
Learned from quotes, so soft: not journalled, warmed up again after a restart.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import MS, SECOND
from perpbot.market.engine import QuoteEngine
from perpbot.market.settings import MarketSettings
from perpbot.market.slot import Slot

_NAN = math.nan


class RollingMedian:
    """The median of the last `capacity` pushed values; NaN holds a place and counts for nothing.

    A ring for age and a sorted array for rank: O(log n) to find, one memory move to insert.
    """

    __slots__ = ("_capacity", "_head", "_held", "_ring", "_sorted")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ring = array("d", bytes(8 * capacity))
        self._head = 0
        self._held = 0
        self._sorted = array("d")

    def __len__(self) -> int:
        """How many values count."""
        return len(self._sorted)

    def push(self, value: float) -> None:
        """Add a value; the oldest gives way when there is no place left."""
        if self._held == self._capacity:
            self.drop()
        self._ring[(self._head + self._held) % self._capacity] = value
        self._held += 1
        if value == value:  # noqa: PLR0124  (NaN is not equal to itself)
            insort(self._sorted, value)

    def drop(self) -> None:
        """Forget the oldest value or held place, if any."""
        if not self._held:
            return
        value = self._ring[self._head]
        self._head = (self._head + 1) % self._capacity
        self._held -= 1
        if value == value:  # noqa: PLR0124
            self._sorted.pop(bisect_left(self._sorted, value))

    @property
    def median(self) -> float:
        """The median, the mean of the middle two of an even number; NaN of nothing."""
        values = self._sorted
        count = len(values)
        if not count:
            return _NAN
        half = count // 2
        return values[half] if count % 2 else (values[half - 1] + values[half]) / 2


class Basis:
    """One direction: long at one venue, short at the other. Read `expected_exit_bps`."""

    __slots__ = (
        "_long",
        "_short",
        "asset",
        "expected_exit_bps",
        "first_ns",
        "long_venue",
        "short_venue",
        "window",
    )

    def __init__(self, asset: str, long: Slot, short: Slot, window: RollingMedian) -> None:
        self.asset = asset
        self.long_venue = long.instrument.venue
        self.short_venue = short.instrument.venue
        self._long = long
        self._short = short
        self.window = window
        self.first_ns = 0
        self.expected_exit_bps = _NAN
        """Median exit cost in bps of the mean mid; NaN until warm."""

    def exit_cost_bps(self, now_ns: int) -> float:
        """Return what leaving would cost now; NaN unless both quotes are usable (monotonic)."""
        long, short = self._long, self._short
        bought, sold = long.quote, short.quote
        if (
            bought is None
            or sold is None
            or long.fresh_until_ns < now_ns
            or short.fresh_until_ns < now_ns
        ):
            return _NAN
        mids = bought.bid + bought.ask + sold.bid + sold.ask
        return (sold.ask - bought.bid) / mids * 40_000


class BasisTracker:
    """Samples every tracked direction; call `sample` every `interval_ns`."""

    def __init__(self, engine: QuoteEngine, settings: MarketSettings) -> None:
        self.interval_ns = settings.basis_sample_interval_ms * MS
        self._engine = engine
        self._window_ns = int(settings.basis_window_s * SECOND)
        self._warmup_ns = int(settings.basis_warmup_s * SECOND)
        # A late timer stretches the time between samples: half of them must have been usable.
        self._least = max(1, self._warmup_ns // self.interval_ns // 2)
        self._capacity = self._window_ns // self.interval_ns + 1
        self._directions: dict[tuple[str, str, str], Basis] = {}
        self._sampled: deque[int] = deque()
        self._listeners: list[Callable[[], None]] = []

    def track(self, asset: str, long_venue: str, short_venue: str) -> Basis:
        """Sample a direction from now on; the same object every time.

        Raises `InvalidValue` for a market that is not watched.
        """
        key = (asset, long_venue, short_venue)
        found = self._directions.get(key)
        if found is None:
            long, short = (self._engine.find(venue, asset) for venue in key[1:])
            if long is None or short is None:
                raise InvalidValue(f"{asset} is not watched on {long_venue} and {short_venue}")
            found = Basis(asset, long, short, RollingMedian(self._capacity))
            # Every ring holds a place for each sampled instant, so that all age together.
            for _ in self._sampled:
                found.window.push(_NAN)
            self._directions[key] = found
        return found

    def on_sample(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every sample."""
        self._listeners.append(listener)

    def sample(self, now_ns: int) -> None:
        """Take one sample of every direction; `now_ns` is monotonic."""
        sampled = self._sampled
        expired = 0
        while sampled and sampled[0] <= now_ns - self._window_ns:
            sampled.popleft()
            expired += 1
        if len(sampled) == self._capacity:
            sampled.popleft()
            expired += 1
        sampled.append(now_ns)
        for direction in self._directions.values():
            window = direction.window
            for _ in range(expired):
                window.drop()
            window.push(direction.exit_cost_bps(now_ns))
            self._warm(direction, now_ns)
        for listener in self._listeners:
            listener()

    def _warm(self, direction: Basis, now_ns: int) -> None:
        count = len(direction.window)
        if not count:
            direction.first_ns = 0
        elif not direction.first_ns:
            direction.first_ns = now_ns
        warm = count >= self._least and now_ns - direction.first_ns >= self._warmup_ns
        direction.expected_exit_bps = direction.window.median if warm else _NAN

    def expected_exit_bps(self, asset: str, long_venue: str, short_venue: str) -> float | None:
        """Return the median exit cost of a direction; None until it is warm."""
        found = self._directions.get((asset, long_venue, short_venue))
        if found is None or math.isnan(found.expected_exit_bps):
            return None
        return found.expected_exit_bps

    def __iter__(self) -> Iterator[Basis]:
        return iter(self._directions.values())
