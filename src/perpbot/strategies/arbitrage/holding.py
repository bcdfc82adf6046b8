"""A hedged pair as the exits see it: what it would bring now, in bps of its notional."""

from __future__ import annotations

import math

from perpbot.domain.money import ZERO
from perpbot.execution.pair import Pair
from perpbot.market.basis import Basis
from perpbot.market.engine import QuoteEngine
from perpbot.strategies.arbitrage.edge import BPS
from perpbot.strategies.arbitrage.exit_rules import ExitRules, PairNow


class Holding:
    """One hedged pair. Floats: what it decides on is statistics, what it moves is not."""

    def __init__(
        self, pair: Pair, rules: ExitRules, basis: Basis, exit_fees_bps: tuple[float, float]
    ) -> None:
        """`exit_fees_bps` of the long and the short leg."""
        self.pair = pair
        self.rules = rules
        self._basis = basis
        self._fees = (exit_fees_bps[0] / BPS, exit_fees_bps[1] / BPS)
        self._notional = float(pair.plan.notional_usd)
        self._quantities = (0.0, 0.0)
        self._base_usd = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Take over what fills, fees and funding have made of the pair."""
        legs = (self.pair.long, self.pair.short)
        self._quantities = (float(legs[0].quantity), float(legs[1].quantity))
        self._base_usd = float(sum((leg.cash - leg.fees + leg.funding for leg in legs), ZERO))

    def now(
        self, engine: QuoteEngine, *, now_ns: int, monotonic_ns: int, funding_bps: float
    ) -> PairNow:
        """Measure it: wall time for its age, monotonic for the age of quotes."""
        expected = self._basis.expected_exit_bps
        if math.isnan(expected):
            # Cold after a restart: what was usual when the pair was planned is the best known.
            expected = self.pair.plan.opportunity.edge.expected_exit_bps
        exit_cost = self._basis.exit_cost_bps(monotonic_ns)
        return PairNow(
            held_ns=now_ns - (self.pair.first_fill_ns or self.pair.planned_ns),
            exit_cost_bps=exit_cost,
            expected_exit_bps=expected,
            profit_bps=math.nan if math.isnan(exit_cost) else self._quoted_profit_bps(engine),
            marked_profit_bps=self._marked_profit_bps(engine),
            funding_bps=funding_bps,
        )

    def _quoted_profit_bps(self, engine: QuoteEngine) -> float:
        plan = self.pair.plan
        long = engine.latest(plan.long_venue, plan.asset)
        short = engine.latest(plan.short_venue, plan.asset)
        long_rate = engine.usd_rate(plan.long_venue, plan.asset)
        short_rate = engine.usd_rate(plan.short_venue, plan.asset)
        if long is None or short is None or long_rate is None or short_rate is None:
            return math.nan
        return self._profit_bps(long.bid * float(long_rate), short.ask * float(short_rate))

    def _marked_profit_bps(self, engine: QuoteEngine) -> float:
        plan = self.pair.plan
        long = engine.mark(plan.long_venue, plan.asset)
        short = engine.mark(plan.short_venue, plan.asset)
        if long is None or short is None:
            return math.nan
        return self._profit_bps(float(long), float(short))

    def _profit_bps(self, long_price: float, short_price: float) -> float:
        """Return the profit after all costs if both legs closed at these USD prices."""
        long_usd = self._quantities[0] * long_price
        short_usd = self._quantities[1] * short_price
        fees = abs(long_usd) * self._fees[0] + abs(short_usd) * self._fees[1]
        return (self._base_usd + long_usd + short_usd - fees) / self._notional * BPS
