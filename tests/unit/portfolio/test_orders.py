"""The order table: every pair of state and input, and any order of news."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    CancelOrders,
    Event,
    OrderCancelFailed,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderSent,
    OrderUnknown,
    SubmitOrders,
)
from perpbot.domain.sides import OrderState, Purpose, Side
from perpbot.kernel.fold import DurableState
from perpbot.portfolio import orders as module
from perpbot.portfolio.orders import TRANSITIONS, Order, OrderInput, OrderTable, next_state
from tests.unit.portfolio.office import DECISION, d, request

S, I = OrderState, OrderInput  # noqa: E741 - tables read better

ENDS = {S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED, S.PROVEN_ABSENT}
REFUSED = {
    (S.INTENT, I.PROVEN_ABSENT),
    (S.SENT, I.PROVEN_ABSENT),
    *((state, I.FAILED) for state in (S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL, *ENDS)),
    *(
        (state, I.PROVEN_ABSENT)
        for state in (S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL, *ENDS)
    ),
}


@pytest.mark.parametrize("state", list(S), ids=str)
@pytest.mark.parametrize("happened", list(I), ids=str)
def test_every_pair_is_legal_or_refused(state: OrderState, happened: OrderInput) -> None:
    """The table is whole; only what contradicts the past is refused."""
    if (state, happened) in REFUSED:
        with pytest.raises(StateConflict, match=f"that is {state} cannot be {happened}"):
            next_state(state, happened)
        return
    after = next_state(state, happened)
    if state in ENDS:
        assert after is (S.FILLED if happened is I.FULL_FILL else state)
    elif happened is I.FULL_FILL:
        assert after is S.FILLED
    elif happened in {I.CANCELLED, I.EXPIRED, I.FAILED, I.PROVEN_ABSENT}:
        assert after.is_end
    else:
        assert not after.is_end


def test_the_table_speaks_of_every_state() -> None:
    """A new state needs a row."""
    assert set(TRANSITIONS) == set(S)


class Book:
    """An order table fed with events."""

    def __init__(self) -> None:
        self.table = OrderTable()
        self.state = DurableState([self.table])
        self.trades = 0

    def apply(self, *events: Event) -> Book:
        for event in events:
            self.state.apply(event)
        return self

    def submit(self, *ids: str, **changes: Any) -> Book:
        orders = tuple(request(client_id, **changes) for client_id in ids)
        return self.apply(SubmitOrders(ts_ns=1, orders=orders, decision=DECISION))

    def fill(self, quantity: str, client_id: str = "a", **changes: Any) -> Book:
        self.trades += 1
        return self.apply(a_fill(quantity, client_id, trade_id=str(self.trades), **changes))

    @property
    def state_now(self) -> OrderState:
        return self.order.state

    @property
    def order(self) -> Order:
        found = self.table.get("a")
        assert found is not None
        return found


def a_fill(quantity: str, client_id: str = "a", **changes: Any) -> OrderFilled:
    """Return an execution."""
    fields: dict[str, Any] = {
        "client_id": client_id,
        "venue": "okx",
        "trade_id": "1",
        "side": Side.BUY,
        "price": d(100),
        "quantity": d(quantity),
        "fee_usd": d("0.5"),
    }
    return OrderFilled(**(fields | changes))


SENT = OrderSent(client_id="a", venue="okx")
PLACED = OrderPlaced(client_id="a", venue="okx", venue_order_id="v1")
UNKNOWN = OrderUnknown(client_id="a", venue="okx", reason="timeout")
CANCEL = CancelOrders(client_ids=("a", "not-ours"), reason="late")
CANCEL_FAILED = OrderCancelFailed(client_id="a", venue="okx", reason="silence", definite=False)


def cancelled(filled: str = "0") -> OrderCancelled:
    """Return the end of order `a`."""
    return OrderCancelled(client_id="a", venue="okx", filled=d(filled), reason="asked")


def test_a_way_through_life() -> None:
    """Intent, sent, placed, two fills."""
    book = Book().submit("a").apply(SENT, PLACED)
    assert (book.order.state, book.order.venue_order_id) == (S.ACCEPTED, "v1")
    book.fill("4", price=d(90))
    assert (book.order.state, book.order.remaining) == (S.PARTIALLY_FILLED, d(6))
    book.fill("6")

    assert book.order.state is S.FILLED
    assert book.order.average_price == d(96)
    assert book.order.fee_usd == d(1)
    assert book.order.settled
    assert list(book.table.unsettled()) == []
    assert book.table.count == 1


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (OrderFailed(client_id="a", reason="no money"), S.REJECTED),
        (UNKNOWN, S.UNKNOWN),
        (OrderExpired(client_id="a", reason="ioc"), S.EXPIRED),
        (cancelled(), S.CANCELLED),
    ],
    ids=lambda value: str(getattr(value, "kind", "")),
)
def test_what_a_venue_may_say_of_an_intent(event: Event, state: OrderState) -> None:
    """The reason is kept."""
    book = Book().submit("a").apply(event)

    assert book.order.state is state
    assert book.order.reason
    assert book.order.average_price is None


def test_absence_is_proven_of_an_unknown_order_only() -> None:
    """An order that was acknowledged cannot have been absent."""
    absent = OrderProvenAbsent(client_id="a", evidence="asked")
    assert Book().submit("a").apply(UNKNOWN, absent).order.state is S.PROVEN_ABSENT

    with pytest.raises(StateConflict):
        Book().submit("a").apply(PLACED, absent)


NEWS = {
    "sent": SENT,
    "placed": PLACED,
    "fill": a_fill("3", trade_id="1"),
    "more": a_fill("3", trade_id="2"),
    "ask": CANCEL,
}


@pytest.mark.parametrize("order", list(permutations(NEWS)), ids="-".join)
def test_any_order_of_news_gives_the_same_order(order: tuple[str, ...]) -> None:
    """Acknowledgement, fills and a cancel that is asked for commute."""
    book = Book().submit("a").apply(*(NEWS[name] for name in order))

    assert (book.state_now, book.order.filled, book.order.remaining) == (
        S.PENDING_CANCEL,
        d(6),
        d(4),
    )
    book.apply(cancelled("6"))
    assert book.state_now is S.CANCELLED
    assert book.order.settled


@pytest.mark.parametrize(
    "order", list(permutations(["placed", "fill", "cancelled"])), ids="-".join
)
def test_a_cancellation_waits_for_the_fills_it_spoke_of(order: tuple[str, ...]) -> None:
    """It ended, but is not settled before everything the venue spoke of is booked."""
    news = {"placed": PLACED, "fill": a_fill("3"), "cancelled": cancelled("3")}
    book = Book().submit("a")
    for name in order:
        book.apply(news[name])
        unsettled = [found.request.client_id for found in book.table.unsettled()]
        assert unsettled == ([] if book.order.settled else ["a"])

    assert book.order.state is S.CANCELLED
    assert book.order.settled
    assert book.order.open_quantity == 0


def test_a_full_fill_wins_over_a_cancellation() -> None:
    """In both orders."""
    for events in ([a_fill("10"), cancelled()], [cancelled(), a_fill("10")]):
        assert Book().submit("a").apply(*events).order.state is S.FILLED


@pytest.mark.parametrize("end", sorted(ENDS), ids=str)
def test_every_end_takes_a_late_fill(end: OrderState) -> None:
    """The quantity is booked; the end stays unless the order turns out full."""
    ways: dict[OrderState, tuple[Event, ...]] = {
        S.FILLED: (a_fill("10"),),
        S.CANCELLED: (cancelled(),),
        S.EXPIRED: (OrderExpired(client_id="a"),),
        S.REJECTED: (OrderFailed(client_id="a", reason="r"),),
        S.PROVEN_ABSENT: (UNKNOWN, OrderProvenAbsent(client_id="a", evidence="e")),
    }
    book = Book().submit("a").apply(*ways[end])
    before = book.order.filled
    book.fill("1")

    assert (book.order.state, book.order.filled) == (end, before + 1)
    assert book.order.settled


def test_an_overfill_is_kept_apart_and_counted() -> None:
    """What a venue filled beyond the order is ours all the same."""
    book = Book().submit("a").fill("9").fill("3")

    assert book.order.overfill == d(2)
    assert book.order.remaining == 0
    assert book.table.overfills == 1


def test_a_failed_cancel_may_be_asked_again() -> None:
    """The order rests again, partly filled if it was, and is not taken for cancelled."""
    book = Book().submit("a").apply(PLACED, CANCEL)
    assert (book.order.state, book.order.cancel_asked) == (S.PENDING_CANCEL, True)
    book.apply(CANCEL_FAILED)
    assert (book.order.state, book.order.cancel_asked) == (S.ACCEPTED, False)
    book.fill("1").apply(CANCEL, CANCEL_FAILED)

    assert (book.order.state, book.order.cancel_asked) == (S.PARTIALLY_FILLED, False)


def test_an_order_that_rests_after_a_cancel_was_asked_is_pending() -> None:
    """The cancel that was asked before the acknowledgement still has an answer to come."""
    assert Book().submit("a").apply(CANCEL, PLACED).order.state is S.PENDING_CANCEL


def test_a_client_id_is_used_once() -> None:
    """Two intents of one id are a programming error."""
    with pytest.raises(StateConflict, match="used twice"):
        Book().submit("a", "a")


def test_facts_of_orders_that_are_not_ours_change_nothing() -> None:
    """They are the intake's to tell."""
    book = Book().submit("b")
    before = book.state.dump()
    book.apply(SENT, PLACED, UNKNOWN, cancelled(), a_fill("1"), a_fill("1", ""))

    assert book.state.dump() == before


def test_the_venue_id_finds_the_order() -> None:
    """Also when a fill told it first; a newer id takes the place of the old."""
    book = Book().submit("a").fill("1", venue_order_id="v0")
    assert book.table.by_venue_id("okx", "v0") is book.order
    book.apply(PLACED, OrderPlaced(client_id="a", venue="okx", venue_order_id=""))

    assert book.table.by_venue_id("okx", "v1") is book.order
    assert book.table.by_venue_id("okx", "v0") is None
    assert book.table.by_venue_id("binance", "v1") is None


def test_unsettled_orders_by_owner_and_what_they_may_still_reduce() -> None:
    """Signed: a sell of a long counts down."""
    book = Book().submit("a", owner="p1", purpose=Purpose.REDUCE, side=Side.SELL)
    book.submit("b", owner="p2", purpose=Purpose.PROTECT, side=Side.BUY)
    book.submit("c", owner="p2", purpose=Purpose.OPEN)
    book.submit("d", owner="p2", purpose=Purpose.REDUCE, venue="binance")
    book.fill("4")
    owned = [order.request.client_id for order in book.table.of_owner("p2")]
    assert owned == ["b", "c", "d"]
    assert book.table.open_reduction("okx", "main", "BTC-PERP") == d(-6) + d(10)

    book.apply(OrderCancelled(client_id="b", venue="okx", filled=d(3)))

    assert book.table.open_reduction("okx", "main", "BTC-PERP") == d(-6) + d(3)
    stored = book.table.request("b")
    assert stored is not None
    assert stored.client_id == "b"
    assert book.table.request("zz") is None


def test_the_last_change_of_a_leg_is_known() -> None:
    """0 when nothing happened there; what moves no position is no change of it."""
    book = Book().submit("a").apply(OrderPlaced(client_id="a", venue_order_id="1", ts_ns=77))
    book.submit("b").apply(OrderSent(client_id="b", ts_ns=78))
    book.apply(OrderFailed(client_id="b", reason="reduce only", code="1", ts_ns=79))

    assert book.table.last_change_ns("okx", "main", "BTC-PERP") == 77
    assert book.table.last_change_ns("okx", "main", "ETH-PERP") == 0


def test_old_settled_orders_are_forgotten_and_live_ones_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the order in which they settled; their venue ids go with them."""
    monkeypatch.setattr(module, "KEPT_ENDED", 3)
    book = Book().submit("live")
    for number in range(6):
        name = str(number)
        book.submit(name)
        placed = OrderPlaced(client_id=name, venue="okx", venue_order_id=f"v{name}")
        book.apply(placed, OrderCancelled(client_id=name, venue="okx"))

    kept = [name for name in ("live", *map(str, range(6))) if book.table.get(name)]
    assert kept == ["live", "3", "4", "5"]
    assert book.table.by_venue_id("okx", "v2") is None
    assert len(book.table._by_venue_id) == 3


def test_an_order_that_becomes_unsettled_again_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The venue told more fills after the end."""
    monkeypatch.setattr(module, "KEPT_ENDED", 1)
    book = Book().submit("a", "b", "c").apply(cancelled())
    book.apply(cancelled("2"))
    assert not book.order.settled
    for name in ("b", "c"):
        book.apply(OrderCancelled(client_id=name, venue="okx"))

    assert book.table.get("a") is not None
    assert book.table.get("b") is None


INPUTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["sent", "placed", "fill", "ask", "cancelled", "unknown", "failed"]),
    ),
    max_size=40,
)


@given(INPUTS, st.integers(0, 40))
@settings(max_examples=60)
def test_a_snapshot_in_the_middle_changes_nothing(steps: list[tuple[str, str]], cut: int) -> None:
    """Snapshot and tail give the bytes that the whole journal gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "KEPT_ENDED", 1)
        whole, second = Book().submit("a", "b", "c"), Book()
        for number, (client_id, what) in enumerate(steps):
            if number == cut:
                second.state.load(whole.state.dump())
            events: dict[str, Event] = {
                "sent": OrderSent(client_id=client_id, venue="okx"),
                "placed": OrderPlaced(client_id=client_id, venue="okx", venue_order_id=client_id),
                "fill": a_fill("4", client_id, trade_id=str(number)),
                "ask": CancelOrders(client_ids=(client_id,), reason="r"),
                "cancelled": OrderCancelled(client_id=client_id, venue="okx", filled=d(4)),
                "unknown": OrderUnknown(client_id=client_id, reason="r"),
                "failed": OrderFailed(client_id=client_id, reason="r"),
            }
            try:
                whole.apply(events[what])
            except StateConflict:
                return
            if number >= cut:
                second.apply(events[what])
        if cut < len(steps):
            assert second.state.dump() == whole.state.dump()
            live = [order.request.client_id for order in whole.table.unsettled()]
            assert [order.request.client_id for order in second.table.unsettled()] == live


class OrderMachine(RuleBasedStateMachine):
    """Whatever legal news comes: filled only grows, ends stay ends, live orders are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book().submit("a")
        self.filled = Decimal(0)
        self.ended: OrderState | None = None

    @property
    def state(self) -> OrderState:
        return self.book.order.state

    @rule()
    def sent(self) -> None:
        self.book.apply(SENT)

    @rule()
    def placed(self) -> None:
        self.book.apply(PLACED)

    @rule()
    def unknown(self) -> None:
        self.book.apply(UNKNOWN)

    @rule()
    def ask_cancel(self) -> None:
        self.book.apply(CANCEL)

    @rule()
    def cancel_fails(self) -> None:
        self.book.apply(CANCEL_FAILED)

    @rule(quantity=st.integers(1, 6))
    def fill(self, quantity: int) -> None:
        self.book.fill(str(quantity))
        self.filled += quantity

    @rule(filled=st.integers(0, 12), expired=st.booleans())
    def end(self, filled: int, expired: bool) -> None:
        kind = OrderExpired if expired else OrderCancelled
        self.book.apply(kind(client_id="a", venue="okx", filled=Decimal(filled)))

    @precondition(lambda self: self.state in {S.INTENT, S.SENT, S.UNKNOWN})
    @rule()
    def refused(self) -> None:
        self.book.apply(OrderFailed(client_id="a", reason="no"))

    @precondition(lambda self: self.state is S.UNKNOWN)
    @rule()
    def proven_absent(self) -> None:
        self.book.apply(OrderProvenAbsent(client_id="a", evidence="e"))

    @invariant()
    def filled_is_the_sum_of_fills(self) -> None:
        order = self.book.order
        assert order.filled == self.filled
        assert order.overfill == max(self.filled - 10, Decimal(0))
        assert (self.filled >= 10) == (order.state is S.FILLED)

    @invariant()
    def an_end_stays_an_end(self) -> None:
        if self.ended is not None:
            assert self.state in {self.ended, S.FILLED}
        if self.state.is_end:
            self.ended = self.state

    @invariant()
    def what_is_not_settled_has_a_next_action(self) -> None:
        listed = [order.request.client_id for order in self.book.table.unsettled()]
        assert listed == ([] if self.book.order.settled else ["a"])

    @invariant()
    def resting_states_follow_from_the_news(self) -> None:
        order = self.book.order
        if order.state is S.ACCEPTED:
            assert order.filled == 0
        if order.state in {S.ACCEPTED, S.PARTIALLY_FILLED}:
            assert not order.cancel_asked


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
