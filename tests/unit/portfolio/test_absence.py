"""When "not known" proves that an order never was."""

from __future__ import annotations

import pytest

from perpbot.domain.events import OrderCancelled, OrderProvenAbsent
from perpbot.kernel.clock import SECOND
from tests.unit.portfolio.office import Office, d, order_report, request
from tests.unit.portfolio.telling import S, office, say, state

ABSENT = order_report(S.PROVEN_ABSENT, venue_order_id="", reason="no such order")


@pytest.mark.parametrize(
    ("after_s", "proven"),
    [(4.0, False), (6.0, False), (6.001, True)],
    ids=["before", "at", "after"],
)
def test_absence_is_proof_only_after_expiry_and_margin(after_s: float, proven: bool) -> None:
    """Before that the request could still arrive."""
    desk = Office()
    desk.submit(request(expires_ns=desk.time.now_ns() + 5 * SECOND))
    say(desk, order_report(S.UNKNOWN))
    desk.advance(after_s)
    say(desk, ABSENT)

    assert (state(desk) is S.PROVEN_ABSENT) == proven
    if proven:
        assert "after its expiry no such order" in desk.seen(OrderProvenAbsent)[0].evidence


def test_without_expiry_absence_needs_two_answers_apart_and_late() -> None:
    """30 s after the intent, and 5 s between them."""
    desk = office()
    say(desk, order_report(S.UNKNOWN))
    for wait_s in (1.0, 28.0):
        desk.advance(wait_s)
        say(desk, ABSENT)
    desk.advance(1.0)
    say(desk, ABSENT)
    desk.advance(4.9)
    say(desk, ABSENT)
    assert state(desk) is S.UNKNOWN
    desk.advance(0.1)
    say(desk, ABSENT)

    assert state(desk) is S.PROVEN_ABSENT
    assert "twice, 5 s apart" in desk.seen(OrderProvenAbsent)[0].evidence
    assert desk.intake._absences._first_ns == {}


def test_an_order_that_was_seen_in_between_is_not_absent() -> None:
    """A positive answer undoes the negative one."""
    desk = office()
    say(desk, order_report(S.UNKNOWN))
    desk.advance(31)
    say(desk, ABSENT, order_report(S.ACCEPTED))
    desk.advance(10)
    say(desk, ABSENT)
    assert state(desk) is S.ACCEPTED

    say(desk, order_report(S.ACCEPTED))
    assert desk.intake._absences._first_ns == {}


def test_an_order_that_the_venue_lost_has_ended() -> None:
    """Two answers apart say so, since one may come from a part of the venue that lags."""
    desk = office()
    say(desk, order_report(S.ACCEPTED), ABSENT)
    desk.advance(4.9)
    say(desk, ABSENT)
    assert state(desk) is S.ACCEPTED
    desk.advance(0.1)
    say(desk, ABSENT)

    assert state(desk) is S.CANCELLED
    (ended,) = desk.seen(OrderCancelled)
    assert ended.reason == "the venue had taken it and has lost it"
    assert desk.intake._absences._first_ns == {}


def test_an_order_with_a_fill_is_never_absent() -> None:
    """Booked, or only spoken of."""
    booked = Office()
    booked.submit(request(expires_ns=1))
    say(booked, order_report(S.UNKNOWN))
    booked.intake._fills._told["a"] = d(1)
    say(booked, ABSENT)

    assert state(booked) is S.UNKNOWN


def test_a_person_is_told_from_when_on_an_answer_is_proof() -> None:
    """By expiry where there is one, else by two answers apart."""
    desk = Office()
    desk.submit(request(expires_ns=desk.time.now_ns() + 5 * SECOND))
    order = desk.orders.get("a")
    assert order is not None
    assert "proof of absence from in 6.0 s on" in desk.intake.terms_of_absence(order)
    desk.advance(7)
    assert "from now on: its request has expired then" in desk.intake.terms_of_absence(order)

    other = Office()
    other.submit(request(expires_ns=0))
    order = other.orders.get("a")
    assert order is not None
    assert "told twice, 5 s apart" in other.intake.terms_of_absence(order)
