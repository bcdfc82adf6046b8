"""A seeded synthetic market: perpetuals on several correlated venues, with gaps that close again.

One fundamental price an asset (geometric Brownian motion with a common factor, and fast moves now
and then) is followed by every venue with its own delay, its own slowly moving basis, and now and
then a dislocation: the venue's price runs away by some bps and comes back exponentially. All is
computed on a fixed grid of time, so a seed gives the same market however often `step` is called.
Floats inside; `MarketDriver` puts prices on the tick grid when it quotes an exchange.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from enum import IntEnum

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import asset_key
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND

GRID_NS = 10_000_000
_GRID_S = GRID_NS / SECOND
_BPS = 1e-4
_DAY_ROOT_S = math.sqrt(86_400)


class AssetModel(msgspec.Struct, frozen=True):
    """One perpetual: where it starts and how it moves."""

    base: str
    price: float
    spread_bps: float
    """Typical distance of best bid and ask."""
    touch_usd: float
    """Typical size at the best price."""
    daily_volatility: float
    trades_per_s: float
    """Public trades of one venue."""

    @property
    def asset(self) -> str:
        """The asset key."""
        return asset_key(self.base)


TEN_PERPS: tuple[AssetModel, ...] = (
    AssetModel("BTC", 97_400.0, 0.2, 90_000.0, 0.025, 2.0),
    AssetModel("ETH", 3_350.0, 0.3, 60_000.0, 0.032, 1.6),
    AssetModel("SOL", 188.0, 0.8, 35_000.0, 0.042, 1.0),
    AssetModel("XRP", 2.35, 1.0, 30_000.0, 0.042, 0.8),
    AssetModel("DOGE", 0.33, 1.2, 25_000.0, 0.045, 0.7),
    AssetModel("AVAX", 36.5, 1.8, 15_000.0, 0.048, 0.4),
    AssetModel("LINK", 22.4, 1.8, 15_000.0, 0.045, 0.4),
    AssetModel("BNB", 690.0, 1.0, 25_000.0, 0.028, 0.6),
    AssetModel("ADA", 0.92, 1.8, 18_000.0, 0.045, 0.4),
    AssetModel("SUI", 3.9, 2.0, 15_000.0, 0.055, 0.4),
)


class MarketModel(msgspec.Struct, frozen=True, kw_only=True):
    """How the whole market behaves. Times in seconds, distances in bps; ranges are uniform."""

    assets: tuple[AssetModel, ...] = TEN_PERPS
    correlation: float = 0.7
    """Of any asset with the common factor."""
    levels: int = 10
    quotes_per_s: tuple[float, float] = (5.0, 20.0)
    """Drawn once for each venue and asset."""
    lag_s: tuple[float, float] = (0.02, 0.3)
    """By which a venue follows the fundamental."""
    spread_factor: tuple[float, float] = (0.8, 1.5)
    basis_bps: float = 2.0
    """Standard deviation of the standing basis over venues."""
    basis_wander_bps: float = 0.5
    """Standard deviation of the basis around where it stands."""
    basis_return_s: float = 300.0
    fast_move_every_s: float = 25.0
    fast_move_bps: tuple[float, float] = (8.0, 20.0)
    fast_move_takes_s: float = 0.2
    dislocation_first_s: float = 3.0
    dislocation_every_s: float = 1.5
    """Mean distance of two over the whole market; 0 turns them off."""
    dislocation_bps: tuple[float, float] = (15.0, 40.0)
    dislocation_rise_s: float = 0.15
    dislocation_stay_s: tuple[float, float] = (0.4, 1.5)
    dislocation_closes_s: tuple[float, float] = (3.0, 15.0)
    """From its start until it is gone."""
    funding_per_8h: float = 0.0001
    funding_spread: float = 0.00005
    """Standard deviation of the rates around the mean, over venues and assets."""


class MarketQuote(msgspec.Struct, frozen=True, gc=False):
    """A venue's depth, best first, as (price, base coins), not yet on any grid."""

    ts_ns: int
    venue: str
    asset: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


class MarketTrade(msgspec.Struct, frozen=True, gc=False):
    """Somebody takes at the best price."""

    ts_ns: int
    venue: str
    asset: str
    side: Side
    quantity: float


class MarketMark(msgspec.Struct, frozen=True, gc=False):
    """Mark and index of a venue, and its funding rate for eight hours."""

    ts_ns: int
    venue: str
    asset: str
    mark: float
    index: float
    funding_per_8h: float


MarketUpdate = MarketQuote | MarketTrade | MarketMark


class _Due(IntEnum):
    """What is due; the order breaks ties."""

    MARK = 0
    QUOTE = 1
    TRADE = 2
    FAST_MOVE = 3
    DISLOCATION = 4


class _Dislocation:
    """One venue's price away from the others."""

    __slots__ = ("bps", "closing_s", "rise_s", "start_ns", "stay_s")

    def __init__(
        self, *, start_ns: int, bps: float, rise_s: float, stay_s: float, closing_s: float
    ) -> None:
        self.start_ns = start_ns
        self.bps = bps
        self.rise_s = rise_s
        self.stay_s = stay_s
        self.closing_s = closing_s

    def ends_ns(self) -> int:
        return self.start_ns + int((self.stay_s + self.closing_s) * SECOND)

    def at(self, now_ns: int) -> float:
        age_s = (now_ns - self.start_ns) / SECOND
        away = self.bps * (1.0 - math.exp(-age_s / self.rise_s))
        if age_s > self.stay_s:
            # Four time constants: 2 % is left when it ends.
            away *= math.exp(-4.0 * (age_s - self.stay_s) / self.closing_s)
        return away


class _Asset:
    """The fundamental of one asset: logarithm of its price now and over the last lags."""

    __slots__ = ("history", "log_price", "model", "own_step", "pending")

    def __init__(self, model: AssetModel, kept: int, own_share: float) -> None:
        self.model = model
        self.log_price = math.log(model.price)
        self.history: deque[float] = deque([self.log_price] * kept, maxlen=kept)
        self.own_step = own_share * _step_of(model)
        self.pending = 0.0
        """What a fast move still has to go."""


class _Listing:
    """One asset at one venue."""

    __slots__ = (
        "asset",
        "basis_bps",
        "basis_ns",
        "dislocation",
        "funding",
        "home_bps",
        "lag",
        "quotes_per_s",
        "spread",
        "venue",
    )

    def __init__(self, venue: str, asset: _Asset, model: MarketModel, rng: random.Random) -> None:
        self.venue = venue
        self.asset = asset
        self.home_bps = rng.gauss(0.0, model.basis_bps)
        self.basis_bps = self.home_bps + rng.gauss(0.0, model.basis_wander_bps)
        self.basis_ns = 0
        self.lag = max(1, round(rng.uniform(*model.lag_s) / _GRID_S))
        self.quotes_per_s = rng.uniform(*model.quotes_per_s)
        self.spread = asset.model.spread_bps * rng.uniform(*model.spread_factor)
        self.funding = rng.gauss(model.funding_per_8h, model.funding_spread)
        self.dislocation: _Dislocation | None = None


class SyntheticMarket:
    """The market process. `step` moves it; nothing else does."""

    def __init__(
        self,
        venues: Sequence[str],
        *,
        seed: int,
        start_ns: int,
        model: MarketModel | None = None,
    ) -> None:
        if not venues:
            raise InvalidValue("venues was empty, at least one venue was expected")
        self.model = model or MarketModel()
        self._rng = random.Random(seed)
        self._start_ns = self._now_ns = start_ns
        kept = round(self.model.lag_s[1] / _GRID_S) + 2
        own_share = math.sqrt(1.0 - self.model.correlation**2)
        self._assets = [_Asset(asset, kept, own_share) for asset in self.model.assets]
        self._listings = [
            _Listing(venue, asset, self.model, self._rng)
            for venue in venues
            for asset in self._assets
        ]
        self._heap: list[tuple[int, int, int]] = []
        self._schedule_first()

    def fundamental(self, asset: str) -> float:
        """The price that all venues follow, now."""
        for found in self._assets:
            if found.model.asset == asset:
                return math.exp(found.log_price)
        raise InvalidValue(f"asset was {asset!r}, one of the model's was expected")

    def step(self, now_ns: int) -> list[MarketUpdate]:
        """Move to `now_ns` and return what happened since, in order."""
        updates: list[MarketUpdate] = []
        while self._now_ns + GRID_NS <= now_ns:
            self._now_ns += GRID_NS
            self._move_fundamentals()
            while self._heap and self._heap[0][0] <= self._now_ns:
                due_ns, what, index = heapq.heappop(self._heap)
                self._do(_Due(what), index, due_ns, updates)
        return updates

    # --- the grid --------------------------------------------------------------------------------

    def _schedule_first(self) -> None:
        model = self.model
        for index, listing in enumerate(self._listings):
            self._push(self._start_ns + GRID_NS, _Due.MARK, index)
            self._push(self._start_ns + GRID_NS, _Due.QUOTE, index)
            self._push_after(
                self._start_ns, 1.0 / listing.asset.model.trades_per_s, _Due.TRADE, index
            )
        if model.fast_move_every_s:
            self._push_after(self._start_ns, model.fast_move_every_s, _Due.FAST_MOVE, 0)
        if model.dislocation_every_s:
            first_ns = self._start_ns + int(model.dislocation_first_s * SECOND)
            self._push(first_ns, _Due.DISLOCATION, 0)

    def _push(self, due_ns: int, what: _Due, index: int) -> None:
        heapq.heappush(self._heap, (due_ns, int(what), index))

    def _push_after(self, since_ns: int, mean_s: float, what: _Due, index: int) -> None:
        wait_s = self._rng.expovariate(1.0 / mean_s)
        self._push(since_ns + int(wait_s * SECOND), what, index)

    def _move_fundamentals(self) -> None:
        gauss = self._rng.gauss
        common = gauss(0.0, 1.0) * self.model.correlation
        going = 1.0 - math.exp(-_GRID_S / self.model.fast_move_takes_s)
        for asset in self._assets:
            asset.log_price += common * _step_of(asset.model) + asset.own_step * gauss(0.0, 1.0)
            if asset.pending:
                part = asset.pending * going
                asset.log_price += part
                asset.pending = asset.pending - part if abs(asset.pending) > _BPS / 100 else 0.0
            asset.history.append(asset.log_price)

    def _do(self, what: _Due, index: int, due_ns: int, updates: list[MarketUpdate]) -> None:
        model = self.model
        if what is _Due.FAST_MOVE:
            asset = self._rng.choice(self._assets)
            asset.pending += self._signed(model.fast_move_bps) * _BPS
            self._push_after(due_ns, model.fast_move_every_s, what, 0)
        elif what is _Due.DISLOCATION:
            self._dislocate(due_ns)
            wait_s = model.dislocation_every_s * self._rng.uniform(0.5, 1.5)
            self._push(due_ns + int(wait_s * SECOND), what, 0)
        elif what is _Due.QUOTE:
            listing = self._listings[index]
            updates.append(self._quote(listing))
            wait_s = self._rng.uniform(0.4, 1.6) / listing.quotes_per_s
            self._push(due_ns + int(wait_s * SECOND), what, index)
        elif what is _Due.TRADE:
            listing = self._listings[index]
            updates.append(self._trade(listing))
            self._push_after(due_ns, 1.0 / listing.asset.model.trades_per_s, what, index)
        else:
            updates.append(self._mark(self._listings[index]))
            self._push(due_ns + SECOND, what, index)

    def _signed(self, size: tuple[float, float]) -> float:
        return self._rng.uniform(*size) * self._rng.choice((-1.0, 1.0))

    def _dislocate(self, now_ns: int) -> None:
        model = self.model
        calm = [listing for listing in self._listings if listing.dislocation is None]
        if not calm:
            return
        stay_s = self._rng.uniform(*model.dislocation_stay_s)
        self._rng.choice(calm).dislocation = _Dislocation(
            start_ns=now_ns,
            bps=self._signed(model.dislocation_bps),
            rise_s=model.dislocation_rise_s,
            stay_s=stay_s,
            closing_s=self._rng.uniform(*model.dislocation_closes_s) - stay_s,
        )

    # --- one listing -----------------------------------------------------------------------------

    def _basis(self, listing: _Listing) -> float:
        """Move the basis to now (exact transition of its Ornstein-Uhlenbeck process), in bps."""
        model = self.model
        if listing.basis_ns:
            elapsed_s = (self._now_ns - listing.basis_ns) / SECOND
            keep = math.exp(-elapsed_s / model.basis_return_s)
            wander = model.basis_wander_bps * math.sqrt(1.0 - keep * keep)
            away = (listing.basis_bps - listing.home_bps) * keep
            listing.basis_bps = listing.home_bps + away + self._rng.gauss(0.0, wander)
        listing.basis_ns = self._now_ns
        return listing.basis_bps

    def _away(self, listing: _Listing) -> float:
        found = listing.dislocation
        if found is None:
            return 0.0
        if self._now_ns >= found.ends_ns():
            listing.dislocation = None
            return 0.0
        return found.at(self._now_ns)

    def _quote(self, listing: _Listing) -> MarketQuote:
        rng = self._rng
        followed = math.exp(listing.asset.history[-1 - listing.lag])
        mid = followed * (1.0 + (self._basis(listing) + self._away(listing)) * _BPS)
        spread = listing.spread * rng.uniform(0.8, 1.4) * _BPS
        return MarketQuote(
            self._now_ns,
            listing.venue,
            listing.asset.model.asset,
            self._ladder(listing, mid, -spread),
            self._ladder(listing, mid, spread),
        )

    def _ladder(
        self, listing: _Listing, mid: float, spread: float
    ) -> tuple[tuple[float, float], ...]:
        """Levels of one side; a negative spread gives bids. Sizes grow with the distance."""
        uniform = self._rng.uniform
        touch = listing.asset.model.touch_usd / mid
        distance = spread / 2
        levels: list[tuple[float, float]] = []
        for depth in range(self.model.levels):
            size = touch * (1.0 + 0.4 * depth) * uniform(0.4, 1.6)
            levels.append((mid * (1.0 + distance), size))
            distance += spread * uniform(0.4, 1.2)
        return tuple(levels)

    def _trade(self, listing: _Listing) -> MarketTrade:
        touch = listing.asset.model.touch_usd / math.exp(listing.asset.log_price)
        quantity = touch * min(self._rng.lognormvariate(-3.0, 1.0), 1.5)
        side = Side.BUY if self._rng.random() < 0.5 else Side.SELL
        return MarketTrade(self._now_ns, listing.venue, listing.asset.model.asset, side, quantity)

    def _mark(self, listing: _Listing) -> MarketMark:
        index = math.exp(listing.asset.log_price)
        return MarketMark(
            self._now_ns,
            listing.venue,
            listing.asset.model.asset,
            index * (1.0 + self._basis(listing) * _BPS),
            index,
            listing.funding,
        )


def _step_of(model: AssetModel) -> float:
    """Standard deviation of the logarithm over one step of the grid."""
    return model.daily_volatility / _DAY_ROOT_S * math.sqrt(_GRID_S)
