"""Requests of Binance that change something: orders, cancels, the countdown.

Orders and cancels go by the websocket API, or by REST when that socket is down before sending.
The way is chosen once: what was handed to a socket is never sent again on another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import msgspec

from perpbot.domain.errors import InvalidValue, OutcomeUnknown, ReadOnly, Unavailable
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.venues.binance.codec import UNREADABLE, Codec, OrderRow, client_id_to_wire
from perpbot.venues.binance.errors import error_of_answer
from perpbot.venues.binance.orders import cancel_frame, order_query, place_frame
from perpbot.venues.binance.rest import ORDERS_1M, ORDERS_10S, WEIGHT, RestClient
from perpbot.venues.binance.session import ApiReply, ApiSession
from perpbot.venues.binance.signing import Signer
from perpbot.venues.binance.universe import VENUE, Universe
from perpbot.venues.wire.limits import LANE_OF, Lane
from perpbot.venues.wire.pending import Later

ORDER_COSTS = {ORDERS_10S: 1, ORDERS_1M: 1}
CANCEL_COSTS = {WEIGHT: 1}
COUNTDOWN_COSTS = {WEIGHT: 10}
LEVERAGE_COSTS = {WEIGHT: 1}
_LONG_AGO_MS = 1_000_000_000_000


class Countdown(msgspec.Struct, rename="camel"):
    """POST /fapi/v1/countdownCancelAll."""

    symbol: str


class LeverageSet(msgspec.Struct):
    """POST /fapi/v1/leverage."""

    leverage: int


class BinanceTrading:
    """See `perpbot.venues.port.Trading`. `hedge_mode` is the account's, learned when opening."""

    def __init__(
        self,
        *,
        rest: RestClient,
        session: ApiSession,
        signer: Signer | None,
        codec: Codec,
        universe: Universe,
    ) -> None:
        self._rest = rest
        self._session = session
        self._signer = signer
        self._codec = codec
        self._universe = universe
        self._fares = {
            purpose: rest.budget.fare(lane, ORDER_COSTS) for purpose, lane in LANE_OF.items()
        }
        self.hedge_mode = False

    # --- orders ---

    def begin(
        self, order: OrderRequest, sent: Callable[[], None]
    ) -> Awaitable[OrderReport] | None:
        """Write one order to the websocket API now; see `PromptTrading`."""
        signer, session = self._writable(), self._session
        if not session.is_ready:
            return None
        window_ms = self._rest.window_ms(order.expires_ns)
        if not self._rest.budget.try_spend(self._fares[order.purpose]):
            return None
        number = session.next_id()
        frame = self._place_frame(number, order, signer, window_ms, self._rest.server_ms())
        try:
            reply = session.post(number, frame, sent)
        except Unavailable:
            return None
        return Later(partial(self._acknowledged, session, reply))

    async def submit(self, order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one order; `expires_ns` becomes its receive window."""
        signer, session = self._writable(), self._session
        lane = LANE_OF[order.purpose]
        if session.is_ready:
            await self._rest.acquire(lane, ORDER_COSTS, order.expires_ns)
            window_ms = self._rest.window_ms(order.expires_ns)
            number = session.next_id()
            frame = self._place_frame(number, order, signer, window_ms, self._rest.server_ms())
            try:
                reply = session.post(number, frame, sent)
            except Unavailable:
                pass  # the socket went before a byte was handed to it
            else:
                return await self._acknowledged(session, reply)
        row = await self._rest.write(
            "POST",
            "/fapi/v1/order",
            OrderRow,
            order_query(order, self._bundle(order), hedge_mode=self.hedge_mode),
            costs=ORDER_COSTS,
            lane=lane,
            expires_ns=order.expires_ns,
            sent=sent,
        )
        return self._report(row)

    def rehearse(self, order: OrderRequest) -> bytes:
        """Return what `begin` would sign and send; see `perpbot.execution.warmer`.

        Signed for a time long gone, so that no venue ever takes it.
        """
        window_ms = self._rest.window_ms(order.expires_ns)
        return self._place_frame("0", order, self._writable(), window_ms, _LONG_AGO_MS)

    async def cancel(self, order: OrderRequest, venue_order_id: str) -> OrderReport:
        """Cancel by client id; `Rejected` with code -2011 when no such order is open."""
        signer, session = self._writable(), self._session
        if session.is_ready:
            await self._rest.acquire(Lane.REDUCE, CANCEL_COSTS)
            number = session.next_id()
            frame = cancel_frame(
                number,
                order,
                signer,
                window_ms=self._rest.window_ms(0),
                now_ms=self._rest.server_ms(),
            )
            try:
                reply = session.post(number, frame)
            except Unavailable:
                pass  # as above
            else:
                return await self._acknowledged(session, reply)
        row = await self._rest.write(
            "DELETE",
            "/fapi/v1/order",
            OrderRow,
            f"symbol={order.symbol}&origClientOrderId={client_id_to_wire(order.client_id)}",
            costs=CANCEL_COSTS,
            lane=Lane.REDUCE,
        )
        return self._report(row)

    # --- the account ---

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

    # --- answers ---

    async def _acknowledged(
        self, session: ApiSession, reply: asyncio.Future[ApiReply]
    ) -> OrderReport:
        answer = await session.answer(reply)
        if answer.status != 200:
            refusal = error_of_answer(VENUE, answer.status, answer.error, self._rest.now_ns())
            await self._rest.learn(refusal)
            raise refusal
        try:
            row = msgspec.json.decode(answer.result, type=OrderRow)
        except UNREADABLE as error:
            raise OutcomeUnknown(VENUE, f"the answer could not be read: {error}") from error
        return self._report(row)

    def _report(self, row: OrderRow) -> OrderReport:
        try:
            return self._codec.order(row)
        except InvalidValue as error:
            raise OutcomeUnknown(VENUE, f"the answer could not be read: {error}") from error

    def _place_frame(
        self,
        number: str,
        order: OrderRequest,
        signer: Signer,
        window_ms: int,
        now_ms: int,
    ) -> bytes:
        return place_frame(
            number,
            order,
            self._bundle(order),
            signer,
            hedge_mode=self.hedge_mode,
            window_ms=window_ms,
            now_ms=now_ms,
        )

    def _bundle(self, order: OrderRequest) -> Decimal:
        return self._universe.units(order.symbol).bundle

    def _writable(self) -> Signer:
        if self._signer is None:
            raise ReadOnly(VENUE)
        return self._signer
