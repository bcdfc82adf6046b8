"""Backoff, nonces and pending replies."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import OutcomeUnknown, StateConflict
from perpbot.kernel.clock import VirtualTime
from perpbot.venues.wire.backoff import Backoff
from perpbot.venues.wire.nonces import NonceSource
from perpbot.venues.wire.pending import LATE_NS, Echo, Later, PendingReplies


@given(st.integers(), st.integers(1, 200))
def test_backoff_stays_under_its_ceiling(seed: int, attempts: int) -> None:
    """Each delay lies between 0 and the doubled base, never above the cap; for ever."""
    backoff = Backoff(base_s=1.0, cap_s=60.0, rng=random.Random(seed))

    for attempt in range(attempts):
        assert 0.0 <= backoff.next_s() <= min(60.0, 2.0**attempt)
    assert backoff.attempts == attempts
    backoff.reset()
    assert backoff.next_s() <= 1.0


class _Wanders(VirtualTime):
    """A wall clock that jumps where it is told."""

    def set(self, now_ns: int) -> None:
        self._now_ns = now_ns


@given(st.lists(st.integers(0, 10**15), min_size=1), st.integers(0, 10**9))
def test_nonces_strictly_increase_whatever_the_clock_does(times: list[int], last: int) -> None:
    """A clock that steps back, or a restart with a persisted last, never repeats one."""
    clock = _Wanders()
    nonces = NonceSource(clock, last=last)
    previous = last
    for now_ns in times:
        clock.set(now_ns)
        nonce = nonces.next_ms()
        assert nonce > previous
        assert nonce >= now_ns // 1_000_000
        assert nonces.last == nonce
        previous = nonce


def test_a_socket_without_an_echo_is_late() -> None:
    """By the first request after which nothing was heard; whatever is heard counts."""
    time = VirtualTime(5)
    echo = Echo(time)
    assert not echo.is_missing

    echo.sent()
    time.run_until(5 + LATE_NS)
    echo.sent()
    assert (echo.is_missing, echo.is_late) == (True, False)
    time.run_until(6 + LATE_NS)
    assert echo.is_late
    echo.heard()
    assert (echo.is_missing, echo.is_late) == (False, False)


async def test_reply_reaches_its_waiter_once() -> None:
    """The second reply with an id finds nobody."""
    pending: PendingReplies[str, int] = PendingReplies()
    future = pending.new("a")

    assert pending.resolve("a", 5)
    assert await future == 5
    assert not pending.resolve("a", 6)
    assert not pending.resolve("unknown", 6)


async def test_used_id_is_refused() -> None:
    """Two requests must not wait under one id."""
    pending: PendingReplies[str, int] = PendingReplies()
    pending.new("a")

    with pytest.raises(StateConflict):
        pending.new("a")


async def test_one_waiter_can_be_failed() -> None:
    """An error reply to one request leaves the others waiting."""
    pending: PendingReplies[str, int] = PendingReplies()
    first, second = pending.new("a"), pending.new("b")

    assert pending.fail("a", OutcomeUnknown("venue", "busy"))
    assert not pending.fail("a", OutcomeUnknown("venue", "busy"))
    with pytest.raises(OutcomeUnknown):
        await first
    assert not second.done()


async def test_lost_connection_fails_all_with_fresh_errors() -> None:
    """Every waiter gets an error of its own, and the table is empty."""
    pending: PendingReplies[int, int] = PendingReplies()
    futures = [pending.new(key) for key in range(3)]

    pending.fail_all(lambda: OutcomeUnknown("venue", "socket lost"))

    errors = await asyncio.gather(*futures, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    assert len(pending) == 0


async def test_cancelled_waiter_is_forgotten() -> None:
    """A waiter that timed out frees its id; its late reply finds nobody."""
    pending: PendingReplies[str, int] = PendingReplies()
    future = pending.new("a")
    future.cancel()
    await asyncio.sleep(0)

    assert len(pending) == 0
    assert not pending.resolve("a", 1)
    pending.new("a")


async def test_later_begins_when_it_is_awaited() -> None:
    """Who drops it unawaited leaves no coroutine behind that never ran."""
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        return number

    Later(partial(work, 1))

    assert await Later(partial(work, 2)) == 2
    assert begun == [2]
