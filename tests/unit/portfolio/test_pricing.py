"""Fees and payments in USD; what has no rate stops opens."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events import (
    AlertFired,
    HaltCleared,
    HaltLatched,
    OrderFilled,
)
from perpbot.portfolio.currency import CurrencyRates
from tests.unit.portfolio.office import Office, d, request
from tests.unit.portfolio.telling import office, tell_fill


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


def test_a_currency_that_still_has_no_rate_halts_again() -> None:
    """Clearing the halt does not make the next fee countable."""
    desk = office()
    tell_fill(desk, "t1", fee=d("0.001"), fee_currency="BNB")
    desk.bus.publish(HaltCleared(rule="daily_loss", actor="calendar", reason="another day"))
    tell_fill(desk, "t2", fee=d("0.001"), fee_currency="BNB")
    assert len(desk.seen(HaltLatched)) == 1

    desk.bus.publish(HaltCleared(rule="unpriced", actor="anna", reason="seen"))
    tell_fill(desk, "t3", fee=d("0.001"), fee_currency="BNB")
    assert len(desk.seen(HaltLatched)) == 2


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
