"""The reconcile driver: when it asks, and what it makes of an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    CancelOrders,
    ConnectionState,
    Event,
    ForeignOrderSeen,
    FundingPaid,
    GateDecision,
    OrderFilled,
    OrderPlaced,
    PositionAdjusted,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
    Transfer,
    VenueConnectionChanged,
    VenueReconciled,
    VenueSnapshot,
)
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
    TransferReport,
)
from perpbot.domain.sides import OrderState, Side, TimeInForce
from perpbot.execution.reconcile import ReconcileDriver
from perpbot.execution.watch import MISSING_FILLS
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.transfers import BookedTransfers
from tests.unit.execution.stand import ASSET, LONG, SHORT, START_NS, d
from tests.unit.execution.test_gateway import report
from tests.unit.execution.test_pair import order

NOTHING: dict[str, tuple[Any, ...]] = {
    "orders": (),
    "fills": (),
    "positions": (),
    "balances": (),
    "funding": (),
}


class Table:
    """A driver of two venues, and what it said."""

    def __init__(self, lookup: Lookup = Lookup.FULL) -> None:
        self.time = VirtualTime(START_NS)
        self.bus = EventBus(self.time)
        self.orders = OrderTable()
        self.booked = BookedTrades()
        self.transfers = BookedTransfers()
        self.positions = PositionBook()
        for component in (self.orders, self.booked, self.transfers, self.positions):
            for event_class, fold in component.folds().items():
                self.bus.subscribe(event_class, fold)
        intake = ReportIntake(
            self.bus,
            self.time,
            self.orders,
            self.booked,
            self.transfers,
            CurrencyRates(assumed=d(1)),
            lambda *_: "",
        )
        self.driver = ReconcileDriver(
            self.bus,
            self.time,
            self.time,
            self.orders,
            self.positions,
            intake,
            [
                Capabilities(
                    venue=venue,
                    operator=venue,
                    lookup=lookup,
                    maker_fee_bps=d(2),
                    taker_fee_bps=d(5),
                    fees_as_of="2026-01-01",
                    reconcile_interval_s=10.0,
                )
                for venue in (LONG, SHORT)
            ],
        )
        self.said: list[Event] = []
        self.bus.subscribe(Event, self.said.append)

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]

    def asked(self, venue: str = LONG) -> list[str]:
        return [event.reason for event in self.told(ReconcileVenue) if event.venue == venue]

    def run(self, ms: int) -> None:
        self.time.run_until(self.time.now_ns() + ms * MS)

    def answer(
        self, *, venue: str = LONG, reason: str = "timer", after_ms: int = 0, **parts: Any
    ) -> None:
        """The venue's answer, complete unless a part is None."""
        now_ns = self.time.now_ns()
        self.bus.publish(
            VenueSnapshot(
                ts_ns=now_ns,
                venue=venue,
                reason=reason,
                asked_ns=now_ns - after_ms * MS,
                **{**NOTHING, **parts},
            )
        )

    def rest_order(self) -> None:
        """An order of ours rests."""
        request = msgspec.structs.replace(order("1-1", 0), time_in_force=TimeInForce.GTC)
        decision = GateDecision(gate="open", checks={}, ts_ns=0)
        now_ns = self.time.now_ns()
        self.bus.publish(SubmitOrders(ts_ns=now_ns, orders=(request,), decision=decision))
        self.bus.publish(
            OrderPlaced(ts_ns=now_ns, client_id="1-1-0", venue=LONG, venue_order_id="77")
        )


def position(quantity: str, *, price: str = "100") -> PositionReport:
    """A position at the venue."""
    return PositionReport(
        venue=LONG,
        account="main",
        symbol="BTCUSDT",
        asset=ASSET,
        quantity=d(quantity),
        mark_price=d(price),
    )


def execution(client_id: str = "") -> FillReport:
    """One coin was bought."""
    return FillReport(
        venue=LONG,
        account="main",
        trade_id="t1",
        client_id=client_id,
        venue_order_id="77" if client_id else "5",
        symbol="BTCUSDT",
        asset=ASSET,
        side=Side.BUY,
        price=d(100),
        quantity=d(1),
        fee=d(0),
        fee_currency="USDT",
    )


def test_asks_at_the_start_and_on_its_timer() -> None:
    """Each venue by its own interval, looking back an hour first, then with an overlap."""
    table = Table()
    table.driver.start()
    assert (table.asked(LONG), table.asked(SHORT)) == (["start"], ["start"])
    first = table.told(ReconcileVenue)[0]
    assert START_NS - first.fills_since_ns == 3_600 * SECOND
    table.answer()
    (concluded,) = table.told(VenueReconciled)
    assert concluded.agreed
    table.run(9_900)
    assert table.asked(LONG) == ["start"]
    table.run(200)
    assert table.asked(LONG) == ["start", "timer"]
    last = table.told(ReconcileVenue)[-1]
    assert START_NS - last.fills_since_ns == 10 * SECOND


def test_a_difference_makes_it_look_back_further() -> None:
    """What the venue listed late explains it: a minute is asked for then, not ten seconds."""
    table = Table()
    table.driver.start()
    table.answer()
    table.run(10_100)
    asked_ns = table.time.now_ns()
    table.answer(positions=(position("0.5"),))
    table.run(1_100)
    assert table.asked(LONG) == ["start", "timer", "confirm"]
    assert asked_ns - table.told(ReconcileVenue)[-1].fills_since_ns == 60 * SECOND


def test_funding_is_asked_for_from_further_back() -> None:
    """Venues list payments minutes late, and no position tells that one is missing."""
    table = Table()
    born_ns = START_NS - 5_000 * SECOND
    table.driver.start(lambda _venue: START_NS - 86_400 * SECOND, born_ns=born_ns)
    table.answer()
    table.run(10_100)
    last = table.told(ReconcileVenue)[-1]
    assert last.funding_since_ns == START_NS - 3_660 * SECOND
    again = Table()
    again.driver.start(lambda _venue: START_NS - 10 * SECOND, born_ns=START_NS - 10 * SECOND)
    assert again.told(ReconcileVenue)[-1].funding_since_ns == START_NS - 10 * SECOND


def test_question_without_an_answer_is_repeated() -> None:
    """Whoever carries the question may die: it is asked again."""
    table = Table()
    table.driver.start()
    table.run(31_000)
    assert table.asked() == ["start", "unanswered", "unanswered"]


def test_reconnect_of_the_private_stream_asks() -> None:
    """News may have been lost meanwhile; other channels and venues do not matter."""
    table = Table()
    for venue, channel, state in (
        (LONG, "private", ConnectionState.LIVE),
        (LONG, "public", ConnectionState.LIVE),
        (LONG, "private", ConnectionState.DOWN),
        ("unheard", "private", ConnectionState.LIVE),
    ):
        table.bus.publish(
            VenueConnectionChanged(ts_ns=1, venue=venue, channel=channel, state=state)
        )
    assert table.asked() == ["reconnect"]


def test_missed_execution_is_booked_and_the_venue_asked_again() -> None:
    """What was missed is a fact; positions are compared once it is folded."""
    table = Table()
    table.rest_order()
    table.driver.start()
    table.answer(fills=(execution("1-1-0"),), positions=(position("1"),))
    (filled,) = table.told(OrderFilled)
    assert (filled.reconciled, filled.client_id) == (True, "1-1-0")
    assert not table.told(VenueReconciled)
    table.run(1)
    assert table.asked() == ["start", "missed_fills"]
    assert START_NS - table.told(ReconcileVenue)[-1].fills_since_ns == 10 * SECOND
    table.answer(
        fills=(execution("1-1-0"),),
        positions=(position("1"),),
        orders=(report(OrderState.ACCEPTED),),
    )
    assert [event.agreed for event in table.told(VenueReconciled)] == [True]
    assert len(table.told(OrderFilled)) == 1


@pytest.mark.parametrize("part", ["orders", "fills", "positions", "balances"])
def test_missing_part_is_unknown(part: str) -> None:
    """Nothing is adjusted and nothing opens on an answer with a hole; it is soon asked again."""
    table = Table()
    table.driver.start()
    answer: dict[str, Any] = {"positions": (position("5"),), part: None}
    for _ in range(4):
        table.answer(error="timed out", **answer)
        table.run(1_001)
    assert not table.told(PositionAdjusted)
    assert {event.agreed for event in table.told(VenueReconciled)} == {False}
    assert table.asked() == ["start", *["retry"] * 4]


def test_failed_answer_does_not_move_the_time_to_look_back_to() -> None:
    """Fills since the last complete answer are asked for, however long that is."""
    table = Table()
    table.driver.start()
    table.answer()
    for _ in range(200):
        table.answer(fills=None, error="down")
        table.run(1_001)
    assert table.told(ReconcileVenue)[-1].fills_since_ns == START_NS - 60 * SECOND


def test_missing_payments_are_asked_for_again() -> None:
    """Positions are compared without them, but the time to look back to stays."""
    table = Table()
    table.driver.start()
    table.answer(funding=None, error="down")
    assert table.told(VenueReconciled)[-1].agreed
    table.run(10_001)
    assert START_NS - table.told(ReconcileVenue)[-1].fills_since_ns == 3_600 * SECOND


def test_answer_to_an_order_does_not_move_it_either() -> None:
    """A question for one order's fills may look back less far than the driver has to."""
    table = Table()
    table.driver.start()
    table.run(5_000)
    table.answer(reason=MISSING_FILLS)
    table.run(11_000)
    assert START_NS - table.told(ReconcileVenue)[-1].fills_since_ns == 3_600 * SECOND


def test_fills_are_asked_for_since_the_books_were_whole() -> None:
    """After a restart however long ago that is; a first run asks for nothing of before."""
    table = Table()
    table.driver.start(lambda _venue: START_NS - 86_400 * SECOND)

    assert table.told(ReconcileVenue)[-1].fills_since_ns == START_NS - 86_400 * SECOND


def test_difference_is_adjusted_when_it_is_seen_twice() -> None:
    """Once is chance; the second time our books follow, with a reason and an alarm."""
    table = Table()
    table.driver.start()
    table.answer(positions=(position("0.5"),))
    assert not table.told(PositionAdjusted)
    assert [event.agreed for event in table.told(VenueReconciled)] == [False]
    table.run(1_001)
    assert table.asked()[-1] == "confirm"
    table.answer(positions=(position("0.5"),))
    (adjusted,) = table.told(PositionAdjusted)
    assert (adjusted.delta, adjusted.price) == (d("0.5"), d(100))
    assert "seen 2 times" in adjusted.reason
    alert = table.told(AlertFired)[0]
    assert alert.name == "position_adjusted"
    assert "`perpbot status` tells what to flatten by hand" in alert.text
    table.answer(positions=(position("0.5"),))
    assert [event.agreed for event in table.told(VenueReconciled)][-1]


def test_two_different_differences_are_not_the_same() -> None:
    """Each value has to be seen twice."""
    table = Table()
    for quantity in ("0.5", "0.6", "0.5", "0.7"):
        table.answer(positions=(position(quantity),))
    assert not table.told(PositionAdjusted)


def test_difference_without_a_price_is_never_adjusted() -> None:
    """No price is invented; the venue stays unready."""
    table = Table()
    for _ in range(4):
        table.answer(positions=(position("0.5", price="0"),))
    assert not table.told(PositionAdjusted)
    assert not table.told(VenueReconciled)[-1].agreed


def test_difference_while_an_order_of_ours_is_at_work_waits() -> None:
    """What our own orders may be moving, or just did, is compared later."""
    table = Table()
    table.rest_order()
    listed = report(OrderState.ACCEPTED)
    for _ in range(4):
        table.answer(positions=(position("0.5"),), orders=(listed,))
    assert not table.told(PositionAdjusted)
    assert all(event.agreed for event in table.told(VenueReconciled))


def test_difference_that_orders_keep_interrupting_is_adjusted_all_the_same() -> None:
    """A leg that somebody closed: reductions of it are sent, refused and sent again."""
    table = Table()
    table.answer(positions=(position("0.5"),))
    table.rest_order()
    table.answer(positions=(position("0.5"),), orders=(report(OrderState.ACCEPTED),))
    assert not table.told(PositionAdjusted)
    assert not table.told(VenueReconciled)[-1].agreed
    ended = msgspec.structs.replace(report(OrderState.CANCELLED), filled=d(0))
    table.driver._intake.take_order(ended)
    table.run(5_100)
    table.answer(positions=(position("0.5"),))
    assert len(table.told(PositionAdjusted)) == 1


def test_difference_that_stays_the_same_while_its_leg_trades_keeps_the_venue_shut() -> None:
    """A leg that is never quiet: nothing is adjusted, nothing opens until it has come to rest."""
    table = Table()
    table.rest_order()
    listed = report(OrderState.ACCEPTED)
    for quantity, agreed in (("0.5", True), ("0.6", True), ("0.6", False)):
        table.answer(positions=(position(quantity),), orders=(listed,))
        table.run(6_000)
        table.answer(positions=(position(quantity),), orders=(listed,))
        assert table.told(VenueReconciled)[-1].agreed is agreed
    assert not table.told(PositionAdjusted)
    table.answer(positions=(), orders=(listed,))
    assert table.told(VenueReconciled)[-1].agreed


def test_difference_just_after_an_order_waits() -> None:
    """The stream may still be telling what the snapshot shows."""
    table = Table()
    table.rest_order()
    ended = msgspec.structs.replace(report(OrderState.CANCELLED), filled=d(0))
    table.driver._intake.take_order(ended)
    for _ in range(3):
        table.answer(positions=(position("0.5"),))
    assert not table.told(PositionAdjusted)
    table.run(5_100)
    for _ in range(2):
        table.answer(positions=(position("0.5"),))
    assert len(table.told(PositionAdjusted)) == 1


def test_answer_that_was_long_on_its_way_is_compared_later() -> None:
    """What changed since the venue was asked is not in its answer, however late that comes."""
    table = Table()
    table.rest_order()
    ended = msgspec.structs.replace(report(OrderState.CANCELLED), filled=d(0))
    table.driver._intake.take_order(ended)
    table.run(9_000)
    for _ in range(3):
        table.answer(positions=(position("0.5"),), after_ms=9_500)
    assert not table.told(PositionAdjusted)
    assert all(event.agreed for event in table.told(VenueReconciled))


def test_answers_to_questions_asked_together_are_one_look() -> None:
    """Both may come from the same moment; a third that was asked later confirms."""
    table = Table()
    table.run(1_000)
    for _ in range(3):
        table.answer(positions=(position("0.5"),), after_ms=500)
    assert not table.told(PositionAdjusted)
    table.run(1_000)
    table.answer(positions=(position("0.5"),), after_ms=500)
    assert len(table.told(PositionAdjusted)) == 1


def test_unlisted_order_is_asked_about() -> None:
    """Ours should rest and is not among the open orders."""
    table = Table()
    table.rest_order()
    table.answer()
    assert [event.client_id for event in table.told(QueryOrder)] == ["1-1-0"]


def test_foreign_order_is_told_and_never_cancelled() -> None:
    """An order that is not ours is somebody's."""
    table = Table()
    foreign = OrderReport(
        venue=LONG,
        account="main",
        client_id="",
        venue_order_id="9",
        symbol="BTCUSDT",
        state=OrderState.ACCEPTED,
        filled=Decimal(0),
    )
    for _ in range(3):
        table.answer(orders=(foreign,))
    assert len(table.told(ForeignOrderSeen)) == 1
    assert not table.told(CancelOrders)


def test_balances_and_funding_are_taken_in() -> None:
    """They are published as the account's word; a payment is booked once."""
    table = Table()
    balance = BalanceReport(
        venue=LONG, account="main", currency="USDT", equity=d(5), wallet=d(5), free=d(4)
    )
    paid = FundingReport(
        venue=LONG,
        account="main",
        payment_id="p",
        symbol="BTCUSDT",
        asset=ASSET,
        amount=d("0.1"),
        currency="USDT",
    )
    for _ in range(2):
        table.answer(balances=(balance,), funding=(paid,))
    assert table.told(AccountReported)[0].source == "reconcile"
    assert len(table.told(FundingPaid)) == 1


def test_transfers_are_taken_in_before_the_balances_that_contain_them() -> None:
    """Once, however often they are told, in the order in which everything folds."""
    table = Table()
    balance = BalanceReport(
        venue=LONG, account="main", currency="USDT", equity=d(5), wallet=d(5), free=d(4)
    )
    moved = TransferReport(
        venue=LONG, account="main", transfer_id="t", currency="USDT", amount=d(-7)
    )
    for _ in range(2):
        table.answer(balances=(balance,), transfers=(moved,))
    kinds = [type(event) for event in table.said]
    assert kinds.index(Transfer) < kinds.index(AccountReported)
    assert len(table.told(Transfer)) == 1


def test_transfers_are_asked_for_from_further_back() -> None:
    """An hour before the last answer that told any, but never from before our books began."""
    table = Table()
    born_ns, whole_ns = START_NS - 30_000 * SECOND, START_NS - 20_000 * SECOND
    table.driver.start(lambda _venue: whole_ns, born_ns=born_ns)

    def since() -> list[int | None]:
        asked = [one for one in table.told(ReconcileVenue) if one.venue == LONG]
        return [one.transfers_since_ns for one in asked]

    assert since() == [whole_ns - 3_600 * SECOND]
    table.answer(transfers=None)
    table.run(11_000)
    assert since()[-1] == whole_ns - 3_600 * SECOND
    told_ns = table.time.now_ns()
    table.answer(transfers=())
    table.run(11_000)
    assert since()[-1] == told_ns - 3_600 * SECOND
    again = Table()
    again.driver.start(lambda _venue: whole_ns, born_ns=whole_ns)
    assert again.told(ReconcileVenue)[0].transfers_since_ns == whole_ns


def test_a_venue_is_asked_out_of_turn() -> None:
    """Unless it is a stranger's or all is over."""
    table = Table()
    table.driver.start()
    table.driver.ask(LONG, "unexplained")
    table.driver.ask("unheard", "unexplained")
    table.driver.stop()
    table.driver.ask(LONG, "unexplained")
    assert table.asked() == ["start", "unexplained"]


def test_stranger_is_ignored() -> None:
    """An answer of a venue that is not ours changes nothing."""
    table = Table()
    table.answer(venue="unheard", fills=(execution(),))
    assert len(table.said) == 1


def test_stopped_driver_asks_no_more() -> None:
    """Answers under way are still taken in; no question follows."""
    table = Table()
    table.driver.start()
    table.driver.stop()
    table.answer(fills=(execution(),))
    table.run(60_000)
    assert table.asked() == ["start"]
    assert len(table.told(OrderFilled)) == 1


def test_order_that_a_weak_venue_forgot_is_settled() -> None:
    """Where ended orders are not found by id, two complete answers without it end it."""
    table = Table(Lookup.OPEN_ONLY)
    table.rest_order()
    for _ in range(4):
        table.run(2_000)
        table.answer()
    found = table.orders.get("1-1-0")
    assert found is not None
    assert found.state is OrderState.CANCELLED


def test_order_that_a_weak_venue_lists_again_is_not_settled() -> None:
    """Missed once, listed again: the count starts anew."""
    table = Table(Lookup.OPEN_ONLY)
    table.rest_order()
    for listed in ((), (report(OrderState.ACCEPTED),), (), (report(OrderState.ACCEPTED),)):
        table.run(3_000)
        table.answer(orders=listed)
    found = table.orders.get("1-1-0")
    assert found is not None
    assert found.state is OrderState.ACCEPTED


def test_an_answer_from_before_the_reconnect_concludes_nothing() -> None:
    """It says nothing of what the stream missed; its executions are facts all the same."""
    table = Table()
    table.driver.start()
    table.run(100)
    table.bus.publish(
        VenueConnectionChanged(venue=LONG, channel="private", state=ConnectionState.LIVE)
    )
    table.answer(after_ms=50, fills=(execution(),))
    assert table.told(VenueReconciled) == []
    assert len(table.told(OrderFilled)) == 1
    table.answer()
    assert [event.agreed for event in table.told(VenueReconciled)] == [False]
