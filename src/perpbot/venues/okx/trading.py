"""Requests that change something at OKX: orders, cancels, the dead man's switch.

Orders go by the private websocket, or by REST when that socket is not logged in before sending.
The way is chosen once: what was handed to a socket is never sent again on another. Every answer
that is not a definite yes or no is `OutcomeUnknown`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial

from perpbot.domain.errors import InvalidValue, RateLimited, ReadOnly, Rejected, Unavailable
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.okx import orders
from perpbot.venues.okx.budgets import Budgets
from perpbot.venues.okx.catalogue import VENUE, Catalogue
from perpbot.venues.okx.codec import Frame, ItemResult
from perpbot.venues.okx.errors import SUB_ACCOUNT_RATE
from perpbot.venues.okx.orders import PositionMode
from perpbot.venues.okx.rest import RestClient, result_of
from perpbot.venues.okx.session import PrivateSession
from perpbot.venues.okx.stops import OkxStops
from perpbot.venues.wire.decoding import ns_of_text
from perpbot.venues.wire.limits import LANE_OF, Lane, before_expiry
from perpbot.venues.wire.pending import Later

DEAD_MAN_MIN_S = 10
DEAD_MAN_MAX_S = 120


class OkxTrading:
    """Writes for one account. Without a session it is read-only. `mode` is set by the venue."""

    def __init__(
        self,
        *,
        rest: RestClient,
        session: PrivateSession | None,
        catalogue: Catalogue,
        budgets: Budgets,
        stops: OkxStops,
        clock: Clock,
        account: str,
        venue: str = VENUE,
    ) -> None:
        self._rest = rest
        self._session = session
        self._catalogue = catalogue
        self._budgets = budgets
        self._stops = stops
        self._clock = clock
        self._account = account
        self._venue = venue
        self.mode = PositionMode.NET

    async def submit(self, order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
        """Send one order and return the acknowledgement; see `perpbot.venues.port.Trading`."""
        session = self._writable()
        instrument = self._catalogue.require(order.symbol)
        orders.check(order, instrument)
        place = self._budgets.place(order.symbol, LANE_OF[order.purpose])
        await before_expiry(self._venue, place, order.expires_ns, self._clock)
        self._check_deadline(order)

        async def by_websocket() -> ItemResult:
            number = session.next_id()
            frame = orders.place_frame(number, order, instrument, self.mode)
            reply = await session.request(number, frame, sent)
            return result_of(self._venue, reply.code, reply.msg, reply.data)

        async def by_rest() -> ItemResult:
            answer = await self._rest.write(
                "/api/v5/trade/order",
                orders.place_body(order, instrument, self.mode),
                expires_ms=order.expires_ns // MS,
                sent=sent,
            )
            return result_of(self._venue, answer.code, answer.msg, answer.data)

        result = await self._either(session, order.symbol, by_websocket, by_rest)
        return self._report(order, result)

    def begin(
        self, order: OrderRequest, sent: Callable[[], None]
    ) -> Awaitable[OrderReport] | None:
        """Write one order to the private websocket now; see `PromptTrading`."""
        session = self._writable()
        instrument = self._catalogue.require(order.symbol)
        orders.check(order, instrument)
        self._check_deadline(order)
        if not session.is_ready or not self._budgets.try_place(
            order.symbol, LANE_OF[order.purpose]
        ):
            return None
        number = session.next_id()
        try:
            reply = session.post(
                number, orders.place_frame(number, order, instrument, self.mode), sent
            )
        except Unavailable:
            return None
        return Later(partial(self._acknowledged, order, session, reply))

    async def _acknowledged(
        self, order: OrderRequest, session: PrivateSession, reply: asyncio.Future[Frame]
    ) -> OrderReport:
        try:
            answer = await session.answer(reply)
            result = result_of(self._venue, answer.code, answer.msg, answer.data)
        except RateLimited as limited:
            self._slow_down(order.symbol, limited)
            raise
        return self._report(order, result)

    def rehearse(self, order: OrderRequest) -> bytes:
        """Return the frame that `submit` would send; see `perpbot.execution.warmer`."""
        instrument = self._catalogue.require(order.symbol)
        orders.check(order, instrument)
        return orders.place_frame("0", order, instrument, self.mode)

    async def cancel(self, order: OrderRequest, venue_order_id: str) -> OrderReport:
        """Cancel by client id. The report says that the order was open; the stream tells its end.

        OKX acknowledges a cancel before it has happened, and a fill may still overtake it.
        """
        session = self._writable()
        instrument = self._catalogue.require(order.symbol)
        # A cancel makes room: it goes with the reductions, whatever the order was for.
        await self._budgets.cancel(order.symbol, Lane.REDUCE)

        async def by_websocket() -> ItemResult:
            number = session.next_id()
            frame = orders.cancel_frame(number, order, venue_order_id, instrument)
            reply = await session.request(number, frame)
            return result_of(self._venue, reply.code, reply.msg, reply.data)

        async def by_rest() -> ItemResult:
            body = orders.cancel_body(order, venue_order_id)
            answer = await self._rest.write("/api/v5/trade/cancel-order", body)
            return result_of(self._venue, answer.code, answer.msg, answer.data)

        result = await self._either(session, order.symbol, by_websocket, by_rest)
        return self._report(order, result, "cancel_taken")

    async def set_dead_man(self, instrument: Instrument, timeout_s: float) -> None:
        """Arm or refresh cancel-all-after for the whole account (10 to 120 s); 0 disarms.

        It cancels every pending order of the account and leaves stops (algo orders) alone.
        """
        self._writable()
        seconds = math.ceil(timeout_s)
        if timeout_s != 0 and not DEAD_MAN_MIN_S <= seconds <= DEAD_MAN_MAX_S:
            raise InvalidValue(
                f"timeout_s was {timeout_s:g}, 0 or {DEAD_MAN_MIN_S} to {DEAD_MAN_MAX_S} "
                "was expected"
            )
        body = f'{{"timeOut":"{seconds}"}}'.encode()
        await self._rest.change("/api/v5/trade/cancel-all-after", body, Lane.REDUCE)

    # --- stops, beyond the port ---

    async def submit_stop(
        self,
        order: OrderRequest,
        trigger_price: Decimal,
        sent: Callable[[], None],
        *,
        whole_leg: bool = False,
    ) -> OrderReport:
        """Place a stop that rests at OKX until the mark price reaches `trigger_price`.

        It then reduces at the market by `order.quantity`, or closes the whole leg. Errors are
        those of `submit`; an acknowledged stop is ACCEPTED, with the algo id as venue order id.
        """
        self._writable()
        return await self._stops.submit(
            order, trigger_price, sent, mode=self.mode, whole_leg=whole_leg
        )

    async def cancel_stop(self, instrument: Instrument, algo_id: str) -> None:
        """Cancel one stop by the venue's id."""
        self._writable()
        await self._stops.cancel(instrument.symbol, algo_id)

    async def open_stops(self) -> Sequence[OrderReport]:
        """Return every waiting conditional order of the account; raise `Unavailable`."""
        self._writable()
        return await self._stops.pending()

    async def _either(
        self,
        session: PrivateSession,
        symbol: str,
        by_websocket: Callable[[], Awaitable[ItemResult]],
        by_rest: Callable[[], Awaitable[ItemResult]],
    ) -> ItemResult:
        try:
            if session.is_ready:
                try:
                    return await by_websocket()
                except Unavailable:
                    pass  # the socket went before a byte was handed to it
            return await by_rest()
        except RateLimited as limited:
            self._slow_down(symbol, limited)
            raise

    def _slow_down(self, symbol: str, limited: RateLimited) -> None:
        self._budgets.penalise_orders(
            symbol, limited.retry_after_s, account=limited.code == SUB_ACCOUNT_RATE
        )

    def _writable(self) -> PrivateSession:
        if self._session is None:
            raise ReadOnly(self._venue)
        return self._session

    def _check_deadline(self, order: OrderRequest) -> None:
        if order.expires_ns and self._clock.now_ns() >= order.expires_ns:
            raise Rejected(self._venue, "expired before it was sent", code="expired_unsent")

    def _report(self, order: OrderRequest, result: ItemResult, reason: str = "") -> OrderReport:
        return OrderReport(
            venue=self._venue,
            account=self._account,
            client_id=order.client_id,
            venue_order_id=result.ord_id,
            symbol=order.symbol,
            state=OrderState.ACCEPTED,
            reason=reason,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            reduce_only=order.reduce_only,
            position_side=orders.position_side(order, self.mode),
            venue_ns=_told_ns(result.ts),
        )


def _told_ns(time_ms: str) -> int:
    """Return when an order was taken, 0 where that cannot be read: it was taken all the same."""
    try:
        return ns_of_text(time_ms)
    except InvalidValue:
        return 0
