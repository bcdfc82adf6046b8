"""What a quote must be to be used."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.kernel.clock import SECOND
from perpbot.market.slot import FORGET_NS
from tests.unit.market.floor import BTC, START_NS, Floor

NAN, INF = math.nan, math.inf
GOOD = (95_000.0, 1.0, 95_001.0, 1.0)


def test_good_quote_is_published_with_its_numbers_and_times() -> None:
    """A good quote comes out of the bus as it went in."""
    floor = Floor()
    floor.slot().update(*GOOD, START_NS - 7, START_NS)

    (quote,) = floor.quotes
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == GOOD
    assert (quote.venue, quote.asset) == ("okx", BTC)
    assert (quote.venue_ns, quote.recv_ns) == (START_NS - 7, START_NS)
    assert floor.engine.usable("okx", BTC)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        pytest.param((NAN, 1.0, 95_001.0, 1.0), "not_finite", id="nan-bid"),
        pytest.param((95_000.0, 1.0, NAN, 1.0), "not_finite", id="nan-ask"),
        pytest.param((95_000.0, NAN, 95_001.0, 1.0), "not_finite", id="nan-size"),
        pytest.param((INF, 1.0, INF, 1.0), "not_finite", id="infinite-both"),
        pytest.param((95_000.0, 1.0, INF, 1.0), "not_finite", id="infinite-ask"),
        pytest.param((95_000.0, 1.0, 95_001.0, INF), "not_finite", id="infinite-size"),
        pytest.param((-95_000.0, 1.0, 95_001.0, 1.0), "negative", id="negative-bid"),
        pytest.param((95_000.0, -1.0, 95_001.0, 1.0), "negative", id="negative-size"),
        pytest.param((0.0, 0.0, 95_001.0, 1.0), "one_sided", id="no-bid"),
        pytest.param((95_000.0, 1.0, 0.0, 0.0), "one_sided", id="no-ask"),
        pytest.param((95_000.0, 0.0, 95_001.0, 1.0), "one_sided", id="no-size"),
        pytest.param((95_001.0, 1.0, 95_000.0, 1.0), "crossed", id="crossed"),
        pytest.param((95_000.0, 1.0, 95_000.0, 1.0), "crossed", id="locked"),
        pytest.param((95_000.0, 1.0, 97_000.0, 1.0), "wide", id="wide"),
        pytest.param((95_000.0, 0.001, 95_001.0, 1.0), "thin", id="thin-bid"),
        pytest.param((95_000.0, 1.0, 95_001.0, 0.001), "thin", id="thin-ask"),
        pytest.param((950_000.0, 1.0, 950_010.0, 1.0), "price_error", id="ten-times"),
        pytest.param((9_500.0, 1.0, 9_500.1, 1.0), "price_error", id="a-tenth"),
        pytest.param((95_600.0, 1.0, 95_601.0, 1.0), "jump", id="jump"),
        pytest.param((1e300, 1e-300, 1.00001e300, 1e-300), "out_of_band", id="no-price"),
        pytest.param((1e-300, 1e302, 1.00001e-300, 1e302), "out_of_band", id="no-tiny-price"),
        pytest.param((95_000.0, 1e15, 95_001.0, 1.0), "out_of_band", id="size"),
    ],
)
def test_bad_quote_is_refused_counted_and_ends_the_use_of_the_last(
    numbers: tuple[float, float, float, float], reason: str
) -> None:
    """A refused quote is counted by its reason, and nothing may open on the one before it."""
    floor = Floor()
    slot = floor.slot()
    slot.update(*GOOD, START_NS, START_NS)
    slot.update(*numbers, START_NS, START_NS)

    assert floor.refused() == {reason: 1}
    assert len(floor.quotes) == 1
    assert not floor.engine.usable("okx", BTC)
    latest = floor.engine.latest("okx", BTC)
    assert latest is not None
    assert latest.bid == 95_000.0


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((1e300, 1.0, 1.00001e300, 1.0), id="price"),
        pytest.param((1e-30, 1e33, 1.00001e-30, 1e33), id="tiny"),
        pytest.param((1e4, 1e300, 10_001.0, 1.0), id="size"),
    ],
)
def test_no_first_quote_is_believed_whatever_it_is(
    numbers: tuple[float, float, float, float],
) -> None:
    """Nothing speaks against it yet but that no market has such numbers."""
    floor = Floor()
    floor.slot().update(*numbers, START_NS, START_NS)
    floor.engine.sweep(START_NS)
    floor.slot().update(*numbers, START_NS, START_NS)

    assert floor.quotes == []
    assert floor.slot().level(START_NS) == 0.0


def test_good_quote_after_a_bad_one_is_used_again() -> None:
    """One crossed quote costs one quote."""
    floor = Floor()
    assert floor.quote(100.0, 100.1, size=10)
    assert not floor.quote(100.1, 100.0, size=10)
    assert floor.quote(100.0, 100.1, size=10)
    assert floor.engine.usable("okx", BTC)


@pytest.mark.parametrize(
    ("mid", "accepted"),
    [
        pytest.param(100.49, True, id="below"),
        pytest.param(100.5, True, id="at"),
        pytest.param(100.51, False, id="above"),
        pytest.param(99.51, True, id="down-below"),
        pytest.param(99.49, False, id="down-above"),
    ],
)
def test_jump_is_a_move_beyond_half_a_percent_of_the_last_mid(mid: float, accepted: bool) -> None:
    """The limit itself is still a move."""
    floor = Floor()
    floor.quote(99.9, 100.1, size=10)
    assert floor.quote(mid - 0.0625, mid + 0.0625, size=10) is accepted


def test_jump_is_believed_after_three_quotes_around_the_new_level() -> None:
    """The jump and two quotes are refused; the third quote at the new level passes."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    assert [floor.quote(102.0, 102.1, size=10) for _ in range(5)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert floor.refused() == {"jump": 1, "quarantined": 2}


def test_jump_within_a_quarantine_begins_it_anew() -> None:
    """Quotes that do not agree with each other are not believed."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    levels = (102.0, 102.0, 104.0, 104.0, 104.0, 104.0)
    accepted = [floor.quote(level, level + 0.1, size=10) for level in levels]
    assert accepted == [False, False, False, False, False, True]


def test_spike_quarantines_the_return_too() -> None:
    """After one ten-times price, three sane quotes are needed at the old level."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.quote(1_000.0, 1_001.0, size=10)
    accepted = [floor.quote(100.0, 100.1, size=10) for _ in range(3)]
    assert accepted == [False, False, True]


def test_ten_times_price_is_never_believed_while_the_old_level_is_known() -> None:
    """However often a wrong price comes, it stays wrong."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    assert not any(floor.quote(1_000.0, 1_001.0, size=10) for _ in range(50))
    assert floor.refused() == {"price_error": 50}


def test_old_level_is_forgotten_after_a_minute_of_nothing() -> None:
    """A market that really is elsewhere after a long silence comes back."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.wait(FORGET_NS / SECOND + 1)
    accepted = [floor.quote(1_000.0, 1_001.0, size=10) for _ in range(4)]
    assert accepted == [False, False, False, True]


@pytest.mark.parametrize(
    ("age_s", "usable"),
    [
        pytest.param(4.999, True, id="below"),
        pytest.param(5.0, True, id="at"),
        pytest.param(5.001, False, id="above"),
    ],
)
def test_quote_is_stale_beyond_the_declared_interval(age_s: float, usable: bool) -> None:
    """Staleness is checked at use, by the monotonic receive time."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.wait(age_s)
    assert floor.engine.usable("okx", BTC) is usable


def test_sweep_ends_silent_quotes_once() -> None:
    """A silent channel is counted when it falls silent, not at each sweep."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    for _ in range(3):
        floor.wait(4.0)
        floor.engine.sweep(floor.time.monotonic_ns())
    assert floor.refused() == {"silent": 1}


def test_invalidated_quote_is_not_usable_until_the_next() -> None:
    """A broken channel ends the use of its last quote and is counted by its reason."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.slot().invalidate("sequence_gap")
    assert not floor.engine.usable("okx", BTC)
    assert floor.refused() == {"sequence_gap": 1}
    assert floor.quote(100.0, 100.1, size=10)
    assert floor.engine.usable("okx", BTC)


def test_polled_quotes_are_shown_but_never_usable() -> None:
    """A quote from a REST poll is published and never opens anything; streaming cures it."""
    floor = Floor()
    slot = floor.slot()
    slot.polled = True
    assert floor.quote(100.0, 100.1, size=10)
    assert slot.polled
    assert floor.quotes
    assert not floor.engine.usable("okx", BTC)
    slot.polled = False
    floor.quote(100.0, 100.1, size=10)
    assert floor.engine.usable("okx", BTC)


def test_older_quote_is_refused_without_harm_to_the_newer() -> None:
    """What was overtaken says nothing against what overtook it."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10, transit_ms=5)
    assert not floor.quote(100.0, 100.2, size=10, transit_ms=6)
    assert floor.refused() == {"out_of_order": 1}
    assert floor.engine.usable("okx", BTC)


@pytest.mark.parametrize("ahead_ns", [0, 1_270_000_000, 10 * SECOND - START_NS])
@pytest.mark.parametrize(
    ("lag_ms", "accepted"),
    [
        pytest.param(1_004, True, id="below"),
        pytest.param(1_005, True, id="at"),
        pytest.param(1_006, False, id="above"),
    ],
)
def test_lag_is_measured_above_the_least_transit(
    ahead_ns: int, lag_ms: float, accepted: bool
) -> None:
    """The constant between both clocks does not matter, whichever is ahead, by however much."""
    floor = Floor(wall_ahead_ns=ahead_ns)
    floor.quote(100.0, 100.1, size=10, transit_ms=5)
    floor.wait(4.0)
    assert floor.quote(100.0, 100.1, size=10, transit_ms=lag_ms) is accepted


def test_impossible_venue_time_is_refused_and_does_not_spoil_the_offset() -> None:
    """A time stamp from the far future makes no later quote late."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    assert not floor.quote(100.0, 100.1, size=10, transit_ms=-3_600_000)
    assert floor.quote(100.0, 100.1, size=10)
    assert floor.refused() == {"bad_timestamp": 1}


def test_late_quote_is_the_touch_for_leaving_until_one_is_in_time() -> None:
    """A venue that set its clock back is late for minutes: nothing opens, prices are known."""
    floor = Floor()
    slot = floor.slot()
    assert slot.touch() is None
    floor.quote(100.0, 100.1, size=10)
    floor.wait(1)
    assert not floor.quote(98.0, 98.1, size=10, transit_ms=3_000)
    assert slot.touch() == floor.engine.touch("okx", BTC) == (98.0, 98.1)
    assert [quote.bid for quote in floor.quotes] == [100.0]
    assert not floor.engine.usable("okx", BTC)
    floor.wait(1)
    floor.quote(100.0, 100.2, size=10)
    assert slot.touch() == (100.0, 100.2)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        pytest.param(10.0, 10.01, id="a-tenth"),
        pytest.param(1_000.0, 1_001.0, id="ten-times"),
        pytest.param(100.1, 100.0, id="crossed"),
    ],
)
def test_late_quote_with_another_fault_is_no_touch(bid: float, ask: float) -> None:
    """A price that is wrong is not believed for leaving either."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.wait(1)
    assert not floor.quote(bid, ask, size=10, transit_ms=3_000)
    assert floor.slot().touch() == (100.0, 100.1)


def test_quotes_without_venue_time_are_used() -> None:
    """A venue that sends no time cannot be late."""
    floor = Floor()
    for _ in range(2):
        floor.slot().update(*GOOD, 0, START_NS)
    assert len(floor.quotes) == 2


@given(
    bid=st.floats(),
    bid_size=st.floats(),
    ask=st.floats(),
    ask_size=st.floats(),
    venue_ns=st.integers(min_value=0, max_value=1 << 62),
)
def test_any_numbers_are_published_only_if_sane(
    bid: float, bid_size: float, ask: float, ask_size: float, venue_ns: int
) -> None:
    """Nothing raises, and whatever comes out is finite, positive and uncrossed."""
    floor = Floor()
    slot = floor.slot()
    slot.update(bid, bid_size, ask, ask_size, venue_ns, START_NS)
    slot.update(*GOOD, START_NS, START_NS)
    slot.update(bid, bid_size, ask, ask_size, venue_ns, START_NS)
    for quote in floor.quotes:
        assert 0 < quote.bid < quote.ask < INF
        assert 0 < quote.bid_size < INF
        assert 0 < quote.ask_size < INF
    assert slot.accepted + sum(slot.refused.values()) == 3
