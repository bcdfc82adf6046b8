"""From reports to facts: once each, in any order, nothing swallowed."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    FillReported,
    ForeignOrderSeen,
    FundingPaid,
    HaltLatched,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderReported,
    OrderSent,
    OrderUnknown,
    Transfer,
)
from perpbot.domain.orders import FundingReport, OrderReport, TransferReport
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import SECOND
from perpbot.portfolio import booked as module
from perpbot.portfolio.currency import CurrencyRates
from tests.unit.portfolio.office import Office, d, fill_report, order_report, request

S = OrderState


def office(**changes: Any) -> Office:
    """Return an office with order `a` intended."""
    desk = Office()
    desk.submit(request(**changes))
    return desk


def say(desk: Office, *reports: OrderReport) -> None:
    """The venue speaks."""
    for report in reports:
        desk.bus.publish(OrderReported(report=report))


def tell_fill(desk: Office, *trade_ids: str, **changes: Any) -> None:
    """The venue tells executions."""
    for trade_id in trade_ids:
        desk.bus.publish(FillReported(report=fill_report(trade_id, **changes)))


def state(desk: Office) -> OrderState:
    """Where order `a` is."""
    order = desk.orders.get("a")
    assert order is not None
    return order.state


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
    assert desk.intake._fills._in_flight == {}


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


# --- absence -------------------------------------------------------------------------------------

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
    assert desk.intake._absences._first_ns == {}


def test_an_order_with_a_fill_is_never_absent() -> None:
    """Booked, or only spoken of."""
    booked = Office()
    booked.submit(request(expires_ns=1))
    say(booked, order_report(S.UNKNOWN))
    booked.intake._fills._told["a"] = d(1)
    say(booked, ABSENT)

    assert state(booked) is S.UNKNOWN


# --- what should not be --------------------------------------------------------------------------


def test_a_foreign_order_is_told_once_and_only_while_it_rests() -> None:
    """It is never ours to touch."""
    desk = office()
    foreign = order_report(S.ACCEPTED, "", venue_order_id="x", side=None, quantity=d(1))
    say(desk, foreign, foreign, order_report(S.FILLED, "", venue_order_id="y"))

    [told] = desk.seen(ForeignOrderSeen)
    assert (told.venue, told.venue_order_id) == ("okx", "x")


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

    assert [alert.name for alert in desk.seen(AlertFired)] == ["stray_fill"]
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


# --- money ---------------------------------------------------------------------------------------


def test_fees_are_valued_in_their_own_currency_and_positions_in_the_settle_currency() -> None:
    """A fee in BNB does not turn the price into BNB."""
    desk = Office(
        rates=CurrencyRates({"USDT": d("0.999"), "BNB": d(600)}),
        venue_rate=lambda _venue: d("0.999"),
    )
    desk.submit(request())
    tell_fill(desk, "t1", fee=d("0.001"), fee_currency="BNB")

    [fill] = desk.seen(OrderFilled)
    assert (fill.fee_usd, fill.usd_rate) == (d("0.6"), d("0.999"))


def test_a_fee_without_a_rate_halts_opens_and_is_never_taken_as_dollars() -> None:
    """The execution is booked, the fee is kept as it was told, a person is called once."""
    desk = office()
    tell_fill(desk, "t1", "t2", fee=d("0.001"), fee_currency="BNB")

    [first, _] = desk.seen(OrderFilled)
    assert (first.fee_usd, first.fee_unpriced) == (Decimal(0), "0.001 BNB")
    [halt] = desk.seen(HaltLatched)
    assert (halt.rule, halt.value) == ("unpriced", "BNB without a USD rate")
    assert [alert.name for alert in desk.seen(AlertFired)] == ["unpriced"]


def test_a_free_fill_needs_no_rate() -> None:
    """Nothing is nothing in any currency."""
    desk = office()
    tell_fill(desk, "t1", fee=d(0), fee_currency="POINTS")

    assert desk.seen(HaltLatched) == []


def test_a_settle_currency_without_a_rate_halts_opens() -> None:
    """The quantity is booked all the same."""
    desk = Office(venue_rate=lambda _venue: None)
    desk.submit(request())
    tell_fill(desk, "t1")

    assert desk.seen(HaltLatched)[0].value == "the settle currency of okx without a USD rate"
    assert desk.positions.quantity("okx", "main", "BTC-PERP") == d(1)


def funding(
    payment_id: str = "f1", asset: str = "BTC-PERP", currency: str = "USDT"
) -> FundingReport:
    """Return a payment of half a dollar."""
    return FundingReport(
        venue="okx",
        account="main",
        payment_id=payment_id,
        symbol="s",
        asset=asset,
        amount=d("-0.5"),
        currency=currency,
    )


def test_funding_is_booked_once() -> None:
    """Whether it came by stream, by asking or twice in one answer; assets are apart."""
    desk = office()
    desk.bus.publish(AccountReported(venue="okx", funding=(funding(), funding())))
    assert not desk.intake.take_funding(funding())
    assert desk.intake.take_funding(funding(asset="ETH-PERP"))

    assert [(f.asset, f.amount_usd, f.owner) for f in desk.seen(FundingPaid)] == [
        ("BTC-PERP", d("-0.5"), "owner"),
        ("ETH-PERP", d("-0.5"), "owner"),
    ]


def test_funding_without_a_rate_halts_opens() -> None:
    """Like a fee."""
    desk = office()
    desk.intake.take_funding(funding(currency="XYZ"))

    assert len(desk.seen(HaltLatched)) == 1


def transfer(transfer_id: str = "m1", **changes: Any) -> TransferReport:
    """Return a withdrawal of forty."""
    fields: dict[str, Any] = {
        "venue": "okx",
        "account": "main",
        "transfer_id": transfer_id,
        "currency": "USDT",
        "amount": d(-40),
        "kind": "transfer out",
        "venue_ns": 9,
    }
    return TransferReport(**(fields | changes))


def test_a_transfer_is_booked_once() -> None:
    """By stream, by asking, twice in one answer, after a restart; accounts are apart."""
    desk = Office(rates=CurrencyRates({"USDT": d("0.99")}))
    desk.bus.publish(AccountReported(venue="okx", transfers=(transfer(), transfer())))
    assert not desk.intake.take_transfer(transfer())
    assert desk.intake.take_transfer(transfer(account="second", amount=d(10)))
    again = Office()
    again.state.replay(desk.journal.records())
    assert not again.intake.take_transfer(transfer())

    first, second = desk.seen(Transfer)
    assert (first.amount_usd, first.amount, first.currency) == (d("-39.6"), d(-40), "USDT")
    assert (first.reference, first.reason, first.venue_ns) == ("m1", "transfer out", 9)
    assert (second.account, second.amount_usd) == ("second", d("9.9"))
    assert again.transfers.total("okx") == d("-29.7")


def test_two_tellings_in_one_moment_are_one_transfer() -> None:
    """The first is on its way to the books when the second comes."""
    desk = office()
    desk.inside(
        lambda: desk.intake.take_transfer(transfer()),
        lambda: desk.intake.take_transfer(transfer()),
    )
    assert len(desk.seen(Transfer)) == 1


def test_a_transfer_without_a_price_moves_nothing_and_stops_nothing() -> None:
    """Its balance counts as nothing, too."""
    desk = office()
    desk.intake.take_transfer(transfer(currency="POINTS"))

    assert desk.seen(Transfer)[0].amount_usd == 0
    assert desk.seen(HaltLatched) == []


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
