"""The fold of booked transfers."""

from __future__ import annotations

import pytest

from perpbot.domain.events import Transfer
from perpbot.portfolio import transfers as module
from perpbot.portfolio.transfers import BookedTransfers, transfer_key
from tests.unit.portfolio.office import d


def moved(reference: str, usd: str, venue: str = "okx") -> Transfer:
    """Return a transfer."""
    return Transfer(venue=venue, account="main", amount_usd=d(usd), reference=reference)


def folded(*events: Transfer) -> BookedTransfers:
    """Return the fold of some events, after a restart from its snapshot."""
    found, again = BookedTransfers(), BookedTransfers()
    for event in events:
        found.folds()[Transfer](event)
    again.restore(found.snapshot())
    assert again.snapshot() == found.snapshot()
    return again


def test_keys_and_totals_survive() -> None:
    """By venue; nothing twice."""
    found = folded(moved("a", "5"), moved("b", "-7"), moved("a", "5"), moved("a", "1", "binance"))

    assert transfer_key("okx", "main", "a") in found
    assert transfer_key("okx", "second", "a") not in found
    assert (found.total("okx"), found.total("binance"), found.total("none")) == (d(-2), d(1), d(0))


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory; the totals stay."""
    monkeypatch.setattr(module, "TRANSFER_IDS_KEPT", 2)
    found = folded(*(moved(name, "1") for name in "abc"))

    assert [transfer_key("okx", "main", name) in found for name in "abc"] == [False, True, True]
    assert found.total("okx") == d(3)
