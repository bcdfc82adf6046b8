"""Requests of Binance that change something: orders, cancels, the countdown.

The query is formatted, not dumped: what orders of one kind share is put together once. Orders
that rest ask for an ACK, the fastest answer; orders that take (IOC, FOK, MARKET) ask for a RESULT,
which tells their end in the same round trip.

Self-trade prevention by purpose: an opening order yields (EXPIRE_TAKER), so that nothing that
stands is lost to it; a hedge or reduction goes through (EXPIRE_MAKER), the resting order yields.
The wire honours it for GTC and IOC only.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import msgspec

from perpbot.domain.errors import InvalidValue, OutcomeUnknown, Rejected
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ONE, plain
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.venues.binance.codec import CLIENT_PREFIX, Codec, OrderRow, client_id_to_wire
from perpbot.venues.binance.rest import ORDERS_1M, ORDERS_10S, WEIGHT, RestClient
from perpbot.venues.binance.universe import VENUE, Universe
from perpbot.venues.wire.limits import Lane

SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
POSITION_SIDES = {
    PositionSide.NET: "BOTH",
    PositionSide.LONG: "LONG",
    PositionSide.SHORT: "SHORT",
}
ORDER_COSTS = {ORDERS_10S: 1, ORDERS_1M: 1}
CANCEL_COSTS = {WEIGHT: 1}
COUNTDOWN_COSTS = {WEIGHT: 10}
LEVERAGE_COSTS = {WEIGHT: 1}

_TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.POST_ONLY: "GTX",
}
_MARKET = OrderType.MARKET  # an enum's attribute costs more than a name
_TAKES = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_PREVENTS = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_LANES = {
    Purpose.OPEN: Lane.OPEN,
    Purpose.HEDGE: Lane.HEDGE,
    Purpose.REDUCE: Lane.REDUCE,
    Purpose.PROTECT: Lane.REDUCE,
}


class Countdown(msgspec.Struct, rename="camel"):
    """POST /fapi/v1/countdownCancelAll."""

    symbol: str


def leg_parameters(position_side: PositionSide, *, reduce_only: bool, hedge_mode: bool) -> str:
    """Return positionSide or reduceOnly as the account's mode asks for it.

    In hedge mode positionSide is mandatory and reduceOnly must not be sent: a closing order names
    the leg. Raises `Rejected` where order and mode do not fit, since guessing could open a leg.
    """
    if hedge_mode:
        if position_side is PositionSide.NET:
            raise Rejected(
                VENUE, "the account is in hedge mode: an order needs LONG or SHORT", code="-4061"
            )
        return f"&positionSide={POSITION_SIDES[position_side]}"
    if position_side is not PositionSide.NET:
        raise Rejected(
            VENUE, f"the account is in one-way mode: no {position_side} leg", code="-4061"
        )
    return "&reduceOnly=true" if reduce_only else ""


def order_query(order: OrderRequest, bundle: Decimal, *, hedge_mode: bool) -> str:
    """Return the parameters of a new order, without window, timestamp and signature.

    Raises `Rejected` where order and position mode do not fit, and for a limit without a price.
    """
    form = order_form(
        order.symbol,
        order.side,
        order.order_type,
        order.time_in_force,
        order.purpose,
        order.position_side,
        reduce_only=order.reduce_only,
        hedge_mode=hedge_mode,
    )
    price, quantity = order.price, order.quantity
    if bundle != ONE:
        quantity /= bundle
        price = None if price is None else price * bundle
    if order.order_type is _MARKET:
        return form % (plain(quantity), order.client_id)
    if price is None:
        raise Rejected(VENUE, "a limit order needs a price", code="price")
    return form % (plain(quantity), order.client_id, plain(price))


@lru_cache(maxsize=4_096)
def order_form(
    symbol: str,
    side: Side,
    order_type: OrderType,
    time_in_force: TimeInForce,
    purpose: Purpose,
    position_side: PositionSide,
    *,
    reduce_only: bool,
    hedge_mode: bool,
) -> str:
    """Return what orders of one kind share, with places for quantity, client id and price."""
    market = order_type is OrderType.MARKET
    takes = market or time_in_force in _TAKES
    form = (
        f"symbol={symbol}&side={SIDES[side]}&quantity=%s"
        f"&newClientOrderId={CLIENT_PREFIX}%s&newOrderRespType={'RESULT' if takes else 'ACK'}"
    )
    if market:
        form += "&type=MARKET"
    else:
        form += f"&type=LIMIT&timeInForce={_TIMES[time_in_force]}&price=%s"
        if time_in_force in _PREVENTS:
            yields = purpose is Purpose.OPEN
            form += f"&selfTradePreventionMode={'EXPIRE_TAKER' if yields else 'EXPIRE_MAKER'}"
    return form + leg_parameters(position_side, reduce_only=reduce_only, hedge_mode=hedge_mode)


class LeverageSet(msgspec.Struct):
    """POST /fapi/v1/leverage."""

    leverage: int


class BinanceTrading:
    """See `perpbot.venues.port.Trading`. `hedge_mode` is the account's, learned when opening."""

    def __init__(self, *, rest: RestClient, codec: Codec, universe: Universe) -> None:
        self._rest = rest
        self._codec = codec
        self._universe = universe
        self.hedge_mode = False

    async def submit(self, order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one order over REST; `expires_ns` becomes its receive window."""
        row = await self._rest.write(
            "POST",
            "/fapi/v1/order",
            OrderRow,
            self._query(order),
            costs=ORDER_COSTS,
            lane=_LANES[order.purpose],
            expires_ns=order.expires_ns,
            sent=sent,
        )
        return self._report(row)

    def rehearse(self, order: OrderRequest) -> bytes:
        """Return what `submit` would sign and send; see `perpbot.execution.warmer`."""
        return self._rest.signed_query(self._query(order), order.expires_ns).encode()

    async def cancel(self, order: OrderRequest, venue_order_id: str) -> OrderReport:
        """Cancel by client id; `Rejected` with code -2011 when no such order is open."""
        row = await self._rest.write(
            "DELETE",
            "/fapi/v1/order",
            OrderRow,
            f"symbol={order.symbol}&origClientOrderId={client_id_to_wire(order.client_id)}",
            costs=CANCEL_COSTS,
            lane=Lane.REDUCE,
        )
        return self._report(row)

    async def set_dead_man(self, instrument: Instrument, timeout_s: float) -> None:
        """Arm or refresh the countdown of one symbol; 0 disarms it."""
        await self._rest.write(
            "POST",
            "/fapi/v1/countdownCancelAll",
            Countdown,
            f"symbol={instrument.symbol}&countdownTime={round(timeout_s * 1000)}",
            costs=COUNTDOWN_COSTS,
            lane=Lane.REDUCE,
        )

    async def set_leverage(self, instrument: Instrument, leverage: int) -> None:
        """Set the initial leverage of one symbol."""
        await self._rest.write(
            "POST",
            "/fapi/v1/leverage",
            LeverageSet,
            f"symbol={instrument.symbol}&leverage={leverage}",
            costs=LEVERAGE_COSTS,
            lane=Lane.READ,
        )

    def _query(self, order: OrderRequest) -> str:
        bundle = self._universe.units(order.symbol).bundle
        return order_query(order, bundle, hedge_mode=self.hedge_mode)

    def _report(self, row: OrderRow) -> OrderReport:
        try:
            return self._codec.order(row)
        except InvalidValue as error:
            raise OutcomeUnknown(VENUE, f"the answer could not be read: {error}") from error
