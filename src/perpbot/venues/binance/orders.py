"""Order requests as Binance writes them: a query for REST, a signed frame for the websocket API.

Both are formatted, not dumped: what orders of one kind share is put together once. Orders that
rest ask for an ACK, the fastest answer; orders that take (IOC, FOK, MARKET) ask for a RESULT,
which tells their end in the same round trip. The websocket API signs its parameters sorted by
name, the key among them (sheet section 7).

Self-trade prevention by purpose: an opening order yields (EXPIRE_TAKER), so that nothing that
stands is lost to it; a hedge or reduction goes through (EXPIRE_MAKER), the resting order yields.
The wire honours it for GTC and IOC only.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from perpbot.domain.errors import Rejected
from perpbot.domain.money import ONE, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.venues.binance.codec import CLIENT_PREFIX, client_id_to_wire
from perpbot.venues.binance.signing import Signer
from perpbot.venues.binance.universe import VENUE

SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
POSITION_SIDES = {
    PositionSide.NET: "BOTH",
    PositionSide.LONG: "LONG",
    PositionSide.SHORT: "SHORT",
}
_TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.POST_ONLY: "GTX",
}
_MARKET = OrderType.MARKET  # an enum's attribute costs more than a name
_TAKES = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_PREVENTS = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_NUMBERS = frozenset({"recvWindow", "timestamp"})
"""Parameters that the websocket API takes as JSON numbers; all others are texts."""


def leg_parameters(
    position_side: PositionSide, *, reduce_only: bool, hedge_mode: bool
) -> dict[str, str]:
    """Return positionSide or reduceOnly as the account's mode asks for it.

    In hedge mode positionSide is mandatory and reduceOnly must not be sent: a closing order names
    the leg. Raises `Rejected` where order and mode do not fit, since guessing could open a leg.
    """
    if hedge_mode:
        if position_side is PositionSide.NET:
            raise Rejected(
                VENUE, "the account is in hedge mode: an order needs LONG or SHORT", code="-4061"
            )
        return {"positionSide": POSITION_SIDES[position_side]}
    if position_side is not PositionSide.NET:
        raise Rejected(
            VENUE, f"the account is in one-way mode: no {position_side} leg", code="-4061"
        )
    return {"reduceOnly": "true"} if reduce_only else {}


def order_query(order: OrderRequest, bundle: Decimal, *, hedge_mode: bool) -> str:
    """Return the parameters of a new order for REST, without window, timestamp and signature.

    Raises `Rejected` where order and position mode do not fit, and for a limit without a price.
    """
    form, _, _ = _forms_of(order, hedge_mode=hedge_mode)
    return form % _numbers(order, bundle)


def place_frame(
    number: str,
    order: OrderRequest,
    bundle: Decimal,
    signer: Signer,
    *,
    hedge_mode: bool,
    window_ms: int,
    now_ms: int,
) -> bytes:
    """Return the frame of method `order.place`; raises as `order_query`."""
    _, query, text = _forms_of(order, hedge_mode=hedge_mode)
    given = (*_numbers(order, bundle), window_ms, now_ms)
    return _frame(number, "order.place", query % given, text % given, signer)


def cancel_frame(
    number: str, order: OrderRequest, signer: Signer, *, window_ms: int, now_ms: int
) -> bytes:
    """Return the frame of method `order.cancel`, by client id."""
    fields = {
        "origClientOrderId": client_id_to_wire(order.client_id),
        "recvWindow": str(window_ms),
        "symbol": order.symbol,
        "timestamp": str(now_ms),
    }
    return _frame(number, "order.cancel", _query(fields), _text(fields), signer)


def _frame(number: str, method: str, query: str, text: str, signer: Signer) -> bytes:
    key = signer.api_key  # "apiKey" comes before every other name
    signature = signer.sign(f"apiKey={key}&{query}")
    return (
        f'{{"id":"{number}","method":"{method}","params":'
        f'{{"apiKey":"{key}",{text},"signature":"{signature}"}}}}'
    ).encode()


def _numbers(order: OrderRequest, bundle: Decimal) -> tuple[str, ...]:
    """Return what fills a form: client id, price (but for a market order), quantity."""
    price, quantity = order.price, order.quantity
    if bundle != ONE:
        quantity /= bundle
        price = None if price is None else price * bundle
    if order.order_type is _MARKET:
        return order.client_id, plain(quantity)
    if price is None:
        raise Rejected(VENUE, "a limit order needs a price", code="price")
    return order.client_id, plain(price), plain(quantity)


def _forms_of(order: OrderRequest, *, hedge_mode: bool) -> tuple[str, str, str]:
    return order_forms(
        order.symbol,
        order.side,
        order.order_type,
        order.time_in_force,
        order.purpose,
        order.position_side,
        reduce_only=order.reduce_only,
        hedge_mode=hedge_mode,
    )


@lru_cache(maxsize=4_096)
def order_forms(
    symbol: str,
    side: Side,
    order_type: OrderType,
    time_in_force: TimeInForce,
    purpose: Purpose,
    position_side: PositionSide,
    *,
    reduce_only: bool,
    hedge_mode: bool,
) -> tuple[str, str, str]:
    """Return what orders of one kind share, with places for what differs, sorted by name.

    A query for REST; the query that the websocket API signs and the members of its JSON object,
    both with window and timestamp.
    """
    market = order_type is OrderType.MARKET
    takes = market or time_in_force in _TAKES
    fields = {
        "newClientOrderId": f"{CLIENT_PREFIX}%s",
        "newOrderRespType": "RESULT" if takes else "ACK",
        "quantity": "%s",
        "side": SIDES[side],
        "symbol": symbol,
        "type": "MARKET" if market else "LIMIT",
    } | leg_parameters(position_side, reduce_only=reduce_only, hedge_mode=hedge_mode)
    if not market:
        fields |= {"price": "%s", "timeInForce": _TIMES[time_in_force]}
        if time_in_force in _PREVENTS:
            yields = purpose is Purpose.OPEN
            fields["selfTradePreventionMode"] = "EXPIRE_TAKER" if yields else "EXPIRE_MAKER"
    timed = fields | {"recvWindow": "%s", "timestamp": "%s"}
    return _query(fields), _query(timed), _text(timed)


def _query(fields: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()))


def _text(fields: dict[str, str]) -> str:
    return ",".join(
        f'"{name}":{value}' if name in _NUMBERS else f'"{name}":"{value}"'
        for name, value in sorted(fields.items())
    )
