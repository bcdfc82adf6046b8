"""One small exchange for tests: two contracts, two funded accounts, a clock that stands still."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import (
    ClientIdRule,
    Contract,
    ExchangeNews,
    ExchangeRefusal,
    Execution,
    OrderUpdate,
    OrderView,
    Profile,
    Refusal,
    Ticket,
)

BTC = Contract(
    symbol="BTCUSDT",
    asset="BTC-PERP",
    base="BTC",
    settle="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    min_notional=Decimal(5),
)
ETH = Contract(
    symbol="ETHUSDT",
    asset="ETH-PERP",
    base="ETH",
    settle="USDT",
    tick_size=Decimal("0.01"),
    quantity_step=Decimal("0.01"),
    min_quantity=Decimal("0.02"),
    price_digits=5,
)
PROFILE = Profile(
    name="binance", maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"), hedge_mode=True
)


def d(text: str | int) -> Decimal:
    """Write a Decimal shortly."""
    return Decimal(text)


class Desk:
    """An exchange and the news it told, with short words for orders in BTC."""

    def __init__(self, profile: Profile = PROFILE, funds: str = "100000") -> None:
        self.now_ns = 1_000
        self.accountant = Accountant()
        self.exchange = Exchange(profile, [BTC, ETH], lambda: self.now_ns, self.accountant)
        self.news: list[ExchangeNews] = []
        self.exchange.listen(self.news.append)
        for account in ("ann", "bob"):
            self.exchange.open_account(account, {"USDT": d(funds)})
        self.mark("100")

    def mark(self, price: str, *, rate: str = "0.0001", symbol: str = "BTCUSDT") -> None:
        """Set the mark."""
        self.exchange.set_mark(symbol, d(price), d(price), d(rate), 10**18)

    def quote(self, bids: str = "", asks: str = "") -> None:
        """Quote levels written as `99.9x2 99.8x5`."""
        self.exchange.quote("BTCUSDT", _levels(bids), _levels(asks))

    def ticket(
        self,
        side: Side,
        quantity: str,
        price: str | None = None,
        *,
        tif: TimeInForce = TimeInForce.GTC,
        client_id: str = "",
        reduce_only: bool = False,
        leg: PositionSide = PositionSide.NET,
        trigger: str | None = None,
        above: bool = False,
        close: bool = False,
        expires_ns: int = 0,
        self_trade: str = "cancel_maker",
    ) -> Ticket:
        """A ticket in BTC; without a price a market order."""
        return Ticket(
            symbol="BTCUSDT",
            side=side,
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            quantity=d(quantity),
            price=None if price is None else d(price),
            time_in_force=tif,
            client_id=client_id,
            reduce_only=reduce_only,
            position_side=leg,
            trigger_price=None if trigger is None else d(trigger),
            trigger_above=above,
            close_position=close,
            expires_ns=expires_ns,
            self_trade=self_trade,
        )

    def buy(
        self, quantity: str, price: str | None = None, *, by: str = "ann", **more: Any
    ) -> OrderView:
        """Submit a buy."""
        return self.exchange.submit(by, self.ticket(Side.BUY, quantity, price, **more))

    def sell(
        self, quantity: str, price: str | None = None, *, by: str = "ann", **more: Any
    ) -> OrderView:
        """Submit a sell."""
        return self.exchange.submit(by, self.ticket(Side.SELL, quantity, price, **more))

    def wallet(self, account: str = "ann") -> Decimal:
        """The wallet in USDT."""
        return self.exchange.balances(account)[0].wallet

    def position(self, account: str = "ann", leg: PositionSide = PositionSide.NET) -> Decimal:
        """The signed BTC position."""
        for view in self.exchange.positions(account):
            if view.symbol == "BTCUSDT" and view.position_side is leg:
                return view.quantity
        return Decimal(0)

    def fills(self, account: str = "ann") -> list[Execution]:
        """The account's executions."""
        return list(self.exchange.executions(account))

    def statuses(self, order_id: int) -> list[str]:
        """The statuses told of an order, in order."""
        return [
            n.order.status.value
            for n in self.news
            if isinstance(n, OrderUpdate) and n.order.order_id == order_id
        ]

    def best(self) -> tuple[Decimal | None, Decimal | None]:
        """Best bid and ask."""
        book = self.exchange.book("BTCUSDT", 1)
        return (
            book.bids[0][0] if book.bids else None,
            book.asks[0][0] if book.asks else None,
        )


def _levels(text: str) -> list[tuple[Decimal, Decimal]]:
    pairs = [level.split("x") for level in text.split()]
    return [(d(price), d(size)) for price, size in pairs]


def profile(**changes: Any) -> Profile:
    """The test profile with changes."""
    values: dict[str, Any] = {
        "name": "binance",
        "maker_fee": PROFILE.maker_fee,
        "taker_fee": PROFILE.taker_fee,
        "hedge_mode": True,
        "client_ids": ClientIdRule.OPEN_ORDERS,
    } | changes
    return Profile(**values)


def refusal(call: Any, *args: Any, **more: Any) -> Refusal:
    """The refusal that a call ends with."""
    with pytest.raises(ExchangeRefusal) as caught:
        call(*args, **more)
    assert caught.value.text
    return caught.value.refusal


def seen(*values: object) -> tuple[object, ...]:
    """Values to compare with plain numbers."""
    return values
