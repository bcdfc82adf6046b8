"""Carries commands to one venue and brings back what it said.

A plain subscriber: each command starts one supervised task through the venue's port, so a submit
that hangs never blocks a cancel. Answers come back as reports; errors become the report that says
how much is known: REJECTED only for a definite refusal, UNKNOWN for everything that may have
happened, PROVEN_ABSENT only where the venue was asked after the request's expiry and finds ended
orders too. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from perpbot.domain.capabilities import Lookup
from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    NonceClash,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.domain.events import (
    CancelForgotten,
    CancelOrders,
    OrderCancelFailed,
    OrderIntent,
    OrderReported,
    QueryOrder,
    ReconcileVenue,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState
from perpbot.execution.reconcile import UNANSWERED
from perpbot.execution.watch import MISSING_FILLS
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.absence import EXPIRY_MARGIN_NS
from perpbot.portfolio.orders import OrderTable
from perpbot.venues.port import PromptTrading, Venue

T = TypeVar("T")
_DEFINITE = (Rejected, RateLimited, AuthFailed, NonceClash, InvalidValue)


class LatencySamples(msgspec.Struct):
    """Microseconds from the frame that decided to the order bytes on the socket."""

    tick_to_order_us: list[float] = []


class _Flight:
    """One order on its way out: when the frame was read that led to it, when its bytes left."""

    __slots__ = ("_clock", "left_ns", "read_ns")

    def __init__(self, clock: Clock, read_ns: int) -> None:
        self._clock = clock
        self.read_ns = read_ns
        self.left_ns = 0

    def leave(self) -> None:
        self.left_ns = self._clock.monotonic_ns()


class VenueGateway:
    """See the module."""

    def __init__(
        self,
        venue: Venue,
        bus: EventBus,
        clock: Clock,
        supervisor: Supervisor,
        orders: OrderTable,
        latency: LatencySamples,
        *,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """`fence` raises when this process may send nothing any more; that halts the core."""
        self._fence = fence
        self._venue = venue
        self._bus = bus
        self._clock = clock
        self._supervisor = supervisor
        self._orders = orders
        self._latency = latency
        self._surveying = False
        self._asked_meanwhile: ReconcileVenue | None = None
        self._finds_ended = venue.capabilities.lookup is Lookup.FULL
        trading = venue.trading
        self._write = trading.begin if isinstance(trading, PromptTrading) else None
        bus.subscribe(OrderIntent, self._submit)
        bus.subscribe(CancelOrders, self._cancel)
        bus.subscribe(CancelForgotten, self._cancel_forgotten)
        bus.subscribe(QueryOrder, self._query)
        bus.subscribe(ReconcileVenue, self._reconcile)

    # --- commands ---

    def _submit(self, command: OrderIntent) -> None:
        for request in command.orders:
            if request.venue == self._venue.name:
                self._begin(request, command.read_ns)

    def _cancel(self, command: CancelOrders) -> None:
        for client_id in command.client_ids:
            order = self._orders.get(client_id)
            if order is not None and order.request.venue == self._venue.name:
                self._fence()
                self._run("cancel", self._take_back(order.request, order.venue_order_id))

    def _cancel_forgotten(self, command: CancelForgotten) -> None:
        if command.order.venue == self._venue.name:
            self._fence()
            self._run("cancel", self._take_back_forgotten(command))

    async def _take_back_forgotten(self, command: CancelForgotten) -> None:
        """No order of our table: what still rests is seen, and asked for, again."""
        with contextlib.suppress(VenueError, InvalidValue):
            await self._venue.trading.cancel(command.order, command.venue_order_id)

    def _query(self, command: QueryOrder) -> None:
        order = self._orders.get(command.client_id)
        if order is not None and order.request.venue == self._venue.name:
            self._run("query", self._ask(order.request, order.venue_order_id))

    def _reconcile(self, command: ReconcileVenue) -> None:
        if command.venue != self._venue.name:
            return
        if self._surveying:
            if command.reason == UNANSWERED:
                return  # the answer is on its way: one more question makes it later still
            waiting = self._asked_meanwhile
            self._asked_meanwhile = command if waiting is None else _both(waiting, command)
            return
        self._surveying = True
        self._run("reconcile", self._surveys(command))

    def _run(self, verb: str, work: Coroutine[Any, Any, None]) -> None:
        self._supervisor.run(f"{self._venue.name} {verb}", work)

    # --- talking to the venue ---

    def _begin(self, request: OrderRequest, read_ns: int) -> None:
        """Write at once where the venue can; only then say so, and wait for the venue's word."""
        self._fence()
        flight = _Flight(self._clock, read_ns)
        answer: Awaitable[OrderReport] | None = None
        if self._write is not None:
            try:
                answer = self._write(request, flight.leave)
            except _DEFINITE as refusal:
                self._report(_bare(request, OrderState.REJECTED, refusal))
                return
            except VenueError as silence:
                self._report(_bare(request, OrderState.UNKNOWN, silence))
                return
        if answer is None:
            self._run("submit", self._send(request, flight))
        else:
            self._left(request, flight)
            self._run("submit", self._follow(request, answer))

    async def _send(self, request: OrderRequest, flight: _Flight) -> None:
        """Send an order in a step of its own: something has to be waited for first."""

        def sent() -> None:
            flight.leave()
            self._left(request, flight)

        await self._follow(request, self._venue.trading.submit(request, sent))

    def _left(self, request: OrderRequest, flight: _Flight) -> None:
        if flight.read_ns:
            taken_ns = flight.left_ns - flight.read_ns
            self._latency.tick_to_order_us.append(taken_ns / 1_000)
        self._report(_bare(request, OrderState.SENT))

    async def _follow(self, request: OrderRequest, answer: Awaitable[OrderReport]) -> None:
        """Wait for the venue's word on an order."""
        try:
            report = await answer
        except _DEFINITE as refusal:
            self._report(_bare(request, OrderState.REJECTED, refusal))
        except (VenueError, asyncio.CancelledError) as silence:
            # A cancelled task may have sent already: the order watch asks what became of it.
            self._report(_bare(request, OrderState.UNKNOWN, silence))
            if isinstance(silence, asyncio.CancelledError):
                raise
        else:
            self._report(report)

    async def _take_back(self, request: OrderRequest, venue_order_id: str) -> None:
        try:
            report = await self._venue.trading.cancel(request, venue_order_id)
        except _DEFINITE as refusal:
            self._cancel_failed(request, refusal, definite=True)
            await self._ask(request, venue_order_id)
        except (Unavailable, OutcomeUnknown, ProtocolViolation) as silence:
            self._cancel_failed(request, silence, definite=False)
        else:
            self._report(report)

    async def _ask(self, request: OrderRequest, venue_order_id: str) -> None:
        asked_ns = self._clock.now_ns()
        try:
            report = await self._venue.account.order(request, venue_order_id)
        except VenueError:
            return  # unknown stays unknown: the order watch asks again
        if report is not None:
            self._report(report)
        elif self._finds_ended and asked_ns > _gone_after_ns(request):
            self._report(_bare(request, OrderState.PROVEN_ABSENT))
        # Else it says nothing: the order may have ended, or its request may still be under way.

    async def _surveys(self, command: ReconcileVenue) -> None:
        """One comparison at a time: whatever is asked for meanwhile is one more after it.

        A stream that comes and goes would else pile up questions, each of which is older than the
        next, and spend the budget that hedges need.
        """
        following: ReconcileVenue | None = command
        try:
            while following is not None:
                await self._survey(following)
                following, self._asked_meanwhile = self._asked_meanwhile, None
        finally:
            self._surveying = False
            self._asked_meanwhile = None

    async def _survey(self, command: ReconcileVenue) -> None:
        account = self._venue.account
        asked_ns = self._clock.monotonic_ns()
        errors: list[str] = []

        async def part(ask: Callable[[], Awaitable[Sequence[T]]]) -> tuple[T, ...] | None:
            try:
                return tuple(await ask())
            except VenueError as error:
                errors.append(str(error))
                return None

        since_ns = command.transfers_since_ns
        orders, fills, positions, balances, funding, transfers = await asyncio.gather(
            part(account.open_orders),
            part(lambda: account.fills(command.fills_since_ns)),
            part(account.positions),
            part(account.balances),
            part(lambda: account.funding(command.funding_from_ns)),
            _unasked() if since_ns is None else part(lambda: account.transfers(since_ns)),
        )
        self._bus.publish(
            VenueSnapshot(
                ts_ns=self._clock.now_ns(),
                venue=command.venue,
                reason=command.reason,
                asked_ns=asked_ns,
                orders=orders,
                fills=fills,
                positions=positions,
                balances=balances,
                funding=funding,
                transfers=transfers,
                error="; ".join(errors),
            )
        )

    # --- answering ---

    def _report(self, report: OrderReport) -> None:
        self._bus.publish(OrderReported(ts_ns=self._clock.now_ns(), report=report))

    def _cancel_failed(self, request: OrderRequest, error: Exception, *, definite: bool) -> None:
        self._bus.publish(
            OrderCancelFailed(
                ts_ns=self._clock.now_ns(),
                correlation_id=request.owner,
                client_id=request.client_id,
                venue=request.venue,
                reason=str(error),
                definite=definite,
            )
        )


def _both(first: ReconcileVenue, second: ReconcileVenue) -> ReconcileVenue:
    """Return one command whose answer answers two."""
    # What an order asked for looks back less far: it never stands for a whole comparison.
    named = first if second.reason == MISSING_FILLS else second
    return msgspec.structs.replace(
        named,
        fills_since_ns=min(first.fills_since_ns, second.fills_since_ns),
        funding_since_ns=_earlier(first.funding_since_ns, second.funding_since_ns),
        transfers_since_ns=_earlier(first.transfers_since_ns, second.transfers_since_ns),
    )


def _earlier(first_ns: int | None, second_ns: int | None) -> int | None:
    return min((ns for ns in (first_ns, second_ns) if ns is not None), default=None)


async def _unasked() -> None:
    """What nobody asked for is not known."""


def _gone_after_ns(request: OrderRequest) -> int:
    """Return when (UTC) a request can no longer arrive; 0 where that is not known."""
    return request.expires_ns + EXPIRY_MARGIN_NS if request.expires_ns else 0


def _bare(
    request: OrderRequest, state: OrderState, error: BaseException | None = None
) -> OrderReport:
    return OrderReport(
        venue=request.venue,
        account=request.account,
        client_id=request.client_id,
        venue_order_id="",
        symbol=request.symbol,
        state=state,
        reason="" if error is None else str(error) or type(error).__name__,
        code=getattr(error, "code", ""),
    )
