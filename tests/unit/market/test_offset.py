"""The running minimum of receive minus venue time."""

from __future__ import annotations

from perpbot.market.offset import STEP_CONFIRMATIONS, STEP_NS, WINDOW_NS, ClockOffset

LAG_NS = 1_000


def test_floor_is_the_least_difference_seen() -> None:
    """Later frames raise nothing; faster ones lower the floor and the limit."""
    offset = ClockOffset(LAG_NS)
    for transit_ns in (70, 50, 60):
        assert offset.observe(transit_ns)
    assert (offset.floor_ns, offset.limit_ns) == (50, 50 + LAG_NS)


def test_minimum_is_forgotten_after_two_windows() -> None:
    """A venue that set its clock back is late for two windows at most."""
    offset = ClockOffset(LAG_NS)
    offset.turn(1)
    offset.observe(50)
    offset.turn(1 + WINDOW_NS)
    offset.observe(5_000)
    assert offset.floor_ns == 50
    offset.turn(1 + 2 * WINDOW_NS)
    assert offset.floor_ns == 5_000


def test_offset_of_an_unheard_venue_is_unknown() -> None:
    """Before the first frame there is no floor."""
    assert not ClockOffset(LAG_NS).known


def test_silent_window_leaves_no_floor() -> None:
    """Where nothing was heard nothing is known."""
    offset = ClockOffset(LAG_NS)
    offset.turn(1)
    offset.observe(50)
    for turns in (1, 2):
        offset.turn(1 + turns * WINDOW_NS)
    assert not offset.known


def test_clock_set_forward_is_believed_after_some_frames() -> None:
    """One odd time stamp is an error; a row of them is a clock that was set."""
    offset = ClockOffset(LAG_NS)
    offset.observe(0)
    ahead_ns = -STEP_NS - 1
    answers = [offset.observe(ahead_ns) for _ in range(STEP_CONFIRMATIONS)]
    assert answers == [False] * (STEP_CONFIRMATIONS - 1) + [True]
    assert offset.floor_ns == ahead_ns


def test_step_itself_is_a_faster_path() -> None:
    """At the limit a frame is taken for what it says."""
    offset = ClockOffset(LAG_NS)
    offset.observe(0)
    assert offset.observe(-STEP_NS)
