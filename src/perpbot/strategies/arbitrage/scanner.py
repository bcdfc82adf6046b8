"""Finds gaps worth trading: every accepted quote against the venues that it can pair with.

A quote is compared only with the other venues of its asset, in both directions. What a direction
must overcome (usual exit cost, fees, slippage, funding, the floor) is folded into one ratio of
prices on the basis timer, and the least ratio of a market into one comparison each way: most
quotes end there. What may pass is evaluated exactly, with both newest quotes, and published best
first.

An opportunity is an episode: the edge of a direction above the floor without a break. Its id stays
the same over the episode, which ends when the edge falls, a quote goes stale or opening stops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import attrgetter

import msgspec

from perpbot.domain.events import FundingRateUpdated, OpportunityFound, QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.domain.quotes import Opportunity
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, Clock
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import QuoteEngine, UsdRate
from perpbot.strategies.arbitrage.costs import FeeModel, funding_bps, round_trip
from perpbot.strategies.arbitrage.direction import Direction
from perpbot.strategies.arbitrage.settings import ArbitrageSettings

Reliability = Callable[[str], float]
"""A venue's record of filling, between 0 and 1."""


class ScanStatistics(msgspec.Struct, frozen=True):
    """Counts since the start. `reasons` says why evaluated directions were not published."""

    quotes: int
    evaluated: int
    """Directions looked at, over all quotes."""
    published: int
    episodes: int
    reasons: dict[str, int]


class _Prices:
    """Best prices of one asset by venue, and their extremes.

    The extremes are those since the last refresh, so never tighter than what is there now.
    """

    __slots__ = ("asks", "bids", "highest_bid", "lowest_ask")

    def __init__(self, venues: int) -> None:
        self.bids = [0.0] * venues
        self.asks = [math.inf] * venues
        self.highest_bid = 0.0
        self.lowest_ask = math.inf

    def refresh(self) -> None:
        """Forget extremes that have passed."""
        self.highest_bid = max(self.bids)
        self.lowest_ask = min(self.asks)


class _Row:
    """One market as the scanner sees it: the prices of its asset, and its directions."""

    __slots__ = (
        "blocked",
        "directions",
        "episodes",
        "index",
        "least_long",
        "least_short",
        "prices",
        "quotes",
        "quotes_before",
    )

    def __init__(self, index: int, prices: _Prices) -> None:
        self.index = index
        self.prices = prices
        self.least_long = math.inf
        """Least ratio of the directions in which it is long."""
        self.least_short = math.inf
        self.directions: list[Direction] = []
        self.blocked: dict[str, int] = {}
        """Directions that cannot open at present, by reason."""
        self.episodes = 0
        """Open episodes of its directions."""
        self.quotes = 0
        self.quotes_before = 0
        """Quotes whose blocked directions have been counted."""


class Scanner:
    """Publishes `OpportunityFound`. See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        engine: QuoteEngine,
        basis: BasisTracker,
        settings: ArbitrageSettings,
        fees: FeeModel,
        instruments: Mapping[tuple[str, str], Instrument],
        operators: Mapping[str, str],
        usd_rate: UsdRate,
        *,
        overrides: Mapping[str, ArbitrageSettings] | None = None,
        reliability: Reliability | None = None,
    ) -> None:
        """`operators` by venue: two venues of one operator never pair. `overrides` by asset."""
        self._bus = bus
        self._clock = clock
        self._engine = engine
        self._usd_rate = usd_rate
        self._reliability = reliability or (lambda _: 1.0)
        self._stopped = False
        self._reasons: dict[str, int] = {}
        self._published = 0
        self._turn = 0
        self.episodes = 0
        """Opportunities so far."""
        self._rows: dict[str, dict[str, _Row]] = {}
        self._directions: list[Direction] = []
        by_asset: dict[str, list[Instrument]] = {}
        for instrument in instruments.values():
            if instrument.tradable:
                by_asset.setdefault(instrument.asset, []).append(instrument)
        for asset, listed in by_asset.items():
            chosen = (overrides or {}).get(asset, settings)
            self._add_asset(asset, listed, chosen, basis, fees, operators)
        basis.on_sample(self._refresh)
        bus.subscribe(QuoteUpdated, self._on_quote)
        bus.subscribe(FundingRateUpdated, self._on_funding)

    def _add_asset(
        self,
        asset: str,
        listed: list[Instrument],
        settings: ArbitrageSettings,
        basis: BasisTracker,
        fees: FeeModel,
        operators: Mapping[str, str],
    ) -> None:
        prices = _Prices(len(listed))
        rows = [_Row(index, prices) for index in range(len(listed))]
        for index, instrument in enumerate(listed):
            self._rows.setdefault(instrument.venue, {})[asset] = rows[index]
            self._engine.slot(instrument)
        for i, long in enumerate(listed):
            for j, short in enumerate(listed):
                if operators[long.venue] == operators[short.venue]:
                    continue
                direction = Direction(
                    long=self._engine.slot(long),
                    short=self._engine.slot(short),
                    indices=(i, j),
                    basis=basis.track(asset, long.venue, short.venue),
                    costs=round_trip(fees, settings, asset, long.venue, short.venue),
                    settings=settings,
                )
                self._directions.append(direction)
                rows[i].directions.append(direction)
                rows[j].directions.append(direction)
                self._fund(direction)

    # --- the hot path ---

    def _on_quote(self, quote: QuoteUpdated) -> None:
        try:
            row = self._rows[quote.venue][quote.asset]
        except KeyError:
            return
        row.quotes += 1
        prices, index = row.prices, row.index
        prices.bids[index] = bid = quote.bid
        prices.asks[index] = ask = quote.ask
        if bid > prices.highest_bid:  # noqa: PLR1730 - a call costs more than what it compares
            prices.highest_bid = bid
        if ask < prices.lowest_ask:  # noqa: PLR1730 - the same
            prices.lowest_ask = ask
        if (
            prices.lowest_ask * row.least_short <= bid
            or ask * row.least_long <= prices.highest_bid
            or row.episodes
        ):
            self._examine(row, quote)

    # --- what may pass ---

    def _examine(self, row: _Row, quote: QuoteUpdated) -> None:
        """Evaluate the directions that may pass, or whose episode may end; publish best first."""
        now_ns = self._clock.monotonic_ns()
        bids, asks = row.prices.bids, row.prices.asks
        found: list[tuple[Direction, Opportunity]] = []
        for direction in row.directions:
            i, j = direction.indices
            if asks[i] * direction.ratio <= bids[j] or direction.episode:
                opportunity = self._evaluate(direction, now_ns, quote.recv_ns)
                if opportunity is not None:
                    found.append((direction, opportunity))
        if len(found) > 1:
            found.sort(key=lambda pair: (pair[0].priority, -pair[1].score))
        for _, opportunity in found:
            self._published += 1
            self._bus.publish(
                OpportunityFound(
                    ts_ns=self._clock.now_ns(),
                    correlation_id=opportunity.opportunity_id,
                    opportunity=opportunity,
                )
            )

    def _evaluate(self, direction: Direction, now_ns: int, read_ns: int) -> Opportunity | None:
        """Judge one direction with the newest quotes; count why it does not pass."""
        reason = direction.look(now_ns)
        if not reason:
            edge = direction.edge()
            if edge.edge_bps >= direction.settings.min_edge_bps:
                self._begin_episode(direction)
                points = direction.score(edge.edge_bps)
                reason = direction.too_little(points)
                if not reason:
                    return direction.opportunity(edge, points, read_ns)
                self._count(reason)
                return None
            reason = "below_floor"
        self._count(reason)
        self._end_episode(direction)
        return None

    def _begin_episode(self, direction: Direction) -> None:
        if direction.episode:
            return
        self.episodes += 1
        started_ms = self._clock.now_ns() // MS
        direction.episode = f"{direction.name}-{started_ms}-{self.episodes}"
        for row in self._rows_of(direction):
            row.episodes += 1

    def _end_episode(self, direction: Direction) -> None:
        if not direction.episode:
            return
        direction.episode = ""
        for row in self._rows_of(direction):
            row.episodes -= 1

    def _rows_of(self, direction: Direction) -> tuple[_Row, _Row]:
        asset = direction.basis.asset
        return (
            self._rows[direction.basis.long_venue][asset],
            self._rows[direction.basis.short_venue][asset],
        )

    def imagine(self) -> Opportunity | None:
        """Return what the next direction in turn would be like at the newest quotes, if usable.

        For rehearsals: whatever its edge, no episode, nothing counted or published.
        """
        if not self._directions:
            return None
        self._turn = (self._turn + 1) % len(self._directions)
        direction = self._directions[self._turn]
        if direction.look(self._clock.monotonic_ns()):
            return None
        edge = direction.edge()
        points = direction.score(edge.edge_bps)
        direction.too_little(points)
        return direction.opportunity(edge, points, read_ns=0)

    def _count(self, reason: str, times: int = 1) -> None:
        self._reasons[reason] = self._reasons.get(reason, 0) + times

    # --- now and then ---

    def stop_opening(self) -> None:
        """Find nothing any more; open episodes end."""
        self._stopped = True
        self._refresh()

    def _refresh(self) -> None:
        """Fold what directions must overcome into ratios; called after every basis sample."""
        for rows in self._rows.values():
            for row in rows.values():
                self._settle(row)
                row.blocked.clear()
                row.least_long = row.least_short = math.inf
                row.prices.refresh()
        for direction in self._directions:
            direction.refresh(self._usd_rate, self._reliability, stopped=self._stopped)
            long_row, short_row = self._rows_of(direction)
            long_row.least_long = min(long_row.least_long, direction.ratio)
            short_row.least_short = min(short_row.least_short, direction.ratio)
            if direction.blocked:
                for row in (long_row, short_row):
                    row.blocked[direction.blocked] = row.blocked.get(direction.blocked, 0) + 1
                self._end_episode(direction)

    def _settle(self, row: _Row) -> None:
        """Count the blocked directions of the quotes since the last time."""
        passed = row.quotes - row.quotes_before
        row.quotes_before = row.quotes
        if passed:
            for reason, directions in row.blocked.items():
                self._count(reason, passed * directions)

    def _on_funding(self, event: FundingRateUpdated) -> None:
        rows = self._rows.get(event.venue)
        row = None if rows is None else rows.get(event.asset)
        for direction in row.directions if row is not None else ():
            self._fund(direction)

    def _fund(self, direction: Direction) -> None:
        asset = direction.basis.asset
        direction.funding_bps = funding_bps(
            self._engine.funding(direction.basis.long_venue, asset),
            self._engine.funding(direction.basis.short_venue, asset),
            direction.settings.expected_hold_s,
        )

    # --- looking in ---

    def statistics(self) -> ScanStatistics:
        """Return the counts. What is neither published nor has a reason of its own fell below."""
        rows = [row for rows in self._rows.values() for row in rows.values()]
        for row in rows:
            self._settle(row)
        evaluated = sum(row.quotes * len(row.directions) for row in rows)
        reasons = dict(self._reasons)
        others = sum(count for reason, count in reasons.items() if reason != "below_floor")
        reasons["below_floor"] = evaluated - self._published - others
        return ScanStatistics(
            quotes=sum(map(attrgetter("quotes"), rows)),
            evaluated=evaluated,
            published=self._published,
            episodes=self.episodes,
            reasons=reasons,
        )
