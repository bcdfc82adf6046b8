"""Executions are booked once, and none is dropped without a word."""

from __future__ import annotations

import pytest

from perpbot.domain.events import (
    AlertFired,
    OrderFilled,
)
from perpbot.domain.sides import OrderState
from perpbot.portfolio import booked as module
from tests.unit.portfolio.office import Office, d, fill_report, order_report, request
from tests.unit.portfolio.telling import S, office, say, state, tell_fill


def test_an_execution_told_by_stream_and_by_asking_is_booked_once() -> None:
    """In both orders, and within one answer."""
    desk = office()
    assert desk.intake.take_fill(fill_report("t1"), reconciled=True)
    tell_fill(desk, "t1")
    desk.inside(
        lambda: desk.intake.take_fill(fill_report("t2"), reconciled=True),
        lambda: desk.intake.take_fill(fill_report("t2"), reconciled=True),
    )

    assert [fill.trade_id for fill in desk.seen(OrderFilled)] == ["t1", "t2"]
    assert [fill.reconciled for fill in desk.seen(OrderFilled)] == [True, True]


def test_two_fills_of_one_answer_add_up() -> None:
    """The second knows of the first before it is folded."""
    desk = office()
    desk.inside(
        lambda: desk.intake.take_fill(fill_report("t1", "4"), reconciled=True),
        lambda: desk.intake.take_fill(fill_report("t2", "6"), reconciled=True),
    )

    told = [(fill.cumulative, fill.is_partial) for fill in desk.seen(OrderFilled)]
    assert told == [(d(4), True), (d(10), False)]
    assert state(desk) is S.FILLED


def test_an_execution_of_an_unknown_order_is_booked_without_an_owner() -> None:
    """A liquidation, or a person at the venue's own page."""
    desk = office()
    tell_fill(desk, "t1", client_id="", venue_order_id="liquidation")

    [fill] = desk.seen(OrderFilled)
    assert (fill.client_id, fill.owner, fill.is_partial) == ("", "", False)
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(1)


def test_an_execution_on_a_leg_that_nobody_owns_is_told_a_person() -> None:
    """It is booked all the same."""
    desk = Office(owner="")
    tell_fill(desk, "t1", client_id="", venue_order_id="x")

    [alert] = desk.seen(AlertFired)
    assert alert.name == "stray_fill"
    for word in ("okx", "1 BTC-PERP", "`perpbot status` tells what to flatten by hand"):
        assert word in alert.text
    assert len(desk.seen(OrderFilled)) == 1


def test_a_fill_with_only_the_venue_id_finds_its_order() -> None:
    """Of the same instrument and account: ids of other instruments may be the same number."""
    desk = office()
    say(desk, order_report(S.ACCEPTED))
    tell_fill(desk, "t1", client_id="")
    tell_fill(desk, "t2", client_id="", symbol="ETH-USDT-SWAP", asset="ETH-PERP")
    tell_fill(desk, "t3", client_id="", account="other")

    assert [fill.client_id for fill in desk.seen(OrderFilled)] == ["a", "", ""]


@pytest.mark.parametrize("ended", [S.REJECTED, S.PROVEN_ABSENT], ids=str)
def test_a_fill_of_an_order_that_never_was_is_booked_with_an_alarm(ended: OrderState) -> None:
    """The venue is right; a person hears of it."""
    desk = Office()
    desk.submit(request(expires_ns=1))
    say(desk, order_report(S.UNKNOWN), order_report(ended))
    assert state(desk) is ended
    say(desk, order_report(S.ACCEPTED))
    tell_fill(desk, "t1")

    assert [alert.name for alert in desk.seen(AlertFired)] == ["order_after_end", "fill_after_end"]
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(1)


def test_what_is_beyond_an_order_is_not_booked() -> None:
    """Most likely one execution under two ids: told to a person once, with both numbers."""
    desk = office()
    tell_fill(desk, "t1-C", quantity="4")
    tell_fill(desk, "t1-O", quantity="6")
    tell_fill(desk, "t1", quantity="10")
    tell_fill(desk, "t1", quantity="10")

    [alert] = desk.seen(AlertFired)
    assert alert.name == "overfill"
    assert "tells 20 filled of order a, which asked for 10" in alert.text
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(10)


def test_an_execution_told_under_another_id_is_booked_once() -> None:
    """The same order, price, quantity and moment: a venue that names it twice, also later on."""
    desk = office()
    tell_fill(desk, "t1", "rest-1", quantity="4", venue_ns=7)
    tell_fill(desk, "rest-1", quantity="4", venue_ns=7)

    assert [fill.trade_id for fill in desk.seen(OrderFilled)] == ["t1"]
    assert desk.intake.duplicates == 2
    assert not desk.seen(AlertFired)
    tell_fill(desk, "t2", quantity="4", venue_ns=8)
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(8)


def test_two_executions_that_are_alike_are_both_booked_once_the_order_says_so() -> None:
    """The venue's own count of the order decides, whichever of them comes first."""
    desk = office()
    tell_fill(desk, "t1", "t2", quantity="4", venue_ns=7)
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(4)
    say(desk, order_report(S.PARTIALLY_FILLED, filled=d(8)))
    order = desk.orders.get("a")
    assert order is not None
    assert desk.intake.filled_by_venue(order) == d(8)
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(8)
    tell_fill(desk, "t1", "t2", "t3", quantity="4", venue_ns=7)

    assert [fill.trade_id for fill in desk.seen(OrderFilled)] == ["t1", "t2"]
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(8)


def test_an_execution_of_nobody_is_booked_once_whatever_it_is_called() -> None:
    """Somebody closed a part by hand: no order of ours counts it, the positions are compared."""
    desk = office()
    tell_fill(desk, "t1", "rest-1", client_id="", venue_order_id="v9", venue_ns=7)
    assert len(desk.seen(OrderFilled)) == 1


def test_an_execution_that_may_be_forgotten_is_not_booked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However late it is told again, and after a restart; what is new is booked."""
    monkeypatch.setattr(module, "KEYS_KEPT", 2)
    desk = office()
    told = [fill_report(f"t{n}", "1", venue_ns=10 * n) for n in range(1, 5)]
    for report in told[:3]:
        assert desk.intake.take_fill(report, reconciled=False)
    again = Office()
    again.state.load(desk.state.dump())

    for report in told[:3]:
        assert not again.intake.take_fill(report, reconciled=True)
    assert again.intake.duplicates == 3
    assert again.intake.take_fill(told[3], reconciled=True)
    assert again.state.dump() != desk.state.dump()
