"""The tables of fallback and retry."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.sides import OrderType, TimeInForce
from perpbot.execution.policies import (
    MARKET_AFTER,
    FallbackPolicy,
    MarketCondition,
    RetryPolicy,
)
from perpbot.execution.settings import ExecutionSettings, FallbackProfile
from perpbot.kernel.clock import MS
from perpbot.settings import SettingsError
from tests.unit.execution.stand import d, settings_of

CALM = MarketCondition()
FAST = MarketCondition(high_volatility=True)
THIN = MarketCondition(low_liquidity=True)


def policy(profile: FallbackProfile = FallbackProfile.LIMIT_ONLY) -> FallbackPolicy:
    """A policy with the usual budget of 100 bps."""
    return FallbackPolicy(ExecutionSettings(fallback=profile))


def venue(*, market_orders: bool) -> Capabilities:
    """A venue with or without market orders."""
    return Capabilities(
        venue="okx",
        operator="okx",
        maker_fee_bps=d(2),
        taker_fee_bps=d(5),
        fees_as_of="2026-01-01",
        market_orders=market_orders,
    )


@pytest.mark.parametrize("profile", FallbackProfile, ids=str)
@pytest.mark.parametrize("condition", [CALM, FAST, THIN], ids=["calm", "fast", "thin"])
def test_entry(profile: FallbackProfile, condition: MarketCondition) -> None:
    """At market only in a fast market and only in the aggressive profile."""
    style = policy(profile).entry(condition, d(3))
    market = profile is FallbackProfile.AGGRESSIVE and condition is FAST
    assert style.order_type is (OrderType.MARKET if market else OrderType.LIMIT)
    assert style.time_in_force is TimeInForce.IOC
    assert style.slip_bps == (d(100) if market else d(3))


@pytest.mark.parametrize("profile", FallbackProfile, ids=str)
def test_maker_first(profile: FallbackProfile) -> None:
    """Only the balanced profile rests first."""
    assert policy(profile).maker_first == (profile is FallbackProfile.BALANCED)


def test_size_in_a_thin_market() -> None:
    """Half the size where liquidity is low."""
    assert (policy().entry_share(THIN), policy().entry_share(CALM)) == (d("0.5"), d(1))


def test_each_try_gives_away_more_up_to_the_budget() -> None:
    """5, 10, 20, 40, 80 bps, then the budget; never at market for a hedge."""
    slips = [policy().hedge(attempt).slip_bps for attempt in range(12)]
    assert slips == [d(5), d(10), d(20), d(40), d(80)] + [d(100)] * 7
    assert all(policy().hedge(n).order_type is OrderType.LIMIT for n in range(20))


def test_a_reduction_gets_done() -> None:
    """After some tries it goes at market, where the venue has that."""
    last = policy().reduction(MARKET_AFTER - 1, venue(market_orders=True))
    assert last.order_type is OrderType.LIMIT
    assert (
        policy().reduction(MARKET_AFTER, venue(market_orders=True)).order_type is OrderType.MARKET
    )
    style = policy().reduction(MARKET_AFTER, venue(market_orders=False))
    assert (style.order_type, style.slip_bps) == (OrderType.LIMIT, d(100))


@given(attempt=st.integers(1, 10_000), seed=st.integers(0, 1_000))
def test_delays_are_bounded(attempt: int, seed: int) -> None:
    """Full jitter below the doubling ceiling and below the cap, however many tries."""
    retry = RetryPolicy(ExecutionSettings(), random.Random(seed))
    ceiling = min(100 * MS * 2 ** min(attempt - 1, 20), 5_000 * MS)
    assert 0 <= retry.delay_ns(attempt) <= ceiling


def test_delays_use_their_whole_range() -> None:
    """The jitter is full: short and long delays both come."""
    retry = RetryPolicy(ExecutionSettings(), random.Random(1))
    delays = [retry.delay_ns(1) for _ in range(200)]
    assert min(delays) < 10 * MS
    assert max(delays) > 90 * MS


def test_tries_are_counted() -> None:
    """A hedge has `retry_attempts` tries."""
    retry = RetryPolicy(ExecutionSettings(retry_attempts=3), random.Random(1))
    assert [retry.exhausted(attempt) for attempt in range(5)] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"execution.retry_base_ms": 10_000, "execution.retry_max_ms": 100},
            "at most retry_max_ms",
        ),
        (
            {"execution.hedge_after_ms": 2_000, "execution.wait_fill_limit_s": 1.0},
            "below wait_fill_limit_s",
        ),
    ],
    ids=["retry", "hedge_after"],
)
def test_contradictions_are_refused(flags: dict[str, object], message: str) -> None:
    """Settings that cannot hold together are refused with both values."""
    with pytest.raises(SettingsError, match=message):
        settings_of(tuple(flags.items()))
