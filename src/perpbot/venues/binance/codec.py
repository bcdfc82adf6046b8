"""Private wire data of Binance to reports: strings to Decimal, wire units to base coins.

Every function raises `InvalidValue` or a msgspec error for what cannot be read; `UNREADABLE` names
them. Times on the wire are ms; client ids travel as `pb` and our 32 hex digits (36 are allowed).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import ZERO, decimal_of
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
    TransferReport,
)
from perpbot.domain.sides import Liquidity, OrderState, PositionSide, Side
from perpbot.venues.binance.universe import VENUE, Universe
from perpbot.venues.wire import decoding
from perpbot.venues.wire.decoding import ns_of_ms

UNREADABLE = (*decoding.UNREADABLE, InvalidValue)

CLIENT_PREFIX = "pb"
ALGO_PREFIX = "algo-"
"""Marks venue ids of conditional orders, whose numbers are a series of their own."""

_HEX = frozenset("0123456789abcdef")
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_POSITION_SIDES = {
    "BOTH": PositionSide.NET,
    "LONG": PositionSide.LONG,
    "SHORT": PositionSide.SHORT,
}
_STATES = {
    "NEW": OrderState.ACCEPTED,
    "PARTIALLY_FILLED": OrderState.PARTIALLY_FILLED,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    "NEW_INSURANCE": OrderState.ACCEPTED,
    "NEW_ADL": OrderState.ACCEPTED,
}
_ALGO_STATES = {
    "NEW": OrderState.ACCEPTED,
    "TRIGGERING": OrderState.ACCEPTED,
    "TRIGGERED": OrderState.ACCEPTED,
    "CANCELED": OrderState.CANCELLED,
    "EXPIRED": OrderState.EXPIRED,
    "REJECTED": OrderState.REJECTED,
}


class OrderRow(msgspec.Struct, rename="camel"):
    """An order as REST tells it (create, cancel, query, open orders)."""

    order_id: int
    symbol: str
    status: str
    client_order_id: str
    side: str
    orig_qty: str = "0"
    executed_qty: str = "0"
    avg_price: str = "0"
    price: str = "0"
    reduce_only: bool = False
    position_side: str = "BOTH"
    update_time: int = 0


class AlgoRow(msgspec.Struct, rename="camel"):
    """A conditional order as REST tells it; a create answers with fewer fields."""

    algo_id: int
    client_algo_id: str = ""
    symbol: str = ""
    side: str = ""
    position_side: str = "BOTH"
    algo_status: str = "NEW"
    quantity: str = "0"
    trigger_price: str = "0"
    reduce_only: bool = False
    close_position: bool = False
    update_time: int = 0


class TradeRow(msgspec.Struct, rename="camel"):
    """An execution of GET /fapi/v1/userTrades."""

    id: int
    order_id: int
    symbol: str
    side: str
    price: str
    qty: str
    commission: str
    commission_asset: str
    time: int
    maker: bool
    position_side: str = "BOTH"


class PositionRow(msgspec.Struct, rename="camel"):
    """A leg of GET /fapi/v3/positionRisk."""

    symbol: str
    position_amt: str
    entry_price: str
    mark_price: str
    position_side: str = "BOTH"
    liquidation_price: str = "0"
    update_time: int = 0
    unrealized: str = msgspec.field(default="0", name="unRealizedProfit")


class BalanceRow(msgspec.Struct, rename="camel"):
    """A currency of GET /fapi/v3/balance."""

    asset: str
    balance: str
    available_balance: str
    cross_un_pnl: str = "0"
    update_time: int = 0


class IncomeRow(msgspec.Struct, rename="camel"):
    """A row of GET /fapi/v1/income."""

    symbol: str
    income_type: str
    income: str
    asset: str
    time: int
    tran_id: int | str


class OrderEvent(msgspec.Struct):
    """The `o` of ORDER_TRADE_UPDATE; field names are the wire's letters."""

    s: str
    c: str
    S: str
    q: str
    p: str
    ap: str
    x: str
    X: str
    i: int
    l: str  # noqa: E741 - the wire's letter
    z: str
    L: str
    t: int
    T: int
    ps: str = "BOTH"
    N: str | None = None
    n: str | None = None
    m: bool = False
    R: bool = False
    er: str = ""


class AlgoEvent(msgspec.Struct):
    """The `o` of ALGO_UPDATE."""

    caid: str
    aid: int
    s: str
    S: str
    q: str
    X: str
    ps: str = "BOTH"
    aq: str = ""
    ap: str = ""
    tp: str = "0"
    R: bool = False
    rm: str = ""


class PositionEvent(msgspec.Struct):
    """A leg of ACCOUNT_UPDATE."""

    s: str
    pa: str
    ep: str
    up: str = "0"
    ps: str = "BOTH"


def client_id_to_wire(client_id: str) -> str:
    """Return the wire form of a canonical id."""
    return CLIENT_PREFIX + client_id


def client_id_from_wire(text: str) -> str:
    """Return the canonical id, or "" for an order that is not ours."""
    body = text[len(CLIENT_PREFIX) :]
    if len(body) == 32 and text.startswith(CLIENT_PREFIX) and _HEX.issuperset(body):
        return body
    return ""


def side_of(text: str) -> Side:
    """Return BUY or SELL; raise `InvalidValue` for anything else."""
    if text not in _SIDES:
        raise InvalidValue(f"side was {text!r}, BUY or SELL was expected")
    return _SIDES[text]


def position_side_of(text: str) -> PositionSide:
    """Return NET, LONG or SHORT; raise `InvalidValue` for anything else."""
    if text not in _POSITION_SIDES:
        raise InvalidValue(f"positionSide was {text!r}, BOTH, LONG or SHORT was expected")
    return _POSITION_SIDES[text]


def state_of(text: str) -> OrderState:
    """Return the state of an order status; raise `InvalidValue` for an unknown one."""
    if text not in _STATES:
        raise InvalidValue(f"status was {text!r}, one of {', '.join(_STATES)} was expected")
    return _STATES[text]


def _algo_state(status: str, quantity: Decimal, done: Decimal) -> OrderState:
    if status == "FINISHED":
        # The order that it triggered has ended: wholly done, or ended short of it.
        return OrderState.FILLED if done > 0 and done >= quantity else OrderState.CANCELLED
    if status not in _ALGO_STATES:
        raise InvalidValue(f"algoStatus was {status!r}, {', '.join(_ALGO_STATES)} or FINISHED")
    return _ALGO_STATES[status]


def _price(text: str, bundle: Decimal) -> Decimal | None:
    value = decimal_of(text or "0", "price") / bundle
    return value if value > 0 else None


class Codec:
    """Turns wire rows of one account into reports."""

    def __init__(self, account: str, universe: Universe) -> None:
        self._account = account
        self._universe = universe

    def order(self, row: OrderRow) -> OrderReport:
        """Return an order as REST told it."""
        bundle = self._universe.units(row.symbol).bundle
        return OrderReport(
            venue=VENUE,
            account=self._account,
            client_id=client_id_from_wire(row.client_order_id),
            venue_order_id=str(row.order_id),
            symbol=row.symbol,
            state=state_of(row.status),
            filled=decimal_of(row.executed_qty, "executedQty") * bundle,
            average_price=_price(row.avg_price, bundle),
            side=side_of(row.side),
            quantity=decimal_of(row.orig_qty, "origQty") * bundle,
            price=_price(row.price, bundle),
            reduce_only=row.reduce_only,
            position_side=position_side_of(row.position_side),
            venue_ns=ns_of_ms(row.update_time),
        )

    def order_event(self, event: OrderEvent) -> OrderReport:
        """Return an order as the stream told it."""
        bundle = self._universe.units(event.s).bundle
        return OrderReport(
            venue=VENUE,
            account=self._account,
            client_id=client_id_from_wire(event.c),
            venue_order_id=str(event.i),
            symbol=event.s,
            state=state_of(event.X),
            filled=decimal_of(event.z, "z") * bundle,
            average_price=_price(event.ap, bundle),
            side=side_of(event.S),
            quantity=decimal_of(event.q, "q") * bundle,
            price=_price(event.p, bundle),
            reduce_only=event.R,
            position_side=position_side_of(event.ps),
            reason=event.er if event.er not in ("0", "") else "",
            venue_ns=ns_of_ms(event.T),
        )

    def fill_event(self, event: OrderEvent) -> FillReport | None:
        """Return the execution in an order event, or None when it tells none."""
        quantity = decimal_of(event.l, "l")
        if quantity <= 0 or event.t <= 0:
            return None
        units = self._universe.units(event.s)
        return FillReport(
            venue=VENUE,
            account=self._account,
            trade_id=str(event.t),
            client_id=client_id_from_wire(event.c),
            venue_order_id=str(event.i),
            symbol=event.s,
            asset=units.asset,
            side=side_of(event.S),
            price=decimal_of(event.L, "L") / units.bundle,
            quantity=quantity * units.bundle,
            fee=decimal_of(event.n or "0", "n"),
            fee_currency=event.N or "USDT",
            liquidity=Liquidity.MAKER if event.m else Liquidity.TAKER,
            position_side=position_side_of(event.ps),
            venue_ns=ns_of_ms(event.T),
        )

    def trade(self, row: TradeRow, client_id: str) -> FillReport:
        """Return an execution as REST told it; its order's client id was looked up."""
        units = self._universe.units(row.symbol)
        return FillReport(
            venue=VENUE,
            account=self._account,
            trade_id=str(row.id),
            client_id=client_id,
            venue_order_id=str(row.order_id),
            symbol=row.symbol,
            asset=units.asset,
            side=side_of(row.side),
            price=decimal_of(row.price, "price") / units.bundle,
            quantity=decimal_of(row.qty, "qty") * units.bundle,
            fee=decimal_of(row.commission, "commission"),
            fee_currency=row.commission_asset,
            liquidity=Liquidity.MAKER if row.maker else Liquidity.TAKER,
            position_side=position_side_of(row.position_side),
            venue_ns=ns_of_ms(row.time),
        )

    def algo(self, row: AlgoRow) -> OrderReport:
        """Return a conditional order as REST told it."""
        bundle = self._universe.units(row.symbol).bundle
        quantity = decimal_of(row.quantity or "0", "quantity")
        return OrderReport(
            venue=VENUE,
            account=self._account,
            client_id=client_id_from_wire(row.client_algo_id),
            venue_order_id=f"{ALGO_PREFIX}{row.algo_id}",
            symbol=row.symbol,
            state=_algo_state(row.algo_status, quantity, ZERO),
            side=side_of(row.side),
            quantity=quantity * bundle,
            price=_price(row.trigger_price, bundle),
            reduce_only=row.reduce_only or row.close_position,
            position_side=position_side_of(row.position_side),
            venue_ns=ns_of_ms(row.update_time),
        )

    def algo_event(self, event: AlgoEvent, event_ms: int) -> OrderReport:
        """Return a conditional order as the stream told it."""
        bundle = self._universe.units(event.s).bundle
        quantity = decimal_of(event.q or "0", "q")
        done = decimal_of(event.aq or "0", "aq")
        return OrderReport(
            venue=VENUE,
            account=self._account,
            client_id=client_id_from_wire(event.caid),
            venue_order_id=f"{ALGO_PREFIX}{event.aid}",
            symbol=event.s,
            state=_algo_state(event.X, quantity, done),
            filled=done * bundle,
            average_price=_price(event.ap, bundle),
            side=side_of(event.S),
            quantity=quantity * bundle,
            price=_price(event.tp, bundle),
            reduce_only=event.R,
            position_side=position_side_of(event.ps),
            reason=event.rm,
            venue_ns=ns_of_ms(event_ms),
        )

    def position(self, row: PositionRow) -> PositionReport:
        """Return a leg as REST told it."""
        units = self._universe.units(row.symbol)
        return PositionReport(
            venue=VENUE,
            account=self._account,
            symbol=row.symbol,
            asset=units.asset,
            quantity=decimal_of(row.position_amt, "positionAmt") * units.bundle,
            entry_price=decimal_of(row.entry_price, "entryPrice") / units.bundle,
            mark_price=decimal_of(row.mark_price, "markPrice") / units.bundle,
            unrealized_pnl=decimal_of(row.unrealized, "unRealizedProfit"),
            liquidation_price=_price(row.liquidation_price, units.bundle),
            position_side=position_side_of(row.position_side),
            venue_ns=ns_of_ms(row.update_time),
        )

    def position_event(self, event: PositionEvent, event_ms: int) -> PositionReport:
        """Return a leg as the stream told it; it carries no mark price."""
        units = self._universe.units(event.s)
        return PositionReport(
            venue=VENUE,
            account=self._account,
            symbol=event.s,
            asset=units.asset,
            quantity=decimal_of(event.pa, "pa") * units.bundle,
            entry_price=decimal_of(event.ep, "ep") / units.bundle,
            unrealized_pnl=decimal_of(event.up, "up"),
            position_side=position_side_of(event.ps),
            venue_ns=ns_of_ms(event_ms),
        )

    def balance(self, row: BalanceRow) -> BalanceReport:
        """Return a currency of the account."""
        wallet = decimal_of(row.balance, "balance")
        return BalanceReport(
            venue=VENUE,
            account=self._account,
            currency=row.asset,
            equity=wallet + decimal_of(row.cross_un_pnl, "crossUnPnl"),
            wallet=wallet,
            free=decimal_of(row.available_balance, "availableBalance"),
            venue_ns=ns_of_ms(row.update_time),
        )

    def transfer(self, row: IncomeRow) -> TransferReport:
        """Return a transfer; income is positive when it came in.

        `tranId` is unique within a kind of income (documents, "Get Income History"); an exchange
        of one asset for another moves two under one id.
        """
        return TransferReport(
            venue=VENUE,
            account=self._account,
            transfer_id=f"{row.income_type}:{row.tran_id}:{row.asset}",
            currency=row.asset,
            amount=decimal_of(row.income, "income"),
            kind=row.income_type,
            venue_ns=ns_of_ms(row.time),
        )

    def funding(self, row: IncomeRow) -> FundingReport:
        """Return a funding payment; income is positive when received."""
        return FundingReport(
            venue=VENUE,
            account=self._account,
            payment_id=f"{row.tran_id}:{row.symbol}",
            symbol=row.symbol,
            asset=self._universe.units(row.symbol).asset,
            amount=decimal_of(row.income, "income"),
            currency=row.asset,
            venue_ns=ns_of_ms(row.time),
        )
