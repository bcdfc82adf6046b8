"""Order requests as OKX bytes, by formatting: one frame for the websocket, one body for REST.

What orders of one kind share is put together once. The websocket takes `instIdCode` and no
`instId` (since 2026-03), REST takes `instId`. Sizes leave in contracts. `tdMode` is cross.
`stpMode` is cancel_maker: of two own orders that meet, the resting one goes and the newer one
trades on, because the newer one may be a hedge or a reduction, and those must never be refused by
an order of our own.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from perpbot.domain.errors import InvalidValue, Rejected
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ONE, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.kernel.clock import MS

SELF_TRADE = "cancel_maker"

_LIMIT_TYPES = {
    TimeInForce.GTC: "limit",
    TimeInForce.POST_ONLY: "post_only",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
}


class PositionMode(StrEnum):
    """`posMode` of account/config."""

    NET = "net_mode"
    LONG_SHORT = "long_short_mode"


_BUY, _MARKET = Side.BUY, OrderType.MARKET  # an enum's attribute costs more than a name
_NET, _NET_MODE = PositionSide.NET, PositionMode.NET


def place_frame(
    request_id: str, order: OrderRequest, instrument: Instrument, mode: PositionMode
) -> bytes:
    """Return the websocket frame of op `order`; raise `Rejected` for what OKX cannot take."""
    if instrument.wire_code == 0:
        raise Rejected(order.venue, f"{order.symbol} has no instIdCode", code="no_inst_id_code")
    deadline = f',"expTime":"{order.expires_ns // MS}"' if order.expires_ns else ""
    return (
        f'{{"id":"{request_id}","op":"order","args":[{{"instIdCode":{instrument.wire_code},'
        f"{_terms(order, instrument, mode)}}}]{deadline}}}"
    ).encode()


def place_body(order: OrderRequest, instrument: Instrument, mode: PositionMode) -> bytes:
    """Return the body of POST trade/order; its deadline travels as a header."""
    return f'{{"instId":"{order.symbol}",{_terms(order, instrument, mode)}}}'.encode()


def cancel_frame(
    request_id: str, order: OrderRequest, venue_order_id: str, instrument: Instrument
) -> bytes:
    """Return the websocket frame of op `cancel-order`."""
    return (
        f'{{"id":"{request_id}","op":"cancel-order","args":['
        f'{{"instIdCode":{instrument.wire_code},{_identity(order, venue_order_id)}}}]}}'
    ).encode()


def cancel_body(order: OrderRequest, venue_order_id: str) -> bytes:
    """Return the body of POST trade/cancel-order."""
    return f'{{"instId":"{order.symbol}",{_identity(order, venue_order_id)}}}'.encode()


def check(order: OrderRequest, instrument: Instrument) -> None:
    """Raise `Rejected` unless the numbers lie on the instrument's grid."""
    try:
        instrument.check_order(order.price, order.quantity, reduce_only=order.reduce_only)
    except InvalidValue as error:
        raise Rejected(order.venue, str(error), code="invalid_order") from None


def position_side(order: OrderRequest, mode: PositionMode) -> PositionSide:
    """Return the leg that an order works on.

    In long/short mode an order that names none gets the one its side and purpose imply. An order
    that names a leg on a one-way account is refused: it would net against the other leg.
    """
    named = order.position_side
    if mode is _NET_MODE:
        if named is not _NET:
            raise Rejected(
                order.venue,
                f"position side was {named}, but the account is in net mode",
                code="position_mode",
            )
        return named
    if named is not _NET:
        return named
    opens_long = (order.side is _BUY) is not order.reduce_only
    return PositionSide.LONG if opens_long else PositionSide.SHORT


def _terms(order: OrderRequest, instrument: Instrument, mode: PositionMode) -> str:
    leg = position_side(order, mode)
    form = order_form(
        order.venue,
        order.side,
        order.order_type,
        order.time_in_force,
        leg,
        mode,
        reduce_only=order.reduce_only,
    )
    contracts, unit = order.quantity, instrument.contract_size
    if unit != ONE:
        contracts /= unit
    if order.order_type is _MARKET:
        return form % (plain(contracts), _client_id(order))
    if order.price is None:
        raise Rejected(order.venue, "a limit order needs a price", code="invalid_order")
    return form % (plain(order.price), plain(contracts), _client_id(order))


@lru_cache(maxsize=1_024)
def order_form(
    venue: str,
    side: Side,
    order_type: OrderType,
    time_in_force: TimeInForce,
    leg: PositionSide,
    mode: PositionMode,
    *,
    reduce_only: bool,
) -> str:
    """Return what orders of one kind share, with places for price, contracts and client id.

    Raises `Rejected` for a kind that OKX does not have.
    """
    market = order_type is OrderType.MARKET
    if market and time_in_force is TimeInForce.POST_ONLY:
        raise Rejected(venue, "a market order cannot be post-only", code="invalid_order")
    kind = "market" if market else _LIMIT_TYPES[time_in_force]
    price = "" if market else '"px":"%s",'
    # In long/short mode posSide says it all, and reduceOnly is refused.
    extent = (
        f',"posSide":"{leg}"'
        if mode is PositionMode.LONG_SHORT
        else ',"reduceOnly":true'
        if reduce_only
        else ""
    )
    return (
        f'"tdMode":"cross","side":"{side}","ordType":"{kind}",{price}"sz":"%s",'
        f'"clOrdId":"%s","stpMode":"{SELF_TRADE}"{extent}'
    )


def _client_id(order: OrderRequest) -> str:
    client_id = order.client_id
    if not (0 < len(client_id) <= 32 and client_id.isascii() and client_id.isalnum()):
        raise Rejected(
            order.venue,
            f"client id was {client_id!r}, 1 to 32 letters and digits were expected",
            code="invalid_order",
        )
    return client_id


def _identity(order: OrderRequest, venue_order_id: str) -> str:
    if order.client_id:
        return f'"clOrdId":"{_client_id(order)}"'
    if not venue_order_id.isdigit():
        raise Rejected(order.venue, "neither client id nor order id known", code="invalid_order")
    return f'"ordId":"{venue_order_id}"'
