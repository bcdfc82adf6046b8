"""A venue as a guardian meets it, with everything that can go wrong at its door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import OutcomeUnknown, Rejected, Unavailable
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest, PositionReport
from perpbot.domain.sides import OrderState, Purpose
from perpbot.kernel.ids import IdMaker

ZERO = Decimal(0)


def instrument(venue: str) -> Instrument:
    """BTC at a venue."""
    return Instrument(
        venue=venue,
        asset="BTC-PERP",
        symbol=f"BTC {venue}",
        base="BTC",
        settle="USDT",
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
    )


class FakeVenue:
    """Market data, trading and account in one: the guardian uses little of each."""

    def __init__(self, name: str, quantity: str = "0", **capabilities: Any) -> None:
        self.name = name
        self.account_name = "main"
        self.quantity = Decimal(quantity)
        self.mark = Decimal(100)
        self.resting: dict[str, OrderReport] = {}
        self.known: dict[str, OrderReport] = {}
        self.sent: list[OrderRequest] = []
        self.cancelled: list[str] = []
        self.down = False
        self.lose_answers = False
        self.arrives = True
        """Whether an order whose answer is lost was executed."""
        self.refuse = ""
        self.lag: list[Decimal] = []
        """Positions that are told before the true one."""
        self.opened = 0
        self.capabilities = Capabilities(
            venue=name,
            operator=name,
            maker_fee_bps=ZERO,
            taker_fee_bps=ZERO,
            fees_as_of="2026-01-01",
            **{"reduce_only": True, "request_expiry": True, **capabilities},
        )
        self.can_trade = True
        self.hedge_mode = False
        self.market_data = self.trading = self.account = self

    # --- the port, as far as it is used ---

    async def instruments(self) -> Sequence[Instrument]:
        """What is listed."""
        self._answer()
        return [instrument(self.name)]

    async def open(self, _instruments: Sequence[Instrument]) -> None:
        """Prepared."""
        self.opened += 1

    async def close(self) -> None:
        """Closed."""

    async def open_orders(self) -> Sequence[OrderReport]:
        """What rests."""
        self._answer()
        return list(self.resting.values())

    async def positions(self) -> Sequence[PositionReport]:
        """One leg, or none."""
        self._answer()
        quantity = self.lag.pop(0) if self.lag else self.quantity
        return [self._leg(quantity)] if quantity else []

    async def order(self, order: OrderRequest, _venue_order_id: str) -> OrderReport | None:
        """What became of one."""
        self._answer()
        return self.known.get(order.client_id)

    async def cancel(self, order: OrderRequest, _venue_order_id: str) -> OrderReport:
        """Take one back."""
        self._answer()
        if order.client_id not in self.resting:
            raise Rejected(self.name, "no such order")
        self.cancelled.append(order.client_id)
        return self.resting.pop(order.client_id)

    async def submit(self, order: OrderRequest, _sent: Callable[[], None]) -> OrderReport:
        """Fill an order as a venue fills a reduction: never beyond the position."""
        self._answer()
        self.sent.append(order)
        if self.refuse:
            raise Rejected(self.name, self.refuse)
        report = None
        if self.arrives or not self.lose_answers:
            report = self._fill(order)
        if self.lose_answers:
            raise OutcomeUnknown(self.name, "no answer")
        assert report is not None
        return report

    # --- what tests do to it ---

    def rest(self, purpose: Purpose = Purpose.OPEN, account: str = "main") -> str:
        """Let an order rest; return its client id."""
        ids = IdMaker(epoch=len(self.resting) + 1)
        client_id = ids.order_id(
            account=account, strategy="arbitrage", purpose=purpose, leg=0, attempt=0
        )
        self.resting[client_id] = OrderReport(
            venue=self.name,
            account="main",
            client_id=client_id,
            venue_order_id="7",
            symbol=f"BTC {self.name}",
            state=OrderState.ACCEPTED,
        )
        return client_id

    def _answer(self) -> None:
        if self.down:
            raise Unavailable(self.name, "no connection")

    def _leg(self, quantity: Decimal) -> PositionReport:
        return PositionReport(
            venue=self.name,
            account="main",
            symbol=f"BTC {self.name}",
            asset="BTC-PERP",
            quantity=quantity,
            mark_price=self.mark,
        )

    def _fill(self, order: OrderRequest) -> OrderReport:
        assert order.reduce_only
        signed = order.side.sign * order.quantity
        if signed * self.quantity >= 0:
            raise Rejected(self.name, "would not reduce")
        filled = min(order.quantity, abs(self.quantity))
        self.quantity += order.side.sign * filled
        report = OrderReport(
            venue=self.name,
            account="main",
            client_id=order.client_id,
            venue_order_id="8",
            symbol=order.symbol,
            state=OrderState.FILLED,
            filled=filled,
            average_price=self.mark,
        )
        self.known[order.client_id] = report
        return msgspec.structs.replace(report)
