"""Conditional orders at the venue: protective stops through /fapi/v1/algoOrder.

Since the migration of 2025-12-09 /fapi/v1/order refuses conditional types (-4120). A stop closes
the whole leg (`closePosition`, which follows the position's size) or reduces it by a quantity. A
cancel of all orders does not touch them (sheet section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from perpbot.domain.errors import InvalidValue, OutcomeUnknown, Rejected, Unavailable
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderReport
from perpbot.domain.sides import PositionSide, Side
from perpbot.venues.binance.codec import ALGO_PREFIX, AlgoRow, Codec, client_id_to_wire
from perpbot.venues.binance.orders import POSITION_SIDES, SIDES, leg_parameters
from perpbot.venues.binance.rest import WEIGHT, RestClient
from perpbot.venues.binance.universe import VENUE, Universe
from perpbot.venues.wire.limits import Lane

_COSTS = {WEIGHT: 1}


class TriggerPrice(StrEnum):
    """Which price sets a stop off."""

    MARK = "MARK_PRICE"
    LAST = "CONTRACT_PRICE"


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A stop-market order that only ever reduces. Base coins, settle currency."""

    client_id: str
    """Canonical id: 32 lower-case hex digits."""
    symbol: str
    side: Side
    """SELL protects a long leg, BUY a short one."""
    trigger_price: Decimal
    quantity: Decimal | None = None
    """None closes whatever the leg holds when it triggers."""
    position_side: PositionSide = PositionSide.NET
    trigger_by: TriggerPrice = TriggerPrice.MARK


class AlgoCancelled(msgspec.Struct, rename="camel"):
    """DELETE /fapi/v1/algoOrder."""

    algo_id: int


def stop_query(stop: StopRequest, bundle: Decimal, *, hedge_mode: bool) -> str:
    """Return the parameters of a stop; raise `Rejected` for a side that would open a leg."""
    opens = (stop.side, stop.position_side) in {
        (Side.BUY, PositionSide.LONG),
        (Side.SELL, PositionSide.SHORT),
    }
    if opens:
        raise Rejected(VENUE, f"a {stop.side} stop would add to the {stop.position_side} leg")
    query = (
        f"algoType=CONDITIONAL&symbol={stop.symbol}&side={SIDES[stop.side]}&type=STOP_MARKET"
        f"&triggerPrice={plain(stop.trigger_price * bundle)}&workingType={stop.trigger_by}"
        f"&clientAlgoId={client_id_to_wire(stop.client_id)}"
    )
    whole = stop.quantity is None
    legs = leg_parameters(stop.position_side, reduce_only=not whole, hedge_mode=hedge_mode)
    leg = "".join(f"&{name}={value}" for name, value in legs.items())
    if stop.quantity is None:
        return f"{query}&closePosition=true{leg}"
    return f"{query}&quantity={plain(stop.quantity / bundle)}{leg}"


class BinanceStops:
    """Places, cancels and lists conditional orders."""

    def __init__(
        self,
        *,
        rest: RestClient,
        codec: Codec,
        universe: Universe,
        hedge_mode: Callable[[], bool],
    ) -> None:
        self._rest = rest
        self._codec = codec
        self._universe = universe
        self._hedge_mode = hedge_mode

    async def submit(self, stop: StopRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one stop. Raises what `Trading.submit` raises."""
        bundle = self._universe.units(stop.symbol).bundle
        row = await self._rest.write(
            "POST",
            "/fapi/v1/algoOrder",
            AlgoRow,
            stop_query(stop, bundle, hedge_mode=self._hedge_mode()),
            costs=_COSTS,
            lane=Lane.REDUCE,
            sent=sent,
        )
        complete = msgspec.structs.replace(
            row,
            symbol=row.symbol or stop.symbol,
            side=row.side or SIDES[stop.side],
            client_algo_id=row.client_algo_id or client_id_to_wire(stop.client_id),
            position_side=row.position_side or POSITION_SIDES[stop.position_side],
        )
        try:
            return self._codec.algo(complete)
        except InvalidValue as error:
            raise OutcomeUnknown(VENUE, f"the answer could not be read: {error}") from error

    async def cancel(self, client_id: str) -> str:
        """Cancel one stop by its client id and return its venue id."""
        answer = await self._rest.write(
            "DELETE",
            "/fapi/v1/algoOrder",
            AlgoCancelled,
            f"clientAlgoId={client_id_to_wire(client_id)}",
            costs=_COSTS,
            lane=Lane.REDUCE,
        )
        return f"{ALGO_PREFIX}{answer.algo_id}"

    async def open_stops(self, symbol: str) -> Sequence[OrderReport]:
        """Return the waiting conditional orders of a symbol, ours and others."""
        rows = await self._rest.read(
            "/fapi/v1/openAlgoOrders", list[AlgoRow], f"symbol={symbol}", lane=Lane.HEDGE
        )
        try:
            return [self._codec.algo(row) for row in rows]
        except InvalidValue as error:
            raise Unavailable(VENUE, f"an answer could not be read: {error}") from error
