"""An arbitrage desk in virtual time for tests: a floor, a warm basis, a scanner, exits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from perpbot.domain.events import ClosePair, OpportunityFound, PairStateChanged
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.domain.sides import PairState
from perpbot.execution.pair import Pair, PairBook
from perpbot.market.basis import BasisTracker
from perpbot.market.engine import UsdRate
from perpbot.market.settings import MarketSettings
from perpbot.strategies.arbitrage.costs import FeeModel
from perpbot.strategies.arbitrage.exits import ExitManager
from perpbot.strategies.arbitrage.scanner import Reliability, Scanner
from perpbot.strategies.arbitrage.settings import ArbitrageSettings
from tests.unit.market.floor import BTC, VENUES, Floor, instrument, one_dollar
from tests.unit.portfolio.office import planned

MARKET = MarketSettings(basis_window_s=60.0, basis_warmup_s=1.0)
TOUCH = 95_000.0


class Desk(Floor):
    """Three venues quoting BTC 95 000 / 95 001 until told otherwise."""

    def __init__(self) -> None:
        super().__init__(MARKET)
        self.basis = BasisTracker(self.engine, MARKET)
        self.instruments = {(venue, BTC): instrument(venue) for venue in VENUES}
        self.fees = FeeModel(self.capabilities)
        self.found: list[OpportunityFound] = []
        self.closed: list[ClosePair] = []
        self.pairs = PairBook()
        for event_class, fold in self.pairs.folds().items():
            self.bus.subscribe(event_class, fold)
        self.bus.subscribe(OpportunityFound, self.found.append)
        self.bus.subscribe(ClosePair, self.closed.append)

    def scanner(
        self,
        settings: ArbitrageSettings | None = None,
        *,
        operators: Mapping[str, str] | None = None,
        usd_rate: UsdRate = one_dollar,
        overrides: Mapping[str, ArbitrageSettings] | None = None,
        reliability: Reliability | None = None,
    ) -> Scanner:
        """Return a scanner over all three venues."""
        return Scanner(
            self.bus,
            self.time,
            self.engine,
            self.basis,
            settings or ArbitrageSettings(),
            self.fees,
            self.instruments,
            operators or {venue: venue for venue in VENUES},
            usd_rate,
            overrides=overrides,
            reliability=reliability,
        )

    def exits(self, **changes: Any) -> ExitManager:
        """Return an exit manager that has started."""
        for venue in VENUES:
            self.slot(venue)
        manager = ExitManager(
            self.bus,
            self.time,
            self.time,
            self.pairs,
            self.engine,
            self.basis,
            ArbitrageSettings(**changes),
            self.fees,
        )
        manager.start()
        return manager

    def calm(self, seconds: float, *, size: float = 1.0) -> None:
        """All venues quote the same and the basis is sampled."""
        for _ in range(round(seconds * 10)):
            self.wait(0.1)
            for venue in VENUES:
                self.quote(TOUCH, TOUCH + 1, venue, size=size)
            self.basis.sample(self.time.monotonic_ns())

    def dear(self, venue: str, bps: float, *, size: float = 1.0) -> None:
        """Quote a venue this much above the calm price."""
        bid = TOUCH * (1 + bps / 10_000)
        assert self.quote(bid, bid + 1, venue, size=size)

    def hold(
        self,
        pair_id: str = "1-1",
        *,
        counted_funding_bps: float = 0.0,
        strategy: str = "arbitrage",
        entry: tuple[str, str] = ("95001", "95200"),
    ) -> Pair:
        """Hedge 0.01 BTC long at okx and short at binance, bought and sold at `entry`."""
        plan = plan_of(pair_id, counted_funding_bps, strategy)
        now_ns = self.time.now_ns()
        self.bus.publish(planned(plan, ts_ns=now_ns))
        pair = self.pairs.get(pair_id)
        assert pair is not None
        pair.first_fill_ns = now_ns
        pair.long.quantity, pair.short.quantity = plan.quantity, -plan.quantity
        pair.long.cash = -plan.quantity * Decimal(entry[0])
        pair.short.cash = plan.quantity * Decimal(entry[1])
        self.move(pair, PairState.HEDGED)
        return pair

    def move(self, pair: Pair, *states: PairState) -> None:
        """Take a pair through states."""
        for state in states:
            self.bus.publish(
                PairStateChanged(
                    ts_ns=self.time.now_ns(),
                    pair_id=pair.plan.pair_id,
                    before=pair.state,
                    after=state,
                    reason="test",
                )
            )


def plan_of(pair_id: str, counted_funding_bps: float, strategy: str) -> PairPlan:
    """A plan that leaves at convergence, +10 bps, -50 bps or after 600 s."""
    opportunity = Opportunity(
        opportunity_id="o-1",
        asset=BTC,
        long_venue="okx",
        short_venue="binance",
        long_ask=95_001.0,
        short_bid=95_200.0,
        size=0.01,
        mid=95_100.0,
        edge=EdgeBreakdown(
            gross_bps=21.0,
            expected_exit_bps=0.1,
            entry_fees_bps=10.0,
            exit_fees_bps=10.0,
            slippage_bps=4.0,
            funding_bps=counted_funding_bps,
            edge_bps=0.0,
        ),
        score=0.5,
        long_quote_ns=0,
        short_quote_ns=0,
    )
    return PairPlan(
        pair_id=pair_id,
        strategy=strategy,
        asset=BTC,
        long_venue="okx",
        short_venue="binance",
        account_long="main",
        account_short="main",
        quantity=Decimal("0.01"),
        long_price=Decimal(95_010),
        short_price=Decimal(95_190),
        notional_usd=Decimal(951),
        reservation_id=f"r{pair_id}",
        opportunity=opportunity,
        exit_level_bps=Decimal(0),
        take_profit_bps=Decimal(10),
        stop_bps=Decimal(50),
        max_hold_s=600,
        loss_budget_usd=Decimal(1),
    )
