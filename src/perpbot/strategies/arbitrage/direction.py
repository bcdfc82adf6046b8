"""One way to pair two venues: long here, short there. Its costs, its edge now, its opportunity."""

from __future__ import annotations

import math
from collections.abc import Callable

from perpbot.domain.events import QuoteUpdated
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.market.basis import Basis
from perpbot.market.engine import UsdRate
from perpbot.market.slot import Slot
from perpbot.strategies.arbitrage.costs import RoundTrip
from perpbot.strategies.arbitrage.edge import BPS, edge_of
from perpbot.strategies.arbitrage.score import score
from perpbot.strategies.arbitrage.settings import ArbitrageSettings

_LOOSE = 0.05
"""The ratio is looser than the edge by this share: a touch is never further from the mean mid."""


class Direction:
    """Quick to refuse by `ratio`: it can pass only where ask_L * ratio <= bid_S."""

    __slots__ = (
        "_least_notional",
        "_least_size",
        "_rate",
        "basis",
        "blocked",
        "costs",
        "episode",
        "funding_bps",
        "indices",
        "long",
        "name",
        "priority",
        "ratio",
        "settings",
        "short",
    )

    def __init__(
        self,
        *,
        long: Slot,
        short: Slot,
        indices: tuple[int, int],
        basis: Basis,
        costs: RoundTrip,
        settings: ArbitrageSettings,
    ) -> None:
        """`indices` are the places of both venues in the scanner's rows."""
        self.long = long
        self.short = short
        self.indices = indices
        self.basis = basis
        self.costs = costs
        self.settings = settings
        self.name = f"{basis.asset}-{basis.long_venue}-{basis.short_venue}"
        self.priority = _rank(settings, basis.long_venue, basis.short_venue)
        """Place among the priority pairs; the others come after them, by score."""
        self.funding_bps = 0.0
        self.ratio = math.inf
        self.blocked = "cold_basis"
        """Why it cannot pass whatever the prices, or ""."""
        self.episode = ""
        """Id of the open episode, or ""."""
        self._rate = 1.0
        traded = (long.instrument, short.instrument)
        self._least_size = float(max(one.min_quantity for one in traded))
        self._least_notional = float(max(one.min_notional for one in traded))

    def refresh(self, usd_rate: UsdRate, *, stopped: bool) -> None:
        """Fold everything but the two prices into the ratio."""
        long_rate = usd_rate(self.long.instrument.settle)
        short_rate = usd_rate(self.short.instrument.settle)
        expected = self.basis.expected_exit_bps
        self.ratio = math.inf
        if stopped:
            self.blocked = "stopped"
        elif not self.settings.enabled:
            self.blocked = "disabled"
        elif long_rate is None or short_rate is None:
            self.blocked = "no_usd_rate"
        elif math.isnan(expected):
            self.blocked = "cold_basis"
        else:
            self.blocked = ""
            self._rate = float(max(long_rate, short_rate))
            hurdle = (
                expected + self.costs.total_bps - self.funding_bps + self.settings.min_edge_bps
            )
            self.ratio = 1.0 + (hurdle - _LOOSE * abs(hurdle) - _LOOSE) / BPS

    def unusable(self, now_ns: int) -> str:
        """Return why its quotes cannot open anything now (monotonic), or ""."""
        long, short = self.long, self.short
        if long.quote is None or short.quote is None:
            return "no_quote"
        if long.fresh_until_ns < now_ns or short.fresh_until_ns < now_ns:
            return "stale"
        return ""

    def edge(self) -> EdgeBreakdown:
        """Return the edge of the newest quotes."""
        long, short = self._quotes()
        return edge_of(
            long_ask=long.ask,
            short_bid=short.bid,
            mean_mid=_mean_mid(long, short),
            expected_exit_bps=self.basis.expected_exit_bps,
            costs=self.costs,
            funding_bps=self.funding_bps,
        )

    def score(self, edge_bps: float, reliability: Callable[[str], float]) -> float:
        """Return how good it is next to others; a pair is as reliable as its worse venue."""
        long, short = self._quotes()
        return score(
            self.settings,
            edge_bps=edge_bps,
            size=min(long.ask_size, short.bid_size),
            least_size=max(self._least_size, self._least_notional / _mean_mid(long, short)),
            reliability=min(
                reliability(self.basis.long_venue), reliability(self.basis.short_venue)
            ),
        )

    def too_little(self, points: float) -> str:
        """Return why an edge above the floor is still not worth a pair, or ""."""
        long, short = self._quotes()
        least = float(self.settings.pair_notional_min_usd)
        if min(long.ask_size, short.bid_size) * _mean_mid(long, short) * self._rate < least:
            return "too_small"
        if points < self.settings.min_score:
            return "low_score"
        return ""

    def opportunity(self, edge: EdgeBreakdown, points: float, read_ns: int) -> Opportunity:
        """Return it with every number; its size is capped by the pair's notional limit."""
        long, short = self._quotes()
        mid = _mean_mid(long, short)
        most = float(self.settings.pair_notional_max_usd) / (mid * self._rate)
        return Opportunity(
            opportunity_id=self.episode,
            asset=self.basis.asset,
            long_venue=self.basis.long_venue,
            short_venue=self.basis.short_venue,
            long_ask=long.ask,
            short_bid=short.bid,
            size=min(long.ask_size, short.bid_size, most),
            mid=mid,
            edge=edge,
            score=points,
            long_quote_ns=long.recv_ns,
            short_quote_ns=short.recv_ns,
            read_ns=read_ns,
        )

    def _quotes(self) -> tuple[QuoteUpdated, QuoteUpdated]:
        """The newest quotes; only asked for where `unusable` has said nothing."""
        long, short = self.long.quote, self.short.quote
        assert long is not None
        assert short is not None
        return long, short


def _mean_mid(long: QuoteUpdated, short: QuoteUpdated) -> float:
    return (long.bid + long.ask + short.bid + short.ask) / 4


def _rank(settings: ArbitrageSettings, long_venue: str, short_venue: str) -> int:
    for place, pair in enumerate(settings.priority_pairs):
        if {long_venue, short_venue} == set(pair):
            return place
    return len(settings.priority_pairs)
