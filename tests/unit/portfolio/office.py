"""A portfolio on a desk: bus, virtual time, folds and the components that live on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

from perpbot.domain.events import (
    AccountReported,
    CapitalReserved,
    Event,
    GateDecision,
    Heartbeat,
    OrderFilled,
    PairPlanned,
    SubmitOrders,
)
from perpbot.domain.orders import BalanceReport, FillReport, OrderReport, OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import (
    Liquidity,
    OrderState,
    OrderType,
    PositionSide,
    Purpose,
    Side,
    TimeInForce,
)
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.fold import DurableState
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.leases import Leases
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.reservations import Reservations
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider
from perpbot.portfolio.transfers import BookedTransfers

E = TypeVar("E", bound=Event)
START = 1_700_000_000 * SECOND
DECISION = GateDecision(gate="open", checks={}, ts_ns=0)


def d(text: str | int) -> Decimal:
    """Short for Decimal."""
    return Decimal(text)


class Office:
    """Everything of the portfolio room, wired."""

    def __init__(
        self,
        *,
        settings: CapitalSettings | None = None,
        rates: CurrencyRates | None = None,
        owner: str = "owner",
        venue_rate: Callable[[str], Decimal | None] = lambda _venue: Decimal(1),
        **capital: Any,
    ) -> None:
        self.time = VirtualTime(START)
        self.journal = MemoryJournal()
        self.bus = EventBus(self.time, self.journal)
        self.orders = OrderTable()
        self.booked = BookedTrades()
        self.transfers = BookedTransfers()
        self.positions = PositionBook()
        self.leases = Leases()
        self.reservations = Reservations()
        self.equity = EquityBook()
        self.state = DurableState(
            [
                self.orders,
                self.booked,
                self.transfers,
                self.positions,
                self.leases,
                self.reservations,
                self.equity,
            ]
        )
        self.state.attach(self.bus)
        self.settings = settings or CapitalSettings()
        self.rates = rates or CurrencyRates({"USDT": Decimal(1)})
        self.snapshots = CapitalSnapshotProvider(self.bus, self.time, self.rates)
        self.intake = ReportIntake(
            self.bus,
            self.time,
            self.orders,
            self.booked,
            self.transfers,
            self.rates,
            lambda _venue, _account, _asset: owner,
            venue_rate=venue_rate,
        )
        self.capital = CapitalOrchestrator(
            self.bus,
            self.time,
            self.time,
            self.settings,
            self.reservations,
            self.snapshots,
            self.equity,
            venue_rate,
            **capital,
        )
        self.ids = count(1)

    def seen(self, event_class: type[E]) -> list[E]:
        """Return what was journalled of a class."""
        events = (record.event() for record in self.journal.records())
        return [event for event in events if isinstance(event, event_class)]

    def inside(self, *work: Callable[[], object]) -> None:
        """Do `work` inside one handler: what it publishes waits until it has ended."""
        publish_inside(self.bus, work)

    def advance(self, seconds: float) -> None:
        """Move time."""
        self.time.run_until(self.time.now_ns() + int(seconds * SECOND))

    def tell(self, venue: str, equity: str, free: str | None = None, **more: Any) -> None:
        """A venue tells its balance."""
        report = BalanceReport(
            venue=venue,
            account=more.pop("account", "main"),
            currency=more.pop("currency", "USDT"),
            equity=d(equity),
            wallet=d(more.pop("wallet", equity)),
            free=d(equity if free is None else free),
        )
        self.bus.publish(
            AccountReported(ts_ns=self.time.now_ns(), venue=venue, balances=(report,), **more)
        )

    def submit(self, *requests: OrderRequest) -> None:
        """Journal intents."""
        self.bus.publish(
            SubmitOrders(ts_ns=self.time.now_ns(), orders=requests, decision=DECISION)
        )

    def reserve(self, reservation_id: str, pool: str = "arbitrage", **notional: str) -> None:
        """Reserve by venue."""
        self.capital.reserve(
            reservation_id=reservation_id,
            pool=pool,
            owner=f"pair {reservation_id}",
            notional={venue: d(amount) for venue, amount in notional.items()},
        )

    def filled(self, **changes: Any) -> OrderFilled:
        """Return a booked fill."""
        fields: dict[str, Any] = {
            "ts_ns": self.time.now_ns(),
            "client_id": "",
            "venue": "okx",
            "account": "main",
            "asset": "BTC-PERP",
            "trade_id": f"t{next(self.ids)}",
            "side": Side.BUY,
            "price": d(100),
            "quantity": d(1),
            "fee_usd": d(0),
        }
        return OrderFilled(**(fields | changes))


def publish_inside(bus: EventBus, work: Iterable[Callable[[], object]]) -> None:
    """Run `work` within one handler of `bus`."""
    done: list[bool] = []

    def run(_event: Heartbeat) -> None:
        if not done:
            done.append(True)
            for step in work:
                step()

    bus.subscribe(Heartbeat, run)
    bus.publish(Heartbeat(component="inside"))


def request(client_id: str = "a", **changes: Any) -> OrderRequest:
    """Return an intent of 10 coins at 100."""
    fields: dict[str, Any] = {
        "client_id": client_id,
        "venue": "okx",
        "account": "main",
        "asset": "BTC-PERP",
        "symbol": "BTC-USDT-SWAP",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.IOC,
        "quantity": d(10),
        "price": d(100),
        "reference_price": d(100),
        "purpose": Purpose.OPEN,
        "owner": "p1",
    }
    return OrderRequest(**(fields | changes))


def order_report(state: OrderState, client_id: str = "a", **changes: Any) -> OrderReport:
    """Return what a venue says of an order."""
    fields: dict[str, Any] = {
        "venue": "okx",
        "account": "main",
        "client_id": client_id,
        "venue_order_id": "v1",
        "symbol": "BTC-USDT-SWAP",
        "state": state,
    }
    return OrderReport(**(fields | changes))


def fill_report(trade_id: str = "t1", quantity: str = "1", **changes: Any) -> FillReport:
    """Return an execution of order `a`."""
    fields: dict[str, Any] = {
        "venue": "okx",
        "account": "main",
        "trade_id": trade_id,
        "client_id": "a",
        "venue_order_id": "v1",
        "symbol": "BTC-USDT-SWAP",
        "asset": "BTC-PERP",
        "side": Side.BUY,
        "price": d(100),
        "quantity": d(quantity),
        "fee": d("0.01"),
        "fee_currency": "USDT",
        "liquidity": Liquidity.TAKER,
        "position_side": PositionSide.NET,
    }
    return FillReport(**(fields | changes))


def planned(plan: PairPlan, *orders: OrderRequest, ts_ns: int = 0) -> PairPlanned:
    """Return the decision to take a pair."""
    return PairPlanned(
        ts_ns=ts_ns,
        orders=orders,
        decision=DECISION,
        plan=plan,
        reservation=CapitalReserved(
            reservation_id=plan.reservation_id,
            pool="arbitrage",
            owner=plan.pair_id,
            legs={
                plan.long_venue: plan.quantity * plan.long_price,
                plan.short_venue: plan.quantity * plan.short_price,
            },
            leverage={plan.long_venue: d(1), plan.short_venue: d(1)},
            expires_ns=0,
        ),
    )


def reserved(reservation_id: str, **legs: str) -> CapitalReserved:
    """Return a granted reservation."""
    return CapitalReserved(
        reservation_id=reservation_id,
        pool="arbitrage",
        owner="p",
        legs={venue: d(amount) for venue, amount in legs.items()},
        leverage={venue: d(1) for venue in legs},
        expires_ns=0,
    )
