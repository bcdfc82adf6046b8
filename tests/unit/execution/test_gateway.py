"""What a gateway makes of everything that a venue may answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    NonceClash,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    Rejected,
    Unavailable,
)
from perpbot.domain.events import (
    CancelOrders,
    Event,
    GateDecision,
    OrderCancelFailed,
    OrderReported,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState
from perpbot.execution.gateway import LatencySamples, VenueGateway
from perpbot.execution.reconcile import UNANSWERED
from perpbot.execution.watch import MISSING_FILLS
from perpbot.guardian.pulse import TakenOver
from perpbot.kernel.bus import BusHalted, EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.orders import OrderTable
from tests.unit.execution.stand import LONG, SHORT
from tests.unit.execution.test_pair import order

REQUEST = order("1-1", 0)


def capabilities(venue: str, **changes: Any) -> Capabilities:
    """A venue without fees."""
    free = Decimal(0)
    return Capabilities(
        venue=venue,
        operator=venue,
        maker_fee_bps=free,
        taker_fee_bps=free,
        fees_as_of="2026-10-01",
        **changes,
    )


def report(state: OrderState, request: OrderRequest = REQUEST) -> OrderReport:
    """The venue's word on an order."""
    return OrderReport(
        venue=request.venue,
        account="main",
        client_id=request.client_id,
        venue_order_id="77",
        symbol=request.symbol,
        state=state,
        filled=Decimal(0),
    )


class Door:
    """A venue whose answers are set by the test; every method is asked through `answer`."""

    name = LONG

    def __init__(self) -> None:
        self.trading = self.account = self
        self.capabilities = capabilities(LONG, lookup=Lookup.FULL)
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.since: list[int] = []
        """Of every question for executions."""
        self.paid_since: list[int] = []
        self.moved_since: list[int] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def answer(self, verb: str, default: Any = ()) -> Any:
        self.asked.append(verb)
        await self.hold.wait()
        found = self.answers.get(verb, default)
        if isinstance(found, Exception):
            raise found
        return found

    async def submit(self, request: OrderRequest, sent: Callable[[], None]) -> Any:
        sent()
        return await self.answer("submit", report(OrderState.ACCEPTED))

    async def cancel(self, request: OrderRequest, venue_order_id: str) -> Any:
        return await self.answer("cancel", report(OrderState.CANCELLED))

    async def order(self, request: OrderRequest, venue_order_id: str) -> Any:
        return await self.answer("order", report(OrderState.FILLED))

    async def open_orders(self) -> Any:
        return await self.answer("open_orders")

    async def fills(self, since_ns: int) -> Any:
        self.since.append(since_ns)
        return await self.answer("fills")

    async def positions(self) -> Any:
        return await self.answer("positions")

    async def balances(self) -> Any:
        return await self.answer("balances")

    async def funding(self, since_ns: int) -> Any:
        self.paid_since.append(since_ns)
        return await self.answer("funding")

    async def transfers(self, since_ns: int) -> Any:
        self.moved_since.append(since_ns)
        return await self.answer("transfers")


class Gate:
    """A gateway on a bus, and what it said."""

    def __init__(self, door: Door | None = None) -> None:
        self.time = VirtualTime(1_000)
        self.bus = EventBus(self.time)
        self.orders = OrderTable()
        for event_class, fold in self.orders.folds().items():
            self.bus.subscribe(event_class, fold)
        self.supervisor = Supervisor(self.bus.publish, self.time, random.Random(1))
        self.door = door or Door()
        self.latency = LatencySamples()
        venue: Any = self.door
        self.taken_over = False
        VenueGateway(
            venue,
            self.bus,
            self.time,
            self.supervisor,
            self.orders,
            self.latency,
            fence=self._fence,
        )
        self.said: list[Event] = []
        for kind in (OrderReported, OrderCancelFailed, VenueSnapshot):
            self.bus.subscribe(kind, self.said.append)

    def _fence(self) -> None:
        if self.taken_over:
            raise TakenOver("the guardian took over")

    def submit(self, *requests: OrderRequest, read_ns: int = 0) -> None:
        decision = GateDecision(gate="open", checks={}, ts_ns=0)
        self.bus.publish(
            SubmitOrders(
                ts_ns=1, orders=requests or (REQUEST,), decision=decision, read_ns=read_ns
            )
        )

    async def rest(self) -> None:
        """Let every task come to its end."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def states(self) -> list[OrderState]:
        return [event.report.state for event in self.said if isinstance(event, OrderReported)]


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gateway whose tasks end with the test."""
    made = Gate()
    yield made
    await made.supervisor.close()


async def test_accepted_order(gate: Gate) -> None:
    """SENT when its bytes left, then what the venue says; the latency is measured."""
    gate.time.advance(5_000)
    gate.submit(read_ns=2_000)
    await gate.rest()
    assert gate.states == [OrderState.SENT, OrderState.ACCEPTED]
    assert gate.latency.tick_to_order_us == [3.0]


async def test_a_fenced_node_sends_nothing_and_halts(gate: Gate) -> None:
    """Neither orders nor cancels: the guardian has the word."""
    gate.submit()
    await gate.rest()
    gate.door.asked.clear()
    gate.taken_over = True

    with pytest.raises(BusHalted):
        gate.bus.publish(CancelOrders(ts_ns=2, client_ids=(REQUEST.client_id,), reason="test"))
    await gate.rest()

    assert gate.door.asked == []
    assert isinstance(gate.bus.halted, TakenOver)


async def test_a_fenced_node_submits_nothing(gate: Gate) -> None:
    """The order stays an intent: the next run asks what became of it."""
    gate.taken_over = True
    with pytest.raises(BusHalted):
        gate.submit()
    await gate.rest()

    assert gate.door.asked == []
    assert gate.states == []


async def test_other_venues_are_not_ours(gate: Gate) -> None:
    """Commands for another venue, or for orders that nobody knows, are left alone."""
    gate.submit(order("1-1", 1))
    gate.bus.publish(CancelOrders(ts_ns=1, client_ids=("1-1-1", "?"), reason=""))
    gate.bus.publish(QueryOrder(ts_ns=1, client_id="1-1-1"))
    gate.bus.publish(QueryOrder(ts_ns=1, client_id="?"))
    gate.bus.publish(ReconcileVenue(ts_ns=1, venue=SHORT, reason="", fills_since_ns=0))
    await gate.rest()
    assert not gate.door.asked
    assert not gate.said


@pytest.mark.parametrize(
    "error",
    [
        Rejected(LONG, "no", code="51"),
        RateLimited(LONG, "slow"),
        AuthFailed(LONG, "key"),
        NonceClash(LONG, "old"),
        InvalidValue("tick"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_definite_refusals_are_rejections(gate: Gate, error: Exception) -> None:
    """What certainly had no effect is REJECTED, with reason and code."""
    gate.door.answers["submit"] = error
    gate.submit()
    await gate.rest()
    assert gate.states == [OrderState.SENT, OrderState.REJECTED]
    last = gate.said[-1]
    assert isinstance(last, OrderReported)
    assert last.report.reason == str(error)
    assert last.report.code == getattr(error, "code", "")


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown(LONG, "reset"), Unavailable(LONG, "down"), ProtocolViolation(LONG, "what")],
    ids=lambda error: type(error).__name__,
)
async def test_everything_else_is_unknown(gate: Gate, error: Exception) -> None:
    """Silence is never called a refusal."""
    gate.door.answers["submit"] = error
    gate.submit()
    await gate.rest()
    assert gate.states == [OrderState.SENT, OrderState.UNKNOWN]


async def test_interrupted_submit_is_unknown(gate: Gate) -> None:
    """A node that ends while a request is out does not know what became of it."""
    gate.door.hold.clear()
    gate.submit()
    await gate.rest()
    await gate.supervisor.close()
    assert gate.states == [OrderState.SENT, OrderState.UNKNOWN]


async def test_submit_that_never_began_is_an_intent(gate: Gate) -> None:
    """Ended before its first step: nothing was sent, nothing is said, nothing is left over."""
    gate.submit()
    await gate.supervisor.close()
    assert not gate.said
    assert not gate.door.asked


async def test_hanging_submit_does_not_block_a_cancel(gate: Gate) -> None:
    """Each command has a task of its own."""
    gate.submit()
    await gate.rest()
    gate.door.hold.clear()
    gate.submit(order("1-2", 0))
    await gate.rest()
    gate.bus.publish(CancelOrders(ts_ns=1, client_ids=("1-1-0",), reason=""))
    await gate.rest()
    assert gate.door.asked == ["submit", "submit", "cancel"]


async def test_cancel(gate: Gate) -> None:
    """A cancel that worked is told."""
    gate.submit()
    gate.bus.publish(CancelOrders(ts_ns=1, client_ids=("1-1-0",), reason=""))
    await gate.rest()
    assert gate.states[-1] is OrderState.CANCELLED


async def test_refused_cancel_asks_what_became_of_the_order(gate: Gate) -> None:
    """Mostly it has filled: the question follows at once."""
    gate.door.answers["cancel"] = Rejected(LONG, "unknown order")
    gate.submit()
    gate.bus.publish(CancelOrders(ts_ns=1, client_ids=("1-1-0",), reason=""))
    await gate.rest()
    (failed,) = [event for event in gate.said if isinstance(event, OrderCancelFailed)]
    assert failed.definite
    assert gate.states[-1] is OrderState.FILLED
    assert gate.door.asked == ["submit", "cancel", "order"]


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown(LONG, "reset"), Unavailable(LONG, "down"), ProtocolViolation(LONG, "what")],
    ids=lambda error: type(error).__name__,
)
async def test_cancel_without_answer(gate: Gate, error: Exception) -> None:
    """It is told as not definite; the order watch goes on from there."""
    gate.door.answers["cancel"] = error
    gate.submit()
    gate.bus.publish(CancelOrders(ts_ns=1, client_ids=("1-1-0",), reason=""))
    await gate.rest()
    (failed,) = [event for event in gate.said if isinstance(event, OrderCancelFailed)]
    assert not failed.definite
    assert failed.reason == str(error)


@pytest.mark.parametrize(
    ("answer", "states"),
    [
        (report(OrderState.CANCELLED), [OrderState.CANCELLED]),
        (None, [OrderState.PROVEN_ABSENT]),
        (Unavailable(LONG, "down"), []),
        (ProtocolViolation(LONG, "what"), []),
    ],
    ids=["known", "absent", "silent", "unreadable"],
)
async def test_question(gate: Gate, answer: object, states: list[OrderState]) -> None:
    """An answer is told, its absence too; silence says nothing."""
    gate.submit()
    await gate.rest()
    gate.said.clear()
    gate.door.answers["order"] = answer
    gate.bus.publish(QueryOrder(ts_ns=1, client_id="1-1-0"))
    await gate.rest()
    assert gate.states == states


@pytest.mark.parametrize(
    ("lookup", "asked_s", "states"),
    [
        (Lookup.FULL, 6.5, [OrderState.PROVEN_ABSENT]),
        (Lookup.FULL, 5.5, []),
        (Lookup.OPEN_ONLY, 6.5, []),
        (Lookup.NONE, 6.5, []),
    ],
    ids=["proof", "may_still_arrive", "may_have_ended", "finds_nothing"],
)
async def test_not_known_is_no_proof_by_itself(
    lookup: Lookup, asked_s: float, states: list[OrderState]
) -> None:
    """Asked before the request expired, or of a venue that forgets what ended, it says nothing.

    However late the answer comes: what counts is when it was asked for.
    """
    door = Door()
    door.capabilities = capabilities(LONG, lookup=lookup)
    door.answers["order"] = None
    gate = Gate(door)
    gate.submit(msgspec.structs.replace(REQUEST, expires_ns=5 * SECOND))
    await gate.rest()
    gate.said.clear()
    gate.time.advance(int(asked_s * SECOND))
    door.hold.clear()
    gate.bus.publish(QueryOrder(ts_ns=1, client_id="1-1-0"))
    await gate.rest()
    gate.time.advance(60 * SECOND)
    door.hold.set()
    await gate.rest()
    assert gate.states == states
    await gate.supervisor.close()


async def test_survey(gate: Gate) -> None:
    """All five parts are asked; what fails is None with its error, never empty."""
    gate.door.answers["positions"] = Unavailable(LONG, "positions timed out")
    gate.bus.publish(ReconcileVenue(ts_ns=1, venue=LONG, reason="timer", fills_since_ns=5))
    await gate.rest()
    (snapshot,) = gate.said
    assert isinstance(snapshot, VenueSnapshot)
    assert (snapshot.reason, snapshot.asked_ns) == ("timer", 1_000)
    assert snapshot.positions is None
    answered = (snapshot.orders, snapshot.fills, snapshot.balances, snapshot.funding)
    assert answered == ((), (), (), ())
    assert "positions timed out" in snapshot.error
    assert not snapshot.complete


class PromptDoor(Door):
    """A venue that writes an order at once."""

    def begin(self, request: OrderRequest, sent: Callable[[], None]) -> Any:
        found = self.answers.get("begin")
        if isinstance(found, Exception):
            raise found
        if found == "later":
            return None
        sent()
        self.said_by_then = list(self.answers["gate"].said)
        return self.answer("submit", report(OrderState.ACCEPTED))


@pytest.mark.parametrize(
    ("begin", "states"),
    [
        (None, [OrderState.SENT, OrderState.ACCEPTED]),
        ("later", [OrderState.SENT, OrderState.ACCEPTED]),
        (RateLimited(LONG, "slow"), [OrderState.REJECTED]),
        (OutcomeUnknown(LONG, "reset"), [OrderState.UNKNOWN]),
    ],
    ids=["at_once", "later", "refused", "unknown"],
)
async def test_order_that_is_written_at_once(begin: object, states: list[OrderState]) -> None:
    """Written before anything is said, SENT when the command has been handled.

    Errors mean the same as from a task.
    """
    door = PromptDoor()
    gate = Gate(door)
    door.answers |= {"begin": begin, "gate": gate}
    gate.time.advance(5_000)
    gate.submit(read_ns=2_000)
    if begin is None:
        assert door.said_by_then == []
        assert gate.states == [OrderState.SENT]
        assert gate.latency.tick_to_order_us == [3.0]
    await gate.rest()
    assert gate.states == states
    await gate.supervisor.close()


async def test_comparisons_do_not_pile_up(gate: Gate) -> None:
    """What is asked for while one is under way is one more after it, that answers all of them."""
    gate.door.hold.clear()
    for reason, since_ns in (("start", 9), ("reconnect", 8), (MISSING_FILLS, 3), ("timer", 7)):
        gate.bus.publish(
            ReconcileVenue(ts_ns=1, venue=LONG, reason=reason, fills_since_ns=since_ns)
        )
    await gate.rest()
    assert gate.door.asked.count("fills") == 1
    gate.door.hold.set()
    await gate.rest()
    assert gate.door.since == [9, 3]
    assert [event.reason for event in gate.said if isinstance(event, VenueSnapshot)] == [
        "start",
        "timer",
    ]
    gate.bus.publish(ReconcileVenue(ts_ns=1, venue=LONG, reason="later", fills_since_ns=1))
    await gate.rest()
    assert gate.door.since[-1] == 1


async def test_an_answer_that_takes_long_is_waited_for(gate: Gate) -> None:
    """Asking again while it comes together would make each answer longer than the one before."""
    gate.door.hold.clear()
    for reason, since_ns in (("start", 9), (UNANSWERED, 3), (UNANSWERED, 2)):
        gate.bus.publish(
            ReconcileVenue(ts_ns=1, venue=LONG, reason=reason, fills_since_ns=since_ns)
        )
    await gate.rest()
    gate.door.hold.set()
    await gate.rest()
    assert gate.door.since == [9]
    gate.bus.publish(ReconcileVenue(ts_ns=1, venue=LONG, reason=UNANSWERED, fills_since_ns=5))
    await gate.rest()
    assert gate.door.since == [9, 5]


async def test_transfers_are_asked_for_where_wanted(gate: Gate) -> None:
    """Questions that are merged ask from the earlier time; an answer that failed is unknown."""
    gate.door.hold.clear()
    for since_ns in (None, 7, None, 4):
        gate.bus.publish(
            ReconcileVenue(
                ts_ns=1,
                venue=LONG,
                reason="timer",
                fills_since_ns=9,
                transfers_since_ns=since_ns,
            )
        )
    gate.door.hold.set()
    await gate.rest()
    assert gate.door.moved_since == [4]
    gate.door.answers["transfers"] = Unavailable(LONG, "no ledger")
    gate.bus.publish(
        ReconcileVenue(ts_ns=1, venue=LONG, reason="timer", fills_since_ns=9, transfers_since_ns=1)
    )
    await gate.rest()
    told = [event for event in gate.said if isinstance(event, VenueSnapshot)]
    assert [event.transfers for event in told] == [None, (), None]
    assert "no ledger" in told[-1].error
    assert told[-1].complete


async def test_funding_is_asked_for_from_a_time_of_its_own(gate: Gate) -> None:
    """The earlier one of questions that are merged; without it as far back as executions."""
    gate.door.hold.clear()
    for since_ns in (None, 7, None, 4):
        gate.bus.publish(
            ReconcileVenue(
                ts_ns=1, venue=LONG, reason="timer", fills_since_ns=9, funding_since_ns=since_ns
            )
        )
    gate.door.hold.set()
    await gate.rest()
    assert gate.door.paid_since == [9, 4]
    assert gate.door.since == [9, 9]


async def test_what_an_order_asked_for_does_not_stand_for_a_comparison(gate: Gate) -> None:
    """A whole comparison and missing fills together are a whole comparison that looks back far."""
    gate.door.hold.clear()
    for reason, since_ns in (("start", 9), ("reconnect", 8), (MISSING_FILLS, 3)):
        gate.bus.publish(
            ReconcileVenue(ts_ns=1, venue=LONG, reason=reason, fills_since_ns=since_ns)
        )
    gate.door.hold.set()
    await gate.rest()
    assert [event.reason for event in gate.said if isinstance(event, VenueSnapshot)] == [
        "start",
        "reconnect",
    ]
    assert gate.door.since == [9, 3]
