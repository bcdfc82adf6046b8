"""Binance's words for sides, types, lifetimes and states, both ways; times in milliseconds."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO, plain
from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.model import OrderStatus, OrderView, Ticket
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.requests import Params

NS_PER_MS = 1_000_000

CONDITIONAL = {
    "STOP": OrderType.LIMIT,
    "STOP_MARKET": OrderType.MARKET,
    "TAKE_PROFIT": OrderType.LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.MARKET,
}
"""Types of conditional orders, and what each becomes. Trailing stops are not offered."""

_LIFETIMES = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "GTX": TimeInForce.POST_ONLY,
}
_LIFETIME_WORDS = {value: word for word, value in _LIFETIMES.items()}
_POSITION_SIDES = {
    "BOTH": PositionSide.NET,
    "LONG": PositionSide.LONG,
    "SHORT": PositionSide.SHORT,
}
_POSITION_WORDS = {value: word for word, value in _POSITION_SIDES.items()}
_SELF_TRADE = {
    "EXPIRE_TAKER": "cancel_taker",
    "EXPIRE_MAKER": "cancel_maker",
    "EXPIRE_BOTH": "cancel_both",
}
_SELF_TRADE_WORDS = {value: word for word, value in _SELF_TRADE.items()}
_STATUS_WORDS = {
    OrderStatus.NEW: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELLED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
    OrderStatus.UNTRIGGERED: "NEW",
}


def milliseconds(ns: int) -> int:
    """Nanoseconds as the venue's unit."""
    return ns // NS_PER_MS


def side_of(params: Params) -> Side:
    """Read `side`."""
    word = params.text("side")
    if word not in {"BUY", "SELL"}:
        raise Refused(-1117, "Invalid side.")
    return Side(word.lower())


def position_side_of(params: Params, *, hedge_mode: bool) -> PositionSide:
    """Read `positionSide`; it must fit the account's mode."""
    word = params.text("positionSide", "BOTH")
    found = _POSITION_SIDES.get(word)
    if found is None:
        raise Refused(-1116, "Invalid positionSide.")
    if hedge_mode is (found is PositionSide.NET):
        raise Refused(-4061, "Order's position side does not match user's setting.")
    return found


def lifetime_of(params: Params, default: str | None = None) -> TimeInForce:
    """Read `timeInForce`. GTD and RPI are not offered."""
    found = _LIFETIMES.get(params.text("timeInForce", default))
    if found is None:
        raise Refused(-1115, "Invalid timeInForce.")
    return found


def self_trade_of(params: Params) -> str:
    """Read `selfTradePreventionMode`; makers expire unless told otherwise."""
    word = params.text("selfTradePreventionMode", "EXPIRE_MAKER")
    found = _SELF_TRADE.get(word)
    if found is None:
        raise Refused(-5038, "Invalid selfTradePreventionMode.")
    return found


def side_word(side: Side) -> str:
    """BUY or SELL."""
    return side.value.upper()


def position_word(side: PositionSide) -> str:
    """BOTH, LONG or SHORT."""
    return _POSITION_WORDS[side]


def lifetime_word(ticket: Ticket) -> str:
    """GTC, IOC, FOK or GTX; market orders are told as GTC."""
    return (
        "GTC" if ticket.order_type is OrderType.MARKET else _LIFETIME_WORDS[ticket.time_in_force]
    )


def self_trade_word(ticket: Ticket) -> str:
    """EXPIRE_TAKER, EXPIRE_MAKER or EXPIRE_BOTH."""
    return _SELF_TRADE_WORDS[ticket.self_trade]


def status_word(view: OrderView) -> str:
    """The state of an order."""
    if view.cause == "self_trade":
        return "EXPIRED_IN_MATCH"
    return _STATUS_WORDS[view.status]


def type_word(ticket: Ticket) -> str:
    """The type that an order was sent with: conditional ones keep theirs."""
    if ticket.trigger_price is None:
        return ticket.order_type.value.upper()
    stops = ticket.trigger_above is (ticket.side is Side.BUY)
    kind = "STOP" if stops else "TAKE_PROFIT"
    return kind if ticket.order_type is OrderType.LIMIT else f"{kind}_MARKET"


def number(value: Decimal | None) -> str:
    """A number as text; what an order does not have is "0"."""
    return plain(value if value is not None else ZERO)


def order_row(view: OrderView) -> dict[str, object]:
    """Return an order as REST and the websocket API tell it."""
    ticket = view.ticket
    return {
        "orderId": view.order_id,
        "symbol": ticket.symbol,
        "status": status_word(view),
        "clientOrderId": ticket.client_id,
        "price": number(ticket.price),
        "avgPrice": number(view.average_price),
        "origQty": number(ticket.quantity),
        "executedQty": number(view.filled),
        "cumQty": number(view.filled),
        "cumQuote": number(view.filled * view.average_price),
        "timeInForce": lifetime_word(ticket),
        "type": ticket.order_type.value.upper(),
        "reduceOnly": ticket.reduce_only,
        "closePosition": ticket.close_position,
        "side": side_word(ticket.side),
        "positionSide": position_word(ticket.position_side),
        "stopPrice": number(ticket.trigger_price),
        "workingType": "MARK_PRICE" if ticket.trigger_price is not None else "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": type_word(ticket),
        "priceMatch": "NONE",
        "selfTradePreventionMode": self_trade_word(ticket),
        "goodTillDate": 0,
        "time": milliseconds(view.created_ns),
        "updateTime": milliseconds(view.updated_ns),
    }
