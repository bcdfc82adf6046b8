"""Samples of equity, the days and the safe modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.events import DayStarted, EquitySampled, SafeModeChanged, Transfer
from perpbot.portfolio.sampler import EquitySampler
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.unexplained import UnexplainedMoney
from tests.unit.portfolio.office import Office, d


class Sampling:
    """An office with a sampler, whose profits and moves are set by hand."""

    def __init__(
        self,
        settings_of: Callable[[str], CapitalSettings] | None = None,
        day_start_hour_utc: int = 0,
        **settings: Any,
    ) -> None:
        self.office = Office()
        self.profit: dict[str, Decimal | None] = {}
        self.moved: Mapping[str, Decimal] | None = {}
        base = CapitalSettings(**settings)
        office = self.office
        self.money = UnexplainedMoney(
            office.bus,
            office.time,
            base,
            office.equity,
            office.snapshots,
            lambda venue: self.profit.get(venue, Decimal(0)),
        )
        self.sampler = EquitySampler(
            self.office.bus,
            self.office.time,
            base,
            self.office.equity,
            self.office.snapshots,
            self.money,
            lambda: self.moved,
            settings_of=settings_of,
            day_start_hour_utc=day_start_hour_utc,
        )

    def lose(self, venue: str, usd: str) -> None:
        """Our books say so, and so does the venue, which had 1000."""
        self.profit[venue] = -d(usd)
        self.tell(**{venue: str(1000 - d(usd))})

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


def test_our_books_count_less_what_is_missing_for_a_while() -> None:
    """Opening plus our profit; what the venue holds beyond it is nobody's yet."""
    desk = Sampling(unexplained_wait_s=10)
    assert desk.tell(okx="100").total_usd == d(100)
    desk.profit["okx"] = d(-7)
    assert desk.tell(okx="98").total_usd == d(93)
    desk.profit["okx"] = d(9)
    assert [desk.tell(okx="97").total_usd for _ in range(3)] == [d(109), d(109), d(97)]
    assert desk.office.equity.unexplained("okx") == d(12)


def test_without_marks_the_last_word_holds_for_a_while() -> None:
    """Then the venue's own; a transfer moves the last word."""
    desk = Sampling(unexplained_wait_s=10)
    desk.tell(okx="100")
    desk.profit["okx"] = None
    assert [desk.tell(okx="96").total_usd for _ in range(3)] == [d(100), d(100), d(96)]
    desk.profit["okx"] = d(0)
    desk.tell(okx="100")
    desk.profit["okx"] = None
    desk.office.bus.publish(
        Transfer(venue="okx", account="main", amount_usd=d(-30), reference="t")
    )
    assert desk.tell(okx="70").total_usd == d(70)


def test_a_venue_without_opening_and_marks_counts_with_its_word() -> None:
    """Nothing else is known."""
    desk = Sampling()
    desk.profit["okx"] = None
    assert desk.tell(okx="50").total_usd == d(50)


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
    desk = Sampling(day_start_hour_utc=23)
    desk.tell(okx="1")

    assert desk.office.seen(DayStarted)[0].day == "2023-11-13"
    assert desk.office.equity.current == {"okx": d(1)}


@pytest.mark.parametrize(
    ("equity", "active"),
    [("951", False), ("950", True), ("949", True)],
    ids=["below", "at", "above"],
)
def test_safe_mode_begins_at_five_percent(equity: str, active: bool) -> None:
    """Of realised and unhedged loss."""
    desk = Sampling()
    desk.tell(okx="1000")
    desk.lose("okx", str(1000 - d(equity)))

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
    desk.profit["okx"] = d(-250)
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
    desk.lose("okx", "50")
    desk.lose("okx", "10")
    assert desk.modes == [("okx", True)]
    desk.office.advance(60)
    desk.lose("okx", "41")
    assert desk.modes == [("okx", True)]
    desk.lose("okx", "40")

    assert desk.modes == [("okx", True), ("okx", False)]
    assert desk.office.equity.safe_since_ns("okx") is None


def test_safe_mode_follows_the_settings_of_its_venue() -> None:
    """An override for one venue."""
    loose = CapitalSettings(safe_mode_enter_ratio=Decimal("0.3"))
    desk = Sampling(settings_of=lambda venue: loose if venue == "okx" else CapitalSettings())
    desk.tell(okx="1000", binance="1000")
    desk.lose("okx", "100")
    desk.lose("binance", "100")

    assert desk.modes == [("binance", True)]
