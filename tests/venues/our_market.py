"""An exchange of ours behind its server, and what an adapter heard of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.events import ConnectionState, Event, OrderReported, VenueConnectionChanged
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderState, OrderType, Purpose, TimeInForce
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.kernel.ids import IdMaker
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.server import VenueServer
from tests.venues.orders import limit_buy
from tests.venues.sink import Sink


class OurMarket:
    """One symbol with market makers, and a client with 100 000 USDT."""

    def __init__(self, exchange: Exchange, server: VenueServer, symbol: str) -> None:
        self.exchange = exchange
        self.exchange.open_account(server.account, {"USDT": Decimal(100_000)})
        self.sink = Sink(server.venue)
        self.heard: list[Event] = []
        self._ids = IdMaker(epoch=1)
        self._venue = server.venue
        self._symbol = symbol
        self.quote(Decimal(65_000))

    def quote(self, mid: Decimal) -> None:
        """Let the market makers stand around `mid`, three levels deep."""
        steps = [Decimal(step) / 10 for step in (1, 2, 3)]
        self.exchange.quote(
            self._symbol,
            [(mid - step, Decimal("0.5")) for step in steps],
            [(mid + step, Decimal("0.7")) for step in steps],
        )

    def order(self, price: str | None, **changes: Any) -> OrderRequest:
        """A buy of 0.01 BTC under a fresh id that expires in 5 s; without a price at market."""
        fields: dict[str, Any] = {
            "client_id": self._ids.order_id(
                account="main", strategy="test", purpose=Purpose.OPEN, leg=0, attempt=0
            ),
            "venue": self._venue,
            "symbol": self._symbol,
            "price": Decimal(price) if price else None,
            "expires_ns": RealClock().now_ns() + 5 * SECOND,
        }
        if not price:
            fields |= {"order_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
        return limit_buy(**(fields | changes))

    def connections(self) -> list[ConnectionState]:
        """What the private stream said of itself, in turn."""
        return [event.state for event in self.heard if isinstance(event, VenueConnectionChanged)]

    def states(self, order: OrderRequest) -> list[OrderState]:
        """What the stream said of an order, in turn."""
        return [
            event.report.state
            for event in self.heard
            if isinstance(event, OrderReported) and event.report.client_id == order.client_id
        ]
