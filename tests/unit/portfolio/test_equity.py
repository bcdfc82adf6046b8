"""Equity, peaks, days and safe mode."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.events import (
    CapitalSnapshotUpdated,
    DayStarted,
    EquitySampled,
    Event,
    HaltCleared,
    SafeModeChanged,
    Transfer,
)
from perpbot.kernel.fold import DurableState
from perpbot.portfolio.equity import EquityBook, EquitySampler
from perpbot.portfolio.settings import CapitalSettings
from tests.unit.portfolio.office import Office, d


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


def test_a_transfer_is_neither_profit_nor_loss() -> None:
    """Peak, day start and opening move with it."""
    told = CapitalSnapshotUpdated(
        venue="okx", equity_usd=d(100), free_usd=d(100), wallet_usd=d(100), from_stream=True
    )
    out = Transfer(venue="okx", account="main", amount_usd=d(-40), reference="t")
    found = book(
        told,
        sample(okx="100"),
        DayStarted(day="d", equity_usd=d(100)),
        out,
        sample(okx="60"),
    )

    assert (found.drawdown(), found.daily_loss(), found.venue_drawdown("okx")) == (
        d(0),
        d(0),
        d(0),
    )
    assert found.opening("okx") == d(60)
    assert book(out).drawdown() == 0


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


class Sampling:
    """An office with a sampler, whose profits and moves are set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.office = Office()
        self.profit: dict[str, Decimal | None] = {}
        self.moved: Mapping[str, Decimal] | None = {}
        base = CapitalSettings(**settings)
        self.sampler = EquitySampler(
            self.office.bus,
            self.office.time,
            base,
            self.office.equity,
            self.office.snapshots,
            lambda venue: self.profit.get(venue, Decimal(0)),
            lambda: self.moved,
        )

    def tell(self, **venues: str) -> EquitySampled:
        """Tell balances and sample."""
        self.office.advance(5)
        for venue, equity in venues.items():
            self.office.tell(venue, equity)
        self.sampler.sample()
        return self.office.seen(EquitySampled)[-1]

    @property
    def modes(self) -> list[tuple[str, bool]]:
        return [(e.venue, e.active) for e in self.office.seen(SafeModeChanged)]


def test_nothing_is_sampled_before_a_venue_has_told() -> None:
    """No equity is invented."""
    desk = Sampling()
    desk.sampler.sample()

    assert desk.office.seen(EquitySampled) == []


def test_the_smaller_of_their_word_and_our_books_counts() -> None:
    """Opening plus our profit against what the venue says."""
    desk = Sampling()
    assert desk.tell(okx="100").total_usd == d(100)
    desk.profit["okx"] = d(-7)
    assert desk.tell(okx="98").total_usd == d(93)
    desk.profit["okx"] = d(9)
    assert desk.tell(okx="97").total_usd == d(97)
    desk.profit["okx"] = None
    assert desk.tell(okx="96").total_usd == d(96)


def test_a_silent_venue_after_a_restart_is_no_loss() -> None:
    """It counts with our books, or with its last sample; the account does not halt."""
    before = Sampling()
    before.tell(okx="100", binance="100")
    desk = Sampling()
    desk.office.state.replay(before.office.journal.records())
    desk.profit["binance"] = d(-1)
    assert desk.tell(okx="100").per_venue == {"okx": d(100), "binance": d(99)}
    desk.profit["binance"] = None
    assert desk.tell(okx="100").per_venue == {"okx": d(100), "binance": d(99)}

    assert desk.office.equity.drawdown() == d(1) / d(200)


def test_a_day_starts_once_and_never_goes_back() -> None:
    """UTC; a clock that steps back starts no day."""
    desk = Sampling()
    desk.tell(okx="100")
    desk.tell(okx="101")
    desk.office.advance(86_400)
    desk.tell(okx="102")
    assert [event.day for event in desk.office.seen(DayStarted)] == ["2023-11-14", "2023-11-15"]
    desk.office.equity.day = "2999-01-01"
    desk.tell(okx="102")

    assert len(desk.office.seen(DayStarted)) == 2


def test_a_day_may_start_at_another_hour() -> None:
    """22:13 UTC is before 23:00: still the day before."""
    office = Office()
    sampler = EquitySampler(
        office.bus,
        office.time,
        CapitalSettings(),
        office.equity,
        office.snapshots,
        lambda _venue: None,
        day_start_hour_utc=23,
    )
    office.tell("okx", "1")
    sampler.sample()

    assert office.seen(DayStarted)[0].day == "2023-11-13"
    assert office.equity.current == {"okx": d(1)}


@pytest.mark.parametrize(
    ("equity", "active"),
    [("951", False), ("950", True), ("949", True)],
    ids=["below", "at", "above"],
)
def test_safe_mode_begins_at_five_percent(equity: str, active: bool) -> None:
    """Of realised and unhedged loss."""
    desk = Sampling()
    desk.tell(okx="1000")
    desk.tell(okx=equity)

    assert desk.modes == ([("okx", True)] if active else [])
    assert (desk.office.equity.safe_since_ns("okx") is not None) == active


def test_what_a_hedged_pair_moves_between_venues_is_no_loss() -> None:
    """One venue loses 20 %, the other wins it: nobody enters safe mode."""
    desk = Sampling()
    desk.tell(okx="1000", binance="1000")
    desk.moved = {"okx": d(200), "binance": d(-200)}
    desk.profit = {"okx": d(-200), "binance": d(200)}
    told = desk.tell(okx="800", binance="1200")

    assert told.protected == {"okx": d(1000), "binance": d(1000)}
    assert told.total_usd == d(2000)
    assert desk.modes == []
    desk.tell(okx="750", binance="1200")
    assert desk.modes == [("okx", True)]


def test_without_marks_the_last_protected_equity_holds() -> None:
    """A missing mark neither starts nor ends a safe mode."""
    desk = Sampling()
    desk.moved = None
    assert desk.tell(okx="1000").protected == {"okx": d(1000)}
    assert desk.tell(okx="500").protected == {"okx": d(1000)}
    assert desk.modes == []


def test_safe_mode_ends_at_four_percent_after_its_minimum_time() -> None:
    """Neither earlier nor higher."""
    desk = Sampling(safe_mode_min_s=60)
    desk.tell(okx="1000")
    desk.tell(okx="950")
    desk.tell(okx="990")
    assert desk.modes == [("okx", True)]
    desk.office.advance(60)
    desk.tell(okx="959")
    assert desk.modes == [("okx", True)]
    desk.tell(okx="960")

    assert desk.modes == [("okx", True), ("okx", False)]
    assert desk.office.equity.safe_since_ns("okx") is None


def test_safe_mode_follows_the_settings_of_its_venue() -> None:
    """An override for one venue."""
    office = Office()
    loose = CapitalSettings(safe_mode_enter_ratio=Decimal("0.3"))
    sampler = EquitySampler(
        office.bus,
        office.time,
        CapitalSettings(),
        office.equity,
        office.snapshots,
        lambda _venue: None,
        settings_of=lambda venue: loose if venue == "okx" else CapitalSettings(),
    )
    for equity in ("1000", "900"):
        office.advance(5)
        office.tell("okx", equity)
        office.tell("binance", equity)
        sampler.sample()

    assert [event.venue for event in office.seen(SafeModeChanged)] == ["binance"]
