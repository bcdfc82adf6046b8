"""The usual exit cost of a pair: a rolling median with a warm-up."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.market.basis import BasisTracker, RollingMedian
from perpbot.market.settings import MarketSettings
from tests.unit.market.floor import BTC, Floor

SETTINGS = MarketSettings(basis_sample_interval_ms=100, basis_window_s=2.0, basis_warmup_s=1.0)
step = st.one_of(st.floats(min_value=-1e3, max_value=1e3), st.just(math.nan), st.just(None))


@given(steps=st.lists(step, max_size=120), capacity=st.integers(min_value=1, max_value=12))
def test_rolling_median_is_the_median(steps: list[float | None], capacity: int) -> None:
    """After any pushes and drops (None): the median of what is held, as statistics has it."""
    rolling = RollingMedian(capacity)
    held: deque[float] = deque(maxlen=capacity)
    for value in steps:
        if value is None:
            rolling.drop()
            if held:
                held.popleft()
        else:
            rolling.push(value)
            held.append(value)
        counted = [one for one in held if not math.isnan(one)]
        assert len(rolling) == len(counted)
        if counted:
            assert rolling.median == median(counted)
        else:
            assert math.isnan(rolling.median)


def sampled(floor: Floor, tracker: BasisTracker, times: int, *, ask: float = 100.1) -> None:
    """Quote both venues and sample, ten times a second."""
    for _ in range(times):
        floor.wait(0.1)
        floor.quote(100.0, 100.01, "okx", size=10)
        floor.quote(ask - 0.01, ask, "binance", size=10)
        tracker.sample(floor.time.monotonic_ns())


def tracked() -> tuple[Floor, BasisTracker]:
    """Both directions of two venues."""
    floor = Floor(SETTINGS)
    tracker = BasisTracker(floor.engine, SETTINGS)
    for venue in ("okx", "binance"):
        floor.slot(venue)
    tracker.track(BTC, "okx", "binance")
    tracker.track(BTC, "binance", "okx")
    return floor, tracker


def test_exit_cost_is_ask_of_the_short_minus_bid_of_the_long() -> None:
    """In bps of the mean mid; each direction has its own."""
    floor, tracker = tracked()
    sampled(floor, tracker, 15)
    mean_mid = (100.0 + 100.01 + 100.09 + 100.1) / 4
    assert tracker.expected_exit_bps(BTC, "okx", "binance") == pytest.approx(
        (100.1 - 100.0) / mean_mid * 10_000
    )
    assert tracker.expected_exit_bps(BTC, "binance", "okx") == pytest.approx(
        (100.01 - 100.09) / mean_mid * 10_000
    )


@pytest.mark.parametrize(
    ("samples", "warm"),
    [
        pytest.param(10, False, id="below"),
        pytest.param(11, True, id="at"),
        pytest.param(12, True, id="above"),
    ],
)
def test_nothing_is_expected_before_the_warm_up(samples: int, warm: bool) -> None:
    """One second after the first sample, and not before."""
    floor, tracker = tracked()
    sampled(floor, tracker, samples)
    assert (tracker.expected_exit_bps(BTC, "okx", "binance") is not None) is warm


def test_unknown_direction_is_cold() -> None:
    """What is not tracked is not expected."""
    _, tracker = tracked()
    assert tracker.expected_exit_bps(BTC, "okx", "hyperliquid") is None


def test_unwatched_market_cannot_be_tracked() -> None:
    """A direction needs both slots."""
    _, tracker = tracked()
    with pytest.raises(InvalidValue, match="not watched"):
        tracker.track(BTC, "okx", "hyperliquid")


def test_direction_is_tracked_once() -> None:
    """The same object every time."""
    _, tracker = tracked()
    assert tracker.track(BTC, "okx", "binance") is tracker.track(BTC, "okx", "binance")
    assert len(list(tracker)) == 2


def test_unusable_quotes_are_not_sampled_and_a_long_gap_cools() -> None:
    """After a window without usable quotes the direction must warm up again."""
    floor, tracker = tracked()
    sampled(floor, tracker, 15)
    floor.slot("okx").invalidate("disconnected")
    for _ in range(25):
        floor.wait(0.1)
        tracker.sample(floor.time.monotonic_ns())
    assert tracker.expected_exit_bps(BTC, "okx", "binance") is None
    sampled(floor, tracker, 10)
    assert tracker.expected_exit_bps(BTC, "okx", "binance") is None
    sampled(floor, tracker, 1)
    assert tracker.expected_exit_bps(BTC, "okx", "binance") is not None


def test_short_dislocation_does_not_move_the_median() -> None:
    """Half a second of a wide gap within two seconds of samples is no basis."""
    floor, tracker = tracked()
    sampled(floor, tracker, 15)
    before = tracker.expected_exit_bps(BTC, "okx", "binance")
    sampled(floor, tracker, 5, ask=100.3)
    assert tracker.expected_exit_bps(BTC, "okx", "binance") == before


def test_standing_basis_is_learned_within_a_window() -> None:
    """Old samples leave the window."""
    floor, tracker = tracked()
    sampled(floor, tracker, 15)
    sampled(floor, tracker, 25, ask=100.3)
    assert tracker.expected_exit_bps(BTC, "okx", "binance") == pytest.approx(29.96, abs=0.01)


def test_late_timer_does_not_overflow_or_starve_the_window() -> None:
    """A timer that is too fast fills the ring no further; one twice as slow still warms up."""
    floor, tracker = tracked()
    for _ in range(100):
        floor.wait(0.01)
        floor.quote(100.0, 100.01, "okx", size=10)
        floor.quote(100.09, 100.1, "binance", size=10)
        tracker.sample(floor.time.monotonic_ns())
    assert tracker.expected_exit_bps(BTC, "okx", "binance") is None
    for _ in range(10):
        floor.wait(0.2)
        floor.quote(100.0, 100.01, "okx", size=10)
        floor.quote(100.09, 100.1, "binance", size=10)
        tracker.sample(floor.time.monotonic_ns())
    assert tracker.expected_exit_bps(BTC, "okx", "binance") is not None


def test_direction_that_is_tracked_later_ages_with_the_others() -> None:
    """Its ring has a place for each instant that was sampled before it came."""
    floor = Floor(SETTINGS)
    tracker = BasisTracker(floor.engine, SETTINGS)
    for venue in ("okx", "binance"):
        floor.slot(venue)
    tracker.track(BTC, "okx", "binance")
    sampled(floor, tracker, 12)
    late = tracker.track(BTC, "binance", "okx")
    sampled(floor, tracker, 12)
    assert len(late.window) == 12
    assert tracker.expected_exit_bps(BTC, "binance", "okx") is not None


def test_listeners_hear_of_every_sample() -> None:
    """The scanner folds its ratios after each."""
    floor, tracker = tracked()
    heard: list[float] = []
    tracker.on_sample(lambda: heard.append(1.0))
    sampled(floor, tracker, 3)
    assert len(heard) == 3
