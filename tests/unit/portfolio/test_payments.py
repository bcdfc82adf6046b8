"""Funding payments and transfers are booked once."""

from __future__ import annotations

from typing import Any

from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    FundingPaid,
    HaltLatched,
    Transfer,
)
from perpbot.domain.orders import FundingReport, TransferReport
from perpbot.portfolio.currency import CurrencyRates
from tests.unit.portfolio.office import Office, d
from tests.unit.portfolio.telling import office


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


def test_a_transfer_without_a_price_moves_nothing_and_is_told() -> None:
    """Its balance counts as nothing, too: opens go on, and a person learns of it once."""
    desk = office()
    desk.intake.take_transfer(transfer(currency="POINTS"))
    desk.intake.take_transfer(transfer(currency="POINTS"))

    assert desk.seen(Transfer)[0].amount_usd == 0
    assert desk.seen(HaltLatched) == []
    [alert] = desk.seen(AlertFired)
    assert alert.name == "uncounted_transfer"
    assert "okx: a transfer of -40 POINTS has no USD rate" in alert.text
