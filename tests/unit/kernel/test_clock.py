"""Real and virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import StateConflict
from perpbot.kernel.clock import SECOND, LoopTimers, RealClock, VirtualTime


@given(st.lists(st.integers(-5, 50), max_size=30))
def test_callbacks_run_in_order_of_due_time_then_of_asking(delays: list[int]) -> None:
    """A negative delay is due now."""
    time = VirtualTime(100)
    ran: list[tuple[int, int]] = []
    for number, delay in enumerate(delays):
        time.call_later(delay, lambda n=number: ran.append((time.now_ns(), n)))  # type: ignore[misc]

    time.run_until(150)

    assert ran == sorted((100 + max(delay, 0), n) for n, delay in enumerate(delays))
    assert time.now_ns() == time.monotonic_ns() == 150


def test_a_callback_may_ask_for_another_in_the_same_run() -> None:
    """Time stands at each due time while its callback runs."""
    time, ran = VirtualTime(), list[int]()

    def again() -> None:
        ran.append(time.now_ns())
        time.call_later(10, again)

    again()
    time.run_until(35)

    assert ran == [0, 10, 20, 30]
    assert time.next_due_ns == 40


def test_what_is_due_later_waits() -> None:
    """Up to and including the given time."""
    time, ran = VirtualTime(), list[int]()
    time.call_later(10, lambda: ran.append(10))
    time.call_later(11, lambda: ran.append(11))

    time.run_until(10)

    assert ran == [10]


def test_a_cancelled_callback_never_runs() -> None:
    """Nor is it what comes next."""
    time, ran = VirtualTime(), list[int]()
    first = time.call_later(1, lambda: ran.append(1))
    second = time.call_later(2, lambda: ran.append(2))
    first.cancel()
    first.cancel()

    assert time.next_due_ns == 2
    time.run_until(5)
    second.cancel()

    assert ran == [2]
    assert time.next_due_ns is None


def test_virtual_time_never_goes_back() -> None:
    """Nothing runs on the way to an error."""
    time = VirtualTime(10)

    with pytest.raises(StateConflict, match="cannot go back from 10 to 9"):
        time.run_until(9)


def test_time_may_move_where_nothing_is_due() -> None:
    """Forward only."""
    time = VirtualTime(10)
    time.advance(20)
    time.advance(15)

    assert time.now_ns() == 20


def test_the_real_clocks_move() -> None:
    """Wall time is of this century, in nanoseconds."""
    clock = RealClock()

    assert clock.now_ns() > 1_600_000_000 * SECOND
    assert clock.monotonic_ns() <= clock.monotonic_ns()


def test_setting_the_machines_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forward or back: our wall time goes on evenly."""
    before_ns, real = RealClock.now_ns(), time.time_ns
    for step_s in (3_600, -3_600):
        monkeypatch.setattr(time, "time_ns", lambda by=step_s: real() + by * SECOND)
        assert 0 <= RealClock.now_ns() - before_ns < 60 * SECOND


async def test_loop_timers_call_back_and_can_be_cancelled() -> None:
    """On the running loop."""
    timers = LoopTimers(asyncio.get_running_loop())
    done = asyncio.Event()
    cancelled = timers.call_later(0, lambda: pytest.fail("was cancelled"))
    cancelled.cancel()
    timers.call_later(-5, done.set)

    await asyncio.wait_for(done.wait(), 20)
