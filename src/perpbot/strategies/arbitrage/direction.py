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
        "_bought",
        "_least_notional",
        "_least_size",
        "_mid",
        "_notional_max",
        "_notional_min",
        "_rate",
        "_reliability",
        "_size",
        "_sold",
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
        self._notional_min = float(settings.pair_notional_min_usd)
        self._notional_max = float(settings.pair_notional_max_usd)
        self._reliability = 1.0
        self._bought = self._sold = QuoteUpdated()
        self._mid = self._size = 0.0

    def refresh(
        self, usd_rate: UsdRate, reliability: Callable[[str], float], *, stopped: bool
    ) -> None:
        """Fold everything but the two prices into the ratio.

        A pair is as reliable as its worse venue.
        """
        self._reliability = min(
            reliability(self.basis.long_venue), reliability(self.basis.short_venue)
        )
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

    def look(self, now_ns: int) -> str:
        """Take the newest quotes; return why they cannot open anything now (monotonic), or "".

        What follows speaks of the quotes that were taken.
        """
        bought, sold = self.long.quote, self.short.quote
        if bought is None or sold is None:
            return "no_quote"
        if self.long.fresh_until_ns < now_ns or self.short.fresh_until_ns < now_ns:
            return "stale"
        self._bought, self._sold = bought, sold
        self._mid = (bought.bid + bought.ask + sold.bid + sold.ask) / 4
        size = bought.ask_size
        self._size = min(sold.bid_size, size)
        return ""

    def edge(self) -> EdgeBreakdown:
        """Return the edge of these quotes."""
        return edge_of(
            long_ask=self._bought.ask,
            short_bid=self._sold.bid,
            mean_mid=self._mid,
            expected_exit_bps=self.basis.expected_exit_bps,
            costs=self.costs,
            funding_bps=self.funding_bps,
        )

    def score(self, edge_bps: float) -> float:
        """Return how good it is next to others."""
        least = self._least_notional / self._mid
        return score(
            self.settings,
            edge_bps=edge_bps,
            size=self._size,
            least_size=max(self._least_size, least),
            reliability=self._reliability,
        )

    def too_little(self, points: float) -> str:
        """Return why an edge above the floor is still not worth a pair, or ""."""
        if self._size * self._mid * self._rate < self._notional_min:
            return "too_small"
        if points < self.settings.min_score:
            return "low_score"
        return ""

    def opportunity(self, edge: EdgeBreakdown, points: float, read_ns: int) -> Opportunity:
        """Return it with every number; its size is capped by the pair's notional limit."""
        bought, sold = self._bought, self._sold
        most = self._notional_max / (self._mid * self._rate)
        return Opportunity(
            opportunity_id=self.episode,
            asset=self.basis.asset,
            long_venue=self.basis.long_venue,
            short_venue=self.basis.short_venue,
            long_ask=bought.ask,
            short_bid=sold.bid,
            size=min(self._size, most),
            mid=self._mid,
            edge=edge,
            score=points,
            long_quote_ns=bought.recv_ns,
            short_quote_ns=sold.recv_ns,
            read_ns=read_ns,
        )


def _rank(settings: ArbitrageSettings, long_venue: str, short_venue: str) -> int:
    for place, pair in enumerate(settings.priority_pairs):
        if {long_venue, short_venue} == set(pair):
            return place
    return len(settings.priority_pairs)
