"""Equity, peaks and days as they fold."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.events import (
    CapitalSnapshotUpdated,
    DayStarted,
    EquitySampled,
    Event,
    HaltCleared,
    Transfer,
)
from perpbot.kernel.fold import DurableState
from perpbot.portfolio.equity import EquityBook
from tests.unit.portfolio.office import d


def book(*events: Event) -> EquityBook:
    """Return a book after events."""
    found = EquityBook()
    state = DurableState([found])
    for event in events:
        state.apply(event)
    again = EquityBook()
    DurableState([again]).load(state.dump())
    assert DurableState([again]).dump() == state.dump()
    return found


def sample(*, protected: dict[str, Decimal] | None = None, **venues: str) -> EquitySampled:
    """Return a sample of all venues."""
    per_venue = {venue: d(amount) for venue, amount in venues.items()}
    return EquitySampled(
        ts_ns=7,
        per_venue=per_venue,
        total_usd=sum(per_venue.values(), Decimal(0)),
        protected=protected or {},
    )


def test_drawdown_is_positive_and_from_the_peak() -> None:
    """Not from the start, and never negative."""
    assert book().drawdown() == 0
    assert book(sample(okx="100"), sample(okx="120"), sample(okx="108")).drawdown() == d("0.1")
    assert book(sample(okx="100"), sample(okx="120")).drawdown() == 0
    assert book(sample(okx="-5")).drawdown() == 0


def test_daily_loss_is_from_the_start_of_the_day() -> None:
    """A gain is no loss; unknown is None."""
    day = DayStarted(day="2026-01-01", equity_usd=d(100))
    assert book(sample(okx="100")).daily_loss() is None
    assert book(day).daily_loss() is None
    assert book(day, sample(okx="90")).daily_loss() == d(10)
    assert book(day, sample(okx="110")).daily_loss() == 0


def told(venue: str = "okx", usd: str = "100", ts_ns: int = 5) -> CapitalSnapshotUpdated:
    """Return what a venue holds at first."""
    amount = d(usd)
    return CapitalSnapshotUpdated(
        ts_ns=ts_ns,
        venue=venue,
        equity_usd=amount,
        free_usd=amount,
        wallet_usd=amount,
        from_stream=True,
    )


def moved(usd: str, venue: str = "okx", venue_ns: int = 0) -> Transfer:
    """Return a transfer."""
    return Transfer(
        venue=venue, account="main", amount_usd=d(usd), reference="t", venue_ns=venue_ns
    )


NOTHING = (d(0), d(0), d(0))
DAY = DayStarted(day="d", equity_usd=d(100))


def test_a_transfer_is_neither_profit_nor_loss() -> None:
    """Everything moves with it in the same moment, with a sample after it or without."""
    before = (told(), sample(okx="100"), DAY, moved("-40"))
    for found in (book(*before), book(*before, sample(okx="60"))):
        assert (found.drawdown(), found.daily_loss(), found.venue_drawdown("okx")) == NOTHING
        assert (found.total, found.current) == (d(60), {"okx": d(60)})
        assert found.protected("okx") == d(60)
        assert found.opening("okx") == d(60)
    assert book(moved("-40")).drawdown() == 0


@pytest.mark.parametrize("usd", ["-76", "-1", "1", "9500"])
def test_a_transfer_leaves_drawdown_and_daily_loss_as_they_were(usd: str) -> None:
    """Five of a hundred are lost, however much is left, and the limit of the day stays."""
    lost = (told(), sample(okx="100"), DAY, sample(okx="95"))
    found = book(*lost, moved(usd))

    assert abs(found.drawdown() - d("0.05")) < d("1e-20")
    assert abs(found.venue_drawdown("okx") - d("0.05")) < d("1e-20")
    assert (found.daily_loss(), found.day_base) == (d(5), d(100))


def test_taking_everything_out_ends_a_drawdown_and_bringing_money_begins_anew() -> None:
    """Of nothing nothing can be lost."""
    lost = (told(), sample(okx="100"), sample(okx="95"))
    empty = (*lost, moved("-95"))
    assert book(*empty).drawdown() == 0
    assert book(*empty, sample(okx="0"), moved("50"), sample(okx="50")).drawdown() == 0
    assert book(*empty, moved("50"), sample(okx="45")).drawdown() == d("0.1")


def test_what_a_venue_held_at_first_contains_what_moved_before() -> None:
    """By the venue's time; without one it moved after."""
    found = book(told(ts_ns=5), moved("-40", venue_ns=5), sample(okx="100"))
    assert (found.opening("okx"), found.total) == (d(100), d(100))
    assert book(told(ts_ns=5), moved("-40", venue_ns=6)).opening("okx") == d(60)
    assert book(told(ts_ns=5), moved("-40")).opening("okx") == d(60)


def test_a_transfer_before_a_venue_was_sampled_comes_with_its_first_sample() -> None:
    """It joins as a venue that is told later does."""
    found = book(
        told(), sample(okx="100"), DAY, told("binance"), moved("50", "binance"),
        sample(okx="100", binance="150"),
    )  # fmt: skip
    assert (found.drawdown(), found.daily_loss(), found.total) == (d(0), d(0), d(250))


def test_a_sample_that_was_taken_before_a_transfer_and_folded_after_contains_it() -> None:
    """Else the peak would stay where the money was."""
    late = msgspec.structs.replace(sample(okx="100"), opening={"okx": d(100)})
    for usd in ("-40", "40"):
        found = book(told(), late, DAY, moved(usd), late)
        assert found.total == d(100) + d(usd)
        assert (found.drawdown(), found.daily_loss(), found.venue_drawdown("okx")) == NOTHING
    assert book(told(), moved("40"), late, DAY).daily_loss() == 0


def test_what_is_missing_is_remembered() -> None:
    """Through a restart, by venue."""
    missing = msgspec.structs.replace(sample(okx="93"), unexplained={"okx": d(7)})
    assert book(missing).unexplained("okx") == d(7)
    assert book(missing, sample(okx="93")).unexplained("okx") == 0


def test_a_venue_that_is_told_later_is_neither_profit_nor_loss() -> None:
    """Its equity joins the peak and the day start."""
    found = book(
        sample(okx="100"),
        DayStarted(day="d", equity_usd=d(100)),
        sample(okx="95", binance="100"),
    )

    assert found.drawdown() == d(5) / d(200)
    assert found.daily_loss() == d(5)


def test_clearing_a_halt_measures_from_there_on() -> None:
    """A cleared drawdown does not latch again at the next sample."""

    def cleared(rule: str) -> HaltCleared:
        return HaltCleared(rule=rule, actor="me", reason="seen")

    day = DayStarted(day="d", equity_usd=d(100))
    lost = (sample(okx="100"), day, sample(okx="80"))
    assert book(*lost, cleared("drawdown")).drawdown() == 0
    assert book(*lost, cleared("drawdown")).daily_loss() == d(20)
    assert book(*lost, cleared("daily_loss")).daily_loss() == 0
    assert book(*lost, cleared("daily_loss")).drawdown() == d("0.2")
    assert book(*lost, cleared("failures")).drawdown() == d("0.2")
    assert book(cleared("drawdown")).drawdown() == 0
