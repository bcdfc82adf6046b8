"""A risk manager on a portfolio that everything may open on, until a test says otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import (
    ConnectionState,
    DayStarted,
    EquitySampled,
    GateDecision,
    QuoteUpdated,
    VenueConnectionChanged,
    VenueReconciled,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.domain.sides import Purpose, Side
from perpbot.portfolio.capital import Claim
from perpbot.portfolio.exposure import PositionAggregator
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.settings import CapitalSettings
from perpbot.risk.latches import RiskLatches
from perpbot.risk.manager import RiskManager
from perpbot.risk.rules import OpenRequest, open_request
from perpbot.risk.settings import RiskSettings
from perpbot.risk.world import RiskWorld
from tests.unit.portfolio.office import Office, d, request

S = TypeVar("S", bound=msgspec.Struct)
ASSET = "BTC-PERP"
VENUES = ("okx", "binance")


class Market:
    """Marks at 100 and usable quotes, unless told otherwise."""

    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], Decimal | None] = {}
        self.stale: set[str] = set()

    def latest(self, venue: str, asset: str) -> QuoteUpdated | None:
        return None

    def usable(self, venue: str, asset: str) -> bool:
        return venue not in self.stale

    def mark(self, venue: str, asset: str) -> Decimal | None:
        return self.marks.get((venue, asset), d(100))


class Desk:
    """10,000 USD on each of two venues, connected, reconciled and flat."""

    def __init__(self, capital: dict[str, Any] | None = None, **limits: Any) -> None:
        self.office = Office(settings=CapitalSettings(**(capital or {})))
        self.time, self.bus = self.office.time, self.office.bus
        self.latches = RiskLatches()
        for event_class, fold in self.latches.folds().items():
            self.bus.subscribe(event_class, fold)
        self.market = Market()
        self.instruments = {
            (venue, ASSET): Instrument(
                venue=venue,
                asset=ASSET,
                symbol="BTC",
                base="BTC",
                settle="USDT",
                tick_size=d("0.1"),
                quantity_step=d("0.001"),
                min_quantity=d("0.001"),
            )
            for venue in VENUES
        }
        self.capabilities = {venue: capabilities(venue) for venue in VENUES}
        self.rate: Decimal | None = d(1)
        self.overloaded = False
        self.standing_asked = 0
        """How often a rule that stands was asked, one of them for all."""
        self.low_space = False
        self.overrides: dict[tuple[str, str], RiskSettings] = {}
        self.pool = "arbitrage"
        self.world = self._world(RiskSettings(**limits))
        self.risk = RiskManager(self.bus, self.world)
        for venue in VENUES:
            self.office.tell(venue, "10000")
            self.bus.publish(VenueReconciled(venue=venue, agreed=True))
            for channel in ("trading", "public", "private"):
                self.connection(venue, channel, ConnectionState.LIVE)
            self.bus.publish(VenueReconciled(venue=venue, agreed=True))
        self.sample("20000")
        self.bus.publish(DayStarted(day="2023-11-14", equity_usd=d(20_000)))

    def _world(self, settings: RiskSettings) -> RiskWorld:
        readiness = Readiness(self.bus)
        return RiskWorld(
            clock=self.time,
            settings=settings,
            latches=self.latches,
            orders=self.office.orders,
            positions=self.office.positions,
            aggregator=PositionAggregator(
                self.bus, self.time, self.office.positions, self.market.mark
            ),
            capital=self.office.capital,
            reservations=self.office.reservations,
            equity=self.office.equity,
            readiness=readiness,
            market=self.market,
            instruments=self.instruments,
            capabilities=self.capabilities,
            usd_rate=lambda _currency: self.rate,
            overloaded=self._is_overloaded,
            low_space=lambda: self.low_space,
            overrides=self.overrides,
        )

    def _is_overloaded(self) -> bool:
        self.standing_asked += 1
        return self.overloaded

    def claim(self, of: PairPlan) -> Claim:
        """What a plan would take of the pool."""
        notional = {
            of.long_venue: of.quantity * of.long_price,
            of.short_venue: of.quantity * of.short_price,
        }
        return self.office.capital.claim(self.pool, notional)

    def check_open(self, of: PairPlan, wanted: tuple[OrderRequest, ...]) -> GateDecision:
        """Ask the open gate."""
        return self.risk.check_open(of, wanted, self.claim(of))

    def request(self, of: PairPlan) -> OpenRequest:
        """What the rules are asked about."""
        limits = self.risk._limits_of_pair(of.asset, of.long_venue, of.short_venue)
        return open_request(self.world, of, orders(of), self.claim(of), limits)

    def connection(self, venue: str, channel: str, state: ConnectionState) -> None:
        """Move a channel on its ladder."""
        self.bus.publish(VenueConnectionChanged(venue=venue, channel=channel, state=state))

    def sample(self, total: str) -> None:
        """Sample the equity of the account."""
        half = d(total) / 2
        self.bus.publish(
            EquitySampled(
                ts_ns=self.time.now_ns(),
                per_venue=dict.fromkeys(VENUES, half),
                total_usd=d(total),
            )
        )

    def refresh_equity(self) -> None:
        """Sample the same equity again after time has moved."""
        self.sample(str(self.office.equity.total))


def capabilities(venue: str, **changes: Any) -> Capabilities:
    """Return a venue that enforces reductions."""
    fields: dict[str, Any] = {
        "venue": venue,
        "operator": f"{venue} ltd",
        "reduce_only": True,
        "hedge_mode": True,
        "maker_fee_bps": d(2),
        "taker_fee_bps": d(5),
        "fees_as_of": "2026-01-01",
    }
    return Capabilities(**(fields | changes))


EDGE = EdgeBreakdown(
    gross_bps=20.0,
    expected_exit_bps=0.0,
    entry_fees_bps=10.0,
    exit_fees_bps=5.0,
    slippage_bps=0.0,
    funding_bps=0.0,
    edge_bps=5.0,
)


def plan(quantity: str = "1", **changes: Any) -> PairPlan:
    """Return a pair: one coin at 100, long on okx, short on binance."""
    opportunity = Opportunity(
        opportunity_id="o1",
        asset=ASSET,
        long_venue="okx",
        short_venue="binance",
        long_ask=100.0,
        short_bid=100.2,
        size=1.0,
        mid=100.0,
        edge=EDGE,
        score=0.5,
        long_quote_ns=0,
        short_quote_ns=0,
    )
    fields: dict[str, Any] = {
        "pair_id": "1-1",
        "strategy": "arbitrage",
        "asset": ASSET,
        "long_venue": "okx",
        "short_venue": "binance",
        "account_long": "main",
        "account_short": "main",
        "quantity": d(quantity),
        "long_price": d(100),
        "short_price": d(100),
        "notional_usd": d(quantity) * 100,
        "reservation_id": "r1",
        "opportunity": opportunity,
        "exit_level_bps": d(1),
        "take_profit_bps": d(10),
        "stop_bps": d(50),
        "max_hold_s": 3600,
        "loss_budget_usd": d(1),
    }
    return PairPlan(**(fields | changes))


def orders(
    of: PairPlan, price: str | None = "100", reference: str = "100"
) -> tuple[OrderRequest, ...]:
    """Return both entries of a plan."""
    limit = None if price is None else d(price)
    return tuple(
        request(
            client_id=f"c{leg}",
            venue=venue,
            side=side,
            quantity=of.quantity,
            price=limit,
            reference_price=d(reference),
            owner=of.pair_id,
            leg=leg,
            reservation_id=of.reservation_id,
        )
        for leg, venue, side in ((0, of.long_venue, Side.BUY), (1, of.short_venue, Side.SELL))
    )


def changed(struct: S, **changes: Any) -> S:
    """Return a copy with other fields."""
    return msgspec.structs.replace(struct, **changes)


def hedge(quantity: str = "1", side: Side = Side.SELL, **changes: Any) -> OrderRequest:
    """Return a hedge on binance."""
    fields: dict[str, Any] = {
        "venue": "binance",
        "side": side,
        "quantity": d(quantity),
        "purpose": Purpose.HEDGE,
    }
    return request("h", **(fields | changes))


def reduction(quantity: str = "1", side: Side = Side.SELL, **changes: Any) -> OrderRequest:
    """Return a reduction on okx that the venue does not enforce."""
    fields: dict[str, Any] = {"side": side, "quantity": d(quantity), "purpose": Purpose.REDUCE}
    return request("x", **(fields | changes))
