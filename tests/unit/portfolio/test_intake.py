"""From reports to facts: once each, in any order, nothing swallowed."""

from __future__ import annotations

from itertools import permutations

import pytest

from perpbot.domain.events import (
    FillReported,
    ForeignOrderSeen,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderReported,
    OrderSent,
    OrderUnknown,
)
from perpbot.domain.sides import OrderState
from tests.unit.portfolio.office import d, fill_report, order_report
from tests.unit.portfolio.telling import S, office, say, state, tell_fill


def test_reports_become_facts_once() -> None:
    """Repeated words add nothing."""
    desk = office()
    for _ in range(2):
        say(desk, order_report(S.SENT, venue_order_id=""), order_report(S.ACCEPTED))
        tell_fill(desk, "t1")

    kinds = [type(e) for e in desk.seen(OrderSent)]
    assert kinds == [OrderSent]
    assert len(desk.seen(OrderPlaced)) == 1
    assert len(desk.seen(OrderFilled)) == 1
    assert desk.intake.duplicates == 1
    assert state(desk) is S.PARTIALLY_FILLED


@pytest.mark.parametrize(
    "order", list(permutations(["ack", "fill", "more", "cancelled"])), ids="-".join
)
def test_any_order_of_reports_gives_the_same_books(order: tuple[str, ...]) -> None:
    """Fill before acknowledgement, cancellation before the fills it speaks of."""
    desk = office()
    reports = {
        "ack": OrderReported(report=order_report(S.ACCEPTED)),
        "fill": FillReported(report=fill_report("t1", "2")),
        "more": FillReported(report=fill_report("t2", "3")),
        "cancelled": OrderReported(report=order_report(S.CANCELLED, filled=d(5))),
    }
    for name in order:
        desk.bus.publish(reports[name])

    found = desk.orders.get("a")
    assert found is not None
    assert (found.state, found.filled, found.settled) == (S.CANCELLED, d(5), True)
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(5)
    assert desk.intake._fills._told == {}
    assert desk.intake._unfolded == {}
    assert desk.intake._fills._in_flight == set()


def test_reports_of_one_answer_are_judged_one_after_another() -> None:
    """A refusal told twice at once ends the order once."""
    desk = office()
    refused = order_report(S.REJECTED, reason="no money", code="51008")
    desk.inside(lambda: desk.intake.take_order(refused), lambda: desk.intake.take_order(refused))

    [failed] = desk.seen(OrderFailed)
    assert (failed.reason, failed.code) == ("no money", "51008")
    assert state(desk) is S.REJECTED


def test_a_refusal_after_a_fill_ends_what_is_left() -> None:
    """What filled stays filled."""
    desk = office()
    tell_fill(desk, "t1")
    say(desk, order_report(S.REJECTED))
    say(desk, order_report(S.REJECTED))

    [ended] = desk.seen(OrderCancelled)
    assert (ended.filled, ended.reason) == (d(1), "refused after it was taken")


def test_silence_makes_an_order_unknown_and_an_answer_resolves_it() -> None:
    """A late SENT or UNKNOWN does not undo what is known."""
    desk = office()
    say(desk, order_report(S.UNKNOWN, reason="timeout"), order_report(S.SENT))
    assert state(desk) is S.UNKNOWN
    say(desk, order_report(S.ACCEPTED), order_report(S.UNKNOWN))

    assert state(desk) is S.ACCEPTED
    assert len(desk.seen(OrderUnknown)) == 1


@pytest.mark.parametrize(
    ("ended", "kind"), [(S.CANCELLED, OrderCancelled), (S.EXPIRED, OrderExpired)]
)
def test_an_end_is_told_with_what_was_filled(
    ended: OrderState, kind: type[OrderCancelled | OrderExpired]
) -> None:
    """The largest figure that any report spoke of."""
    desk = office()
    say(desk, order_report(S.PARTIALLY_FILLED, filled=d(3)), order_report(ended, filled=d(2)))

    [told] = list(desk.seen(kind))
    assert told.filled == d(3)
    order = desk.orders.get("a")
    assert order is not None
    assert not order.settled
    assert desk.intake.filled_by_venue(order) == d(3)


def test_facts_of_one_moment_are_counted_down_one_by_one() -> None:
    """A report waits for the last of them."""
    desk = office()
    desk.inside(
        lambda: desk.intake.take_fill(fill_report("t1"), reconciled=True),
        lambda: desk.intake.take_fill(fill_report("t2"), reconciled=True),
        lambda: desk.intake.take_order(order_report(S.CANCELLED, filled=d(2))),
    )

    assert state(desk) is S.CANCELLED
    assert desk.intake._unfolded == {}


def test_a_filled_report_without_a_figure_means_all_of_it() -> None:
    """The executions are owed from then on."""
    desk = office()
    say(desk, order_report(S.FILLED))
    order = desk.orders.get("a")
    assert order is not None

    assert desk.intake.filled_by_venue(order) == d(10)
    assert not order.settled


def test_a_reduction_that_the_venue_cut_ends() -> None:
    """Filled at less than we asked is an end with the rest cancelled."""
    desk = office()
    say(desk, order_report(S.FILLED, filled=d(4)))

    assert desk.seen(OrderCancelled)[0].filled == d(4)


def test_fills_told_after_the_end_are_looked_for() -> None:
    """The order owes them, so somebody asks."""
    desk = office()
    say(desk, order_report(S.CANCELLED), order_report(S.CANCELLED, filled=d(2)))
    order = desk.orders.get("a")
    assert order is not None
    assert not order.settled
    tell_fill(desk, "t1", quantity="2")

    assert order.settled


def test_a_foreign_order_is_told_once_and_only_while_it_rests() -> None:
    """It is never ours to touch."""
    desk = office()
    foreign = order_report(S.ACCEPTED, "", venue_order_id="x", side=None, quantity=d(1))
    say(desk, foreign, foreign, order_report(S.FILLED, "", venue_order_id="y"))

    [told] = desk.seen(ForeignOrderSeen)
    assert (told.venue, told.venue_order_id) == ("okx", "x")
