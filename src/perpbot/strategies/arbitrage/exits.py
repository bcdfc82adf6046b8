"""Watches hedged pairs on the quotes of their assets and on a timer, and closes each once.

What makes a pair leave is decided in `exit_rules`; how it leaves is the trader's. Nothing here is
durable: after a restart the pair book says which pairs are held, and they are watched again.
"""

from __future__ import annotations

from collections.abc import Mapping

from perpbot.domain.events import (
    ClosePair,
    PairPlanned,
    PairStateChanged,
    QuoteUpdated,
    TradeCompleted,
)
from perpbot.domain.sides import PairState
from perpbot.execution.pair import Pair, PairBook
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock, TimerHandle, Timers
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import QuoteEngine
from perpbot.strategies.arbitrage.costs import FeeModel, funding_bps, round_trip
from perpbot.strategies.arbitrage.exit_rules import ExitRules, PairNow, decide
from perpbot.strategies.arbitrage.holding import Holding
from perpbot.strategies.arbitrage.settings import ArbitrageSettings

STRATEGY = "arbitrage"
CHECK_NS = 250 * MS
"""Time between two looks at every pair, whether quotes come or not."""


class ExitManager:
    """See the module. `pairs` must fold its events before this hears of them."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        pairs: PairBook,
        engine: QuoteEngine,
        basis: BasisTracker,
        settings: ArbitrageSettings,
        fees: FeeModel,
        *,
        overrides: Mapping[str, ArbitrageSettings] | None = None,
    ) -> None:
        """`overrides` by asset."""
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._pairs = pairs
        self._engine = engine
        self._basis = basis
        self._settings = settings
        self._fees = fees
        self._overrides = overrides or {}
        self._holdings: dict[str, dict[str, Holding]] = {}
        self._told: set[str] = set()
        self._leave_all = ""
        self._timer: TimerHandle | None = None
        bus.subscribe(QuoteUpdated, self._on_quote)
        bus.subscribe(PairPlanned, self._on_planned, late=True)
        bus.subscribe(PairStateChanged, self._on_state)
        bus.subscribe(TradeCompleted, self._on_completed)

    # --- beginning and ending ---

    def start(self) -> None:
        """Take up the pairs that the journal left and begin the timer."""
        for pair in self._pairs:
            if pair.state is PairState.HEDGED:
                self._take(pair)
        self._timer = self._timers.call_later(CHECK_NS, self._tick)

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close_all(self, reason: str) -> None:
        """Leave every pair, and any that is still to come."""
        self._leave_all = reason
        for pair in self._pairs:
            self._close(pair, reason, {})

    # --- which pairs are held ---

    def _on_planned(self, event: PairPlanned) -> None:
        pair = self._pairs.get(event.plan.pair_id)
        if self._leave_all and pair is not None:
            self._close(pair, self._leave_all, {})

    def _on_state(self, event: PairStateChanged) -> None:
        pair = self._pairs.get(event.pair_id)
        if pair is None:
            return
        if event.after is PairState.HEDGED:
            self._take(pair)
        else:
            self._release(pair.plan.asset, event.pair_id)

    def _on_completed(self, event: TradeCompleted) -> None:
        self._release(event.asset, event.pair_id)
        self._told.discard(event.pair_id)

    def _take(self, pair: Pair) -> None:
        plan = pair.plan
        if plan.strategy != STRATEGY:
            return
        settings = self._settings_of(plan.asset)
        venues = (plan.long_venue, plan.short_venue)
        costs = round_trip(self._fees, settings, plan.asset, *venues)
        long_fee, short_fee = (
            float(self._fees.bps(venue, plan.asset, settings.exit_role)) for venue in venues
        )
        rules = ExitRules(
            convergence_bps=float(plan.exit_level_bps),
            take_profit_bps=float(plan.take_profit_bps),
            stop_bps=float(plan.stop_bps),
            max_hold_ns=plan.max_hold_s * SECOND,
            exit_on_funding_turn=settings.exit_on_funding_turn,
            closing_cost_bps=costs.exit_fees_bps + costs.slippage_bps / 2,
            counted_funding_bps=plan.opportunity.edge.funding_bps,
        )
        basis = self._basis.track(plan.asset, *venues)
        self._holdings.setdefault(plan.asset, {})[plan.pair_id] = Holding(
            pair, rules, basis, (long_fee, short_fee)
        )

    def _release(self, asset: str, pair_id: str) -> None:
        holdings = self._holdings.get(asset)
        if holdings is not None:
            holdings.pop(pair_id, None)
            if not holdings:
                del self._holdings[asset]

    # --- looking at them ---

    def _on_quote(self, quote: QuoteUpdated) -> None:
        holdings = self._holdings.get(quote.asset)
        if holdings is None:
            return
        for holding in holdings.values():
            self._judge(holding)

    def _tick(self) -> None:
        self._timer = self._timers.call_later(CHECK_NS, self._tick)
        if self._bus.halted is not None:
            return
        for holdings in tuple(self._holdings.values()):
            for holding in tuple(holdings.values()):
                holding.refresh()
                self._judge(holding)

    def _judge(self, holding: Holding) -> None:
        plan = holding.pair.plan
        if plan.pair_id in self._told:
            return
        now = holding.now(
            self._engine,
            now_ns=self._clock.now_ns(),
            monotonic_ns=self._clock.monotonic_ns(),
            funding_bps=funding_bps(
                self._engine.funding(plan.long_venue, plan.asset),
                self._engine.funding(plan.short_venue, plan.asset),
                self._settings_of(plan.asset).expected_hold_s,
            ),
        )
        found = decide(holding.rules, now)
        if found is not None:
            detail = {"measured": f"{found.measured:.4g}", "limit": f"{found.limit:.4g}"}
            self._close(holding.pair, found.reason, detail | _numbers(now))

    def _close(self, pair: Pair, reason: str, detail: dict[str, str]) -> None:
        pair_id = pair.plan.pair_id
        if pair_id in self._told or pair.close_reason:
            return
        self._told.add(pair_id)
        self._bus.publish(
            ClosePair(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair_id,
                pair_id=pair_id,
                reason=reason,
                detail=detail,
            )
        )

    def _settings_of(self, asset: str) -> ArbitrageSettings:
        return self._overrides.get(asset, self._settings)


def _numbers(now: PairNow) -> dict[str, str]:
    return {
        "held_s": f"{now.held_ns / SECOND:.3f}",
        "exit_cost_bps": f"{now.exit_cost_bps:.3f}",
        "expected_exit_bps": f"{now.expected_exit_bps:.3f}",
        "profit_bps": f"{now.profit_bps:.3f}",
        "marked_profit_bps": f"{now.marked_profit_bps:.3f}",
        "funding_bps": f"{now.funding_bps:.3f}",
    }
