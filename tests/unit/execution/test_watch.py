"""The order watch: every order that owes an answer is asked about, and none is sent again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    Event,
    FillReported,
    GateDecision,
    OrderPlaced,
    OrderReported,
    OrderSent,
    OrderUnknown,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
)
from perpbot.domain.orders import FillReport
from perpbot.domain.sides import OrderState, Side, TimeInForce
from perpbot.execution.watch import MISSING_FILLS, OrderWatch
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.transfers import BookedTransfers
from tests.unit.execution.stand import LONG, START_NS, d
from tests.unit.execution.test_gateway import report
from tests.unit.execution.test_pair import order


class Post:
    """A watch on one order, and what it said."""

    def __init__(self, time_in_force: TimeInForce = TimeInForce.IOC) -> None:
        self.time = VirtualTime(START_NS)
        self.bus = EventBus(self.time)
        self.orders = OrderTable()
        self.booked = BookedTrades()
        for component in (self.orders, self.booked):
            for event_class, fold in component.folds().items():
                self.bus.subscribe(event_class, fold)
        rates = CurrencyRates(assumed=d(1))
        intake = ReportIntake(
            self.bus, self.time, self.orders, self.booked, BookedTransfers(), rates, lambda *_: ""
        )
        self.watch = OrderWatch(
            self.bus, self.time, self.time, self.orders, intake, alarm_after_s=10.0
        )
        self.said: list[tuple[int, Event]] = []
        for kind in (OrderUnknown, QueryOrder, ReconcileVenue, CancelOrders, AlertFired):
            self.bus.subscribe(kind, self._hear)
        self.time_in_force = time_in_force

    def _hear(self, event: Event) -> None:
        self.said.append(((self.time.now_ns() - START_NS) // MS, event))

    def head(self, **more: Any) -> dict[str, Any]:
        return {"ts_ns": self.time.now_ns(), "client_id": "1-1-0", "venue": LONG, **more}

    def submit(self) -> None:
        request = msgspec.structs.replace(order("1-1", 0), time_in_force=self.time_in_force)
        self.bus.publish(
            SubmitOrders(
                ts_ns=self.time.now_ns(),
                orders=(request,),
                decision=GateDecision(gate="open", checks={}, ts_ns=0),
            )
        )

    def placed(self) -> None:
        self.submit()
        self.bus.publish(OrderSent(**self.head()))
        self.bus.publish(OrderPlaced(**self.head(venue_order_id="77")))

    def says(self, state: OrderState, **more: Any) -> None:
        """A report of the venue."""
        told = msgspec.structs.replace(report(state), **more)
        self.bus.publish(OrderReported(ts_ns=self.time.now_ns(), report=told))

    def fills(self, quantity: str) -> None:
        """An execution is told."""
        self.bus.publish(
            FillReported(
                ts_ns=self.time.now_ns(),
                report=FillReport(
                    venue=LONG,
                    account="main",
                    trade_id=quantity,
                    client_id="1-1-0",
                    venue_order_id="77",
                    symbol="BTCUSDT",
                    asset="BTC-PERP",
                    side=Side.BUY,
                    price=d(100),
                    quantity=d(quantity),
                    fee=d(0),
                    fee_currency="USDT",
                ),
            )
        )

    def run(self, ms: int) -> list[str]:
        """Let time pass; return what was said meanwhile."""
        self.said.clear()
        self.time.run_until(self.time.now_ns() + ms * MS)
        return [event.kind for _, event in self.said]

    def times(self, kind: type[Event]) -> list[int]:
        return [at for at, event in self.said if isinstance(event, kind)]

    @property
    def state(self) -> OrderState:
        found = self.orders.get("1-1-0")
        assert found is not None
        return found.state


@pytest.mark.parametrize("sent", [False, True], ids=["intent", "sent"])
def test_silence_becomes_unknown_and_is_asked_about(*, sent: bool) -> None:
    """Two seconds without an answer: unknown; then questions at growing intervals."""
    post = Post()
    post.submit()
    if sent:
        post.bus.publish(OrderSent(**post.head()))
    assert post.run(2_000) == []
    post.run(30_000)
    assert post.state is OrderState.UNKNOWN
    asked = post.times(QueryOrder)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] <= 2_300
    assert gaps[:5] == [200, 400, 800, 1_600, 3_200]
    assert set(gaps[5:]) == {5_000}
    assert len(post.times(AlertFired)) == 1


def test_an_unknown_order_that_is_found_is_left_alone() -> None:
    """The venue has it and it rests: no more questions."""
    post = Post(TimeInForce.GTC)
    post.submit()
    post.run(3_000)
    post.says(OrderState.ACCEPTED)
    assert post.run(30_000) == []


def test_immediate_order_that_does_not_end_is_asked_about() -> None:
    """An IOC order is over at once; when nobody says so, ask."""
    post = Post()
    post.placed()
    assert post.run(2_000) == []
    assert set(post.run(3_000)) == {"QUERY_ORDER"}
    post.says(OrderState.CANCELLED)
    assert post.run(10_000) == []


def test_resting_order_owes_nothing() -> None:
    """A maker order may rest for ever."""
    post = Post(TimeInForce.POST_ONLY)
    post.placed()
    assert post.run(60_000) == []


def test_fills_that_were_only_spoken_of_are_fetched() -> None:
    """The venue says filled, no execution came: compare fills, and ask."""
    post = Post(TimeInForce.GTC)
    post.placed()
    post.says(OrderState.PARTIALLY_FILLED, filled=d(1))
    assert post.run(200) == []
    post.run(400)
    found = next(event for _, event in post.said if isinstance(event, ReconcileVenue))
    assert found.reason == MISSING_FILLS
    assert START_NS - found.fills_since_ns == 60 * SECOND
    post.fills("1")
    assert post.run(5_000) == []


def test_ended_order_owes_its_fills_too() -> None:
    """Cancelled with a fill that nobody told: it is not settled before that is booked."""
    post = Post()
    post.placed()
    post.says(OrderState.CANCELLED, filled=d("0.5"))
    assert "RECONCILE_VENUE" in post.run(1_000)
    post.fills("0.5")
    assert post.run(5_000) == []
    assert not list(post.orders.unsettled())


def test_cancel_without_an_answer_is_asked_for_again() -> None:
    """A cancel may be repeated; the order is asked about as well."""
    post = Post(TimeInForce.GTC)
    post.placed()
    post.bus.publish(CancelOrders(ts_ns=START_NS, client_ids=("1-1-0",), reason="test"))
    assert post.state is OrderState.PENDING_CANCEL
    assert post.run(2_000) == []
    for _ in range(2):
        assert post.run(2_100) == ["CANCEL_ORDERS", "QUERY_ORDER"]
    post.says(OrderState.CANCELLED)
    assert post.run(10_000) == []


def test_resume_asks_at_once() -> None:
    """What an ended process left between intent and answer is unknown from the start."""
    post = Post()
    post.submit()
    post.watch.resume()
    assert post.state is OrderState.UNKNOWN
    assert post.run(150) == ["QUERY_ORDER"]


def test_resume_leaves_resting_orders() -> None:
    """An order that rests is not unknown because we restarted."""
    post = Post(TimeInForce.GTC)
    post.placed()
    post.watch.resume()
    assert post.state is OrderState.ACCEPTED
    assert post.run(10_000) == []


def test_alarm_comes_once_for_each_spell() -> None:
    """A new order that cannot be resolved raises its own alarm after all was settled."""
    post = Post()
    post.submit()
    post.run(40_000)
    assert len(post.times(AlertFired)) == 1
    post.says(OrderState.CANCELLED)
    post.run(1_000)
    assert post.run(60_000) == []
