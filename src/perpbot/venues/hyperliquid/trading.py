"""Requests that change something: orders, cancels, leverage, the dead man's switch.

An action goes by websocket while the user's socket is up, and by REST only where the socket was
down before anything was sent; it is never sent twice. What the venue refuses raises what the
refusal means; everything that may have happened raises `OutcomeUnknown`. There are no market
orders: a MARKET order goes as an IOC limit at its price, or at 5 % beyond its reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Literal

from perpbot.domain.errors import (
    InvalidValue,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    ReadOnly,
    Rejected,
    Unavailable,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import decimal_of
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState, OrderType, PositionSide, Side, TimeInForce
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.hyperliquid.actions import (
    Action,
    CancelByCloid,
    CancelItem,
    CancelOrders,
    CloidItem,
    Limit,
    LimitType,
    Noop,
    OrderItem,
    PlaceOrders,
    ScheduleCancel,
    Trigger,
    TriggerType,
    UpdateLeverage,
    request_bytes,
)
from perpbot.venues.hyperliquid.limits import ACTION_WEIGHT, MESSAGES, WEIGHT, retry_after_s
from perpbot.venues.hyperliquid.replies import (
    Filled,
    ItemStatus,
    read_reply,
    refusal,
    refused_status,
    single_status,
)
from perpbot.venues.hyperliquid.signing import ActionSigner
from perpbot.venues.hyperliquid.statement import cloid_of
from perpbot.venues.hyperliquid.universe import VENUE, Universe, wire_price, wire_size
from perpbot.venues.hyperliquid.user_socket import UserSocket
from perpbot.venues.wire.http import HttpClient
from perpbot.venues.wire.limits import LANE_OF, Lane, RateBudget, before_expiry
from perpbot.venues.wire.nonces import NonceSource
from perpbot.venues.wire.pending import Later

_JSON = {"content-type": "application/json"}
_COST = {WEIGHT: ACTION_WEIGHT, MESSAGES: 1}
_SLIPPAGE = Decimal("0.05")
MIN_DEAD_MAN_S = 5.0
"""`scheduleCancel` takes no time closer than this; ten firings a day are allowed."""
_TIF: dict[TimeInForce, Literal["Gtc", "Ioc", "Alo"]] = {
    TimeInForce.GTC: "Gtc",
    TimeInForce.IOC: "Ioc",
    TimeInForce.POST_ONLY: "Alo",
}


def _ignore() -> None:
    """Take a `sent` that nobody asked about."""


class HyperliquidTrading:
    """`Trading` of the port, and what the venue has beyond it.

    `nonces` is what the signer has used; `perpbot.execution.nonces` keeps it across restarts.
    """

    def __init__(
        self,
        *,
        signer: ActionSigner | None,
        vault_address: str,
        universe: Universe,
        socket: UserSocket | None,
        http: HttpClient,
        budget: RateBudget,
        nonces: NonceSource,
        account_name: str,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self._signer = signer
        self._vault_address = vault_address
        self._universe = universe
        self._socket = socket
        self._http = http
        self._budget = budget
        self._fares = {purpose: budget.fare(lane, _COST) for purpose, lane in LANE_OF.items()}
        self._account_name = account_name
        self._clock = clock
        self._timeout_s = timeout_s
        self.nonces = nonces

    async def submit(self, order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one order and return the venue's acknowledgement."""
        instrument = self._instrument(order)
        body = await self._send(
            PlaceOrders((_item(order, instrument),)),
            LANE_OF[order.purpose],
            sent,
            nonce=order.nonce,
            expires_ns=order.expires_ns,
        )
        return self._acknowledged(order, instrument, single_status(body))

    def begin(
        self, order: OrderRequest, sent: Callable[[], None]
    ) -> Awaitable[OrderReport] | None:
        """Post one order on the user's websocket now; see `PromptTrading`."""
        instrument = self._instrument(order)
        action = PlaceOrders((_item(order, instrument),))
        self._check_deadline(order.expires_ns)
        socket = self._socket
        if (
            socket is None
            or not socket.is_up
            or not self._budget.try_spend(self._fares[order.purpose])
        ):
            return None
        request = self._signed(action, order.nonce or self.nonces.next_ms(), order.expires_ns)
        try:
            reply = socket.begin(request, sent)
        except Unavailable:
            return None
        return Later(partial(self._answered, order, instrument, socket, reply))

    async def _answered(
        self,
        order: OrderRequest,
        instrument: Instrument,
        socket: UserSocket,
        reply: asyncio.Future[bytes],
    ) -> OrderReport:
        try:
            body = await socket.answer(reply, timeout_s=self._timeout_s)
        except RateLimited as error:
            self._slow_down(error)
            raise
        return self._acknowledged(order, instrument, single_status(body))

    def rehearse(self, order: OrderRequest) -> bytes:
        """Return what `submit` would sign and send; see `perpbot.execution.warmer`.

        Signed with nonce 0, which the venue refuses for ever.
        """
        item = _item(order, self._instrument(order))
        return self._signed(PlaceOrders((item,)), 0, order.expires_ns)

    async def submit_stop(
        self,
        instrument: Instrument,
        *,
        client_id: str,
        side: Side,
        trigger_price: Decimal,
        quantity: Decimal,
        take_profit: bool = False,
    ) -> OrderReport:
        """Place a reduce-only order that waits for the mark price; `side` is the side that closes.

        At `trigger_price` it takes the book, at most 5 % beyond. Errors as `submit`.
        """
        if self._signer is None:
            raise ReadOnly(VENUE)
        trigger = Trigger(
            is_market=True,
            trigger_px=wire_price(instrument, trigger_price),
            tpsl="tp" if take_profit else "sl",
        )
        item = OrderItem(
            a=instrument.wire_code,
            b=side is Side.BUY,
            p=wire_price(instrument, _worst_price(side, instrument, trigger_price)),
            s=wire_size(instrument, quantity),
            r=True,
            t=TriggerType(trigger),
            c=cloid_of(client_id),
        )
        status = single_status(await self._send(PlaceOrders((item,)), Lane.REDUCE, _ignore))
        if isinstance(status, ItemStatus) and status.resting is not None:
            venue_order_id = str(status.resting.oid)
        elif status == "waitingForTrigger":
            venue_order_id = ""
        else:
            raise OutcomeUnknown(VENUE, f"unexpected answer to a stop: {status!r}")
        return OrderReport(
            venue=VENUE,
            account=self._account_name,
            client_id=client_id,
            venue_order_id=venue_order_id,
            symbol=instrument.symbol,
            state=OrderState.ACCEPTED,
            side=side,
            quantity=quantity,
            price=trigger_price,
            reduce_only=True,
            reason="stop",
        )

    async def cancel(self, order: OrderRequest, venue_order_id: str) -> OrderReport:
        """Cancel by client id, or by the venue's number where the order has none of ours.

        Raises `Rejected` with code `missing_order` when the venue knows no such open order.
        """
        instrument = self._instrument(order)
        action: Action
        if order.client_id:
            item = CloidItem(instrument.wire_code, cloid_of(order.client_id))
            action = CancelByCloid((item,))
        elif venue_order_id.isdecimal():
            action = CancelOrders((CancelItem(instrument.wire_code, int(venue_order_id)),))
        else:
            raise InvalidValue(f"venue_order_id was {venue_order_id!r}, a number was expected")
        body = await self._send(action, Lane.REDUCE, _ignore)
        status = single_status(body)
        if status != "success":
            raise OutcomeUnknown(VENUE, f"unexpected answer to a cancel: {status!r}")
        return self._report(order, venue_order_id, OrderState.CANCELLED, reason="cancelled")

    async def set_dead_man(self, instrument: Instrument, timeout_s: float) -> None:
        """Arm or refresh the switch that cancels every order of the account; 0 disarms."""
        if timeout_s == 0:
            await self._done(ScheduleCancel(), Lane.REDUCE)
            return
        if timeout_s < MIN_DEAD_MAN_S:
            raise InvalidValue(
                f"timeout_s was {timeout_s:g}, 0 or at least {MIN_DEAD_MAN_S:g} was expected"
            )
        at_ms = self._clock.now_ns() // MS + int(timeout_s * 1_000)
        await self._done(ScheduleCancel(at_ms), Lane.REDUCE)

    async def set_leverage(self, instrument: Instrument, leverage: int) -> None:
        """Set the leverage of an instrument, cross where the venue allows it."""
        limit = instrument.max_leverage
        if not 1 <= leverage <= limit:
            raise InvalidValue(
                f"{instrument.id}: leverage was {leverage}, 1 to {limit} was expected"
            )
        is_cross = not self._universe.only_isolated(instrument.symbol)
        await self._done(UpdateLeverage(instrument.wire_code, is_cross, leverage), Lane.OPEN)

    async def burn_nonce(self, nonce: int) -> bool:
        """Use up a nonce with an action that does nothing, and say whether it was still unused.

        True: whatever was signed with it never took effect and never can. False: the venue has
        seen the nonce (or holds it for too old), so its request has to be looked up.
        """
        try:
            await self._done(Noop(), Lane.REDUCE, nonce=nonce)
        except NonceClash:
            return False
        return True

    # --- orders ----------------------------------------------------------------------------------

    def _instrument(self, order: OrderRequest) -> Instrument:
        if self._signer is None:
            raise ReadOnly(VENUE)
        instrument = self._universe.find(order.symbol)
        if instrument is None:
            raise Rejected(VENUE, f"no perpetual is called {order.symbol!r}", code="symbol")
        return instrument

    def _acknowledged(
        self, order: OrderRequest, instrument: Instrument, status: str | ItemStatus
    ) -> OrderReport:
        if status in {"waitingForFill", "waitingForTrigger", "success"}:
            return self._report(order, "", OrderState.ACCEPTED, reason=str(status))
        if isinstance(status, ItemStatus) and status.resting is not None:
            return self._report(order, str(status.resting.oid), OrderState.ACCEPTED)
        if isinstance(status, ItemStatus) and status.filled is not None:
            return self._filled(order, instrument, status.filled)
        raise OutcomeUnknown(VENUE, f"unexpected answer to an order: {status!r}")

    def _filled(self, order: OrderRequest, instrument: Instrument, filled: Filled) -> OrderReport:
        try:
            quantity = decimal_of(filled.total_sz, "totalSz") * instrument.contract_size
            average = decimal_of(filled.avg_px, "avgPx") / instrument.price_multiplier
        except InvalidValue:
            raise OutcomeUnknown(VENUE, f"unreadable fill in an answer: {filled}") from None
        if quantity >= order.quantity:
            state = OrderState.FILLED
        elif order.time_in_force is TimeInForce.IOC or order.order_type is OrderType.MARKET:
            state = OrderState.CANCELLED
        else:
            state = OrderState.PARTIALLY_FILLED
        return self._report(order, str(filled.oid), state, filled=quantity, average=average)

    def _report(
        self,
        order: OrderRequest,
        venue_order_id: str,
        state: OrderState,
        *,
        filled: Decimal | None = None,
        average: Decimal | None = None,
        reason: str = "",
    ) -> OrderReport:
        return OrderReport(
            venue=VENUE,
            account=self._account_name,
            client_id=order.client_id,
            venue_order_id=venue_order_id,
            symbol=order.symbol,
            state=state,
            filled=filled,
            average_price=average,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            reduce_only=order.reduce_only,
            reason=reason,
        )

    # --- transport -------------------------------------------------------------------------------

    async def _done(self, action: Action, lane: Lane, *, nonce: int = 0) -> None:
        """Send an action whose answer says no more than ok."""
        for status in read_reply(await self._send(action, lane, _ignore, nonce=nonce)):
            if isinstance(status, ItemStatus) and status.error is not None:
                raise refusal(status.error)

    async def _send(
        self,
        action: Action,
        lane: Lane,
        sent: Callable[[], None],
        *,
        nonce: int = 0,
        expires_ns: int = 0,
    ) -> bytes:
        """Sign and send an action once; return the body of the answer."""
        if self._signer is None:
            raise ReadOnly(VENUE)
        await before_expiry(VENUE, self._budget.acquire(lane, _COST), expires_ns, self._clock)
        self._check_deadline(expires_ns)
        request = self._signed(action, nonce or self.nonces.next_ms(), expires_ns)
        try:
            if self._socket is not None and self._socket.is_up:
                try:
                    return await self._socket.post(request, sent, timeout_s=self._timeout_s)
                except Unavailable:
                    # It went down before a byte left; REST is behind it.
                    return await self._send_by_rest(request, sent)
            return await self._send_by_rest(request, sent)
        except RateLimited as error:
            self._slow_down(error)
            raise

    def _check_deadline(self, expires_ns: int) -> None:
        if expires_ns and self._clock.now_ns() >= expires_ns:
            raise Rejected(VENUE, "not sent: it expired while it waited", code="expired")

    def _slow_down(self, limited: RateLimited) -> None:
        if limited.code == "429":
            self._budget.penalise(limited.retry_after_s or 10.0)

    def _signed(self, action: Action, nonce: int, expires_ns: int) -> bytes:
        if self._signer is None:
            raise ReadOnly(VENUE)
        # Rounded down: the venue's deadline is never later than the journalled one.
        expires_ms = expires_ns // MS if expires_ns else None
        return request_bytes(
            action,
            nonce,
            self._signer.sign(action, nonce, expires_ms=expires_ms),
            vault_address=self._vault_address,
            expires_ms=expires_ms,
        )

    async def _send_by_rest(self, request: bytes, sent: Callable[[], None]) -> bytes:
        try:
            reply = await self._http.request(
                "POST", "/exchange", headers=_JSON, body=request, sent=sent
            )
        except Unavailable as error:
            # Nothing left this machine: as definite as a refusal.
            raise Rejected(VENUE, f"not sent: {error.message}", code="not_sent") from error
        if reply.status != 200:
            raise refused_status(
                reply.status,
                reply.body[:200].decode(errors="replace"),
                retry_after_s=retry_after_s(reply.headers, self._clock),
            )
        return reply.body


def _item(order: OrderRequest, instrument: Instrument) -> OrderItem:
    if order.position_side is not PositionSide.NET:
        raise Rejected(VENUE, "positions are one-way: no LONG or SHORT legs", code="side")
    if order.order_type is OrderType.MARKET:
        tif: Literal["Gtc", "Ioc", "Alo"] | None = "Ioc"
    else:
        tif = _TIF.get(order.time_in_force)
    if tif is None:
        raise Rejected(VENUE, f"no {order.time_in_force.value} orders here", code="time_in_force")
    price = order.price
    if price is None:
        price = _worst_price(order.side, instrument, order.reference_price)
    return OrderItem(
        a=instrument.wire_code,
        b=order.side is Side.BUY,
        p=wire_price(instrument, price),
        s=wire_size(instrument, order.quantity),
        r=order.reduce_only,
        t=LimitType(Limit(tif)),
        c=cloid_of(order.client_id),
    )


def _worst_price(side: Side, instrument: Instrument, reference: Decimal) -> Decimal:
    """Return the worst price that may be taken: 5 % beyond `reference`, on the grid."""
    return instrument.round_price(reference * (1 + side.sign * _SLIPPAGE), side)
