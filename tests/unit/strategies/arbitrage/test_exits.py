"""Pairs that are watched, and closed once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.events import FundingRateUpdated, MarkUpdated, TradeCompleted
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.sides import PairState
from tests.unit.market.floor import BTC
from tests.unit.portfolio.office import planned
from tests.unit.strategies.arbitrage.desk import Desk, plan_of


def test_pair_leaves_once_when_the_gap_is_gone() -> None:
    """Convergence on a quote, with its numbers; later quotes say nothing more."""
    desk = Desk()
    desk.exits(take_profit_bps=5_000)
    desk.basis.track(BTC, "okx", "binance")
    desk.calm(2)
    desk.dear("binance", 21.0)
    desk.hold(entry=("95001", "95020"))
    desk.dear("binance", 20.0)
    assert desk.closed == []
    desk.dear("binance", 0.0)
    desk.dear("binance", 0.0)
    (close,) = desk.closed
    assert (close.pair_id, close.reason) == ("1-1", "convergence")
    assert close.correlation_id == "1-1"
    assert float(close.detail["exit_cost_bps"]) == pytest.approx(0.105, abs=1e-3)
    assert set(close.detail) >= {"measured", "limit", "profit_bps", "held_s"}


def test_profit_counts_fees_both_ways() -> None:
    """Sold 30 bps above and closed even: 30 less 10 to leave less 5 paid are 15."""
    desk = Desk()
    desk.exits()
    desk.calm(2)
    desk.dear("binance", 25.0)
    pair = desk.hold(entry=("95001", "95286.003"))
    pair.long.fees = Decimal("0.4755")
    desk.wait(0.25)
    desk.calm(0.1)
    (close,) = desk.closed
    assert close.reason == "take_profit"
    assert float(close.detail["profit_bps"]) == pytest.approx(14.8, abs=0.3)


def test_cold_basis_falls_back_to_what_was_usual_at_the_entry() -> None:
    """After a restart a pair can still converge."""
    desk = Desk()
    desk.exits()
    desk.hold(entry=("95001", "95010"))
    desk.quote(95_000.0, 95_000.5, "okx")
    desk.quote(95_000.0, 95_000.5, "binance")
    (close,) = desk.closed
    assert close.reason == "convergence"
    assert close.detail["expected_exit_bps"] == "0.100"


def test_stale_quotes_leave_only_by_marks_and_clock() -> None:
    """What looked like convergence is not taken on old quotes; the stop works by marks."""
    desk = Desk()
    desk.exits()
    desk.calm(1)
    desk.dear("binance", 30.0)
    desk.hold()
    desk.wait(10.0)
    assert desk.closed == []
    for venue, mark in (("okx", 95_000.0), ("binance", 96_500.0)):
        desk.engine.publish(MarkUpdated(venue=venue, asset=BTC, mark=mark))
    desk.wait(0.25)
    assert [close.reason for close in desk.closed] == ["stop"]


def test_pair_without_any_price_leaves_after_its_longest_life() -> None:
    """The clock alone is enough."""
    desk = Desk()
    desk.exits()
    desk.hold()
    desk.wait(599.0)
    assert desk.closed == []
    desk.wait(1.25)
    assert [close.reason for close in desk.closed] == ["max_hold"]


def test_settle_currency_without_rate_gives_no_profit() -> None:
    """An unknown rate invents nothing."""
    desk = Desk()
    desk.exits()
    desk.hold()
    desk.engine._usd_rate = lambda _: None
    desk.dear("okx", 0.0)
    desk.dear("binance", 30.0)
    assert desk.closed == []


def test_funding_that_turns_makes_a_pair_leave() -> None:
    """30 bps an hour for the long is more in ten minutes... and 200 surely."""
    desk = Desk()
    desk.exits()
    desk.calm(1)
    desk.dear("binance", 21.0)
    desk.hold()
    desk.engine.publish(
        FundingRateUpdated(venue="okx", asset=BTC, rate=0.02, interval_s=3_600, next_ns=0)
    )
    desk.wait(0.25)
    assert [close.reason for close in desk.closed] == ["funding"]


def test_close_all_leaves_every_pair_and_those_to_come() -> None:
    """Each once; a pair that was on its way is closed as soon as it is planned."""
    desk = Desk()
    exits = desk.exits()
    desk.hold("1-1")
    exits.close_all("shutdown")
    exits.close_all("shutdown")
    desk.bus.publish(planned(plan_of("1-2", 0.0, "arbitrage")))
    assert [(close.pair_id, close.reason) for close in desk.closed] == [
        ("1-1", "shutdown"),
        ("1-2", "shutdown"),
    ]


def test_pair_that_is_not_held_is_not_watched() -> None:
    """Closing, completed, or of another strategy: no exit of ours."""
    desk = Desk()
    desk.exits()
    closing = desk.hold("1-1")
    desk.move(closing, PairState.CLOSING)
    done = desk.hold("1-2")
    desk.bus.publish(
        TradeCompleted(
            pair_id="1-2",
            strategy="arbitrage",
            asset=BTC,
            long_venue="okx",
            short_venue="binance",
            quantity=done.plan.quantity,
            pnl=ProfitSplit(),
            opened=True,
            hold_ns=0,
            worst_unhedged_ns=0,
            exit_reason="stop",
        )
    )
    desk.hold("1-3", strategy="carry")
    desk.calm(2)
    desk.wait(601)
    assert desk.closed == []


def test_restart_takes_up_hedged_pairs_and_stop_ends_the_timer() -> None:
    """The pair book says what is held; a stopped manager does nothing more."""
    desk = Desk()
    desk.hold()
    exits = desk.exits()
    exits.stop()
    exits.stop()
    desk.wait(700)
    assert desk.closed == []
    exits.start()
    desk.wait(0.25)
    assert [close.reason for close in desk.closed] == ["max_hold"]


def test_state_of_an_unknown_pair_is_passed_over() -> None:
    """It may have been completed before."""
    desk = Desk()
    desk.exits()
    pair = desk.hold()
    desk.pairs._pairs.clear()
    desk.move(pair, PairState.CLOSING)
    assert desk.closed == []
