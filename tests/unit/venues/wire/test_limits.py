from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import tzset

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue, Rejected
from perpbot.kernel.clock import MS, SECOND, RealClock, VirtualTime, VirtualTimer
from perpbot.venues.wire.limits import Lane, RateBudget, Window, before_expiry, retry_after_s

WEIGHT = {"weight": 1}


def _budget(time: VirtualTime, limit: int = 10, period_s: float = 60.0) -> RateBudget:
    return RateBudget([Window("weight", limit, period_s)], clock=time, timers=time)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_reserve_is_for_reductions_and_hedges() -> None:
    """Reads and opens stop at 80 %, hedges and reductions use the rest."""
    budget = _budget(VirtualTime())

    assert [budget.try_acquire(Lane.READ, WEIGHT) for _ in range(9)] == [True] * 8 + [False]
    assert not budget.try_acquire(Lane.OPEN, WEIGHT)
    assert budget.try_acquire(Lane.HEDGE, WEIGHT)
    assert budget.try_acquire(Lane.REDUCE, WEIGHT)
    assert not budget.try_acquire(Lane.REDUCE, WEIGHT)
    assert budget.statistics().used == {"weight": 10}


def test_window_rolls() -> None:
    """What was spent is free again after the period, not before."""
    time = VirtualTime()
    budget = _budget(time, limit=1, period_s=2.0)

    assert budget.try_acquire(Lane.REDUCE, WEIGHT)
    time.run_until(2 * SECOND - 1)
    assert not budget.try_acquire(Lane.REDUCE, WEIGHT)
    time.run_until(2 * SECOND)
    assert budget.try_acquire(Lane.REDUCE, WEIGHT)


async def test_waiters_are_served_by_lane_then_by_order() -> None:
    """A reduction that came last goes first."""
    time = VirtualTime()
    budget = _budget(time, limit=5, period_s=1.0)
    for _ in range(5):
        budget.try_acquire(Lane.REDUCE, WEIGHT)
    order: list[str] = []

    async def ask(name: str, lane: Lane) -> None:
        await budget.acquire(lane, {"weight": 2})
        order.append(name)

    tasks = [
        asyncio.create_task(ask(name, lane))
        for name, lane in (
            ("read", Lane.READ),
            ("open 1", Lane.OPEN),
            ("open 2", Lane.OPEN),
            ("hedge", Lane.HEDGE),
            ("reduce", Lane.REDUCE),
        )
    ]
    await _settle()
    assert budget.statistics().waiting == 5
    for second in range(1, 6):
        time.run_until(second * SECOND + second)
        await _settle()
    await asyncio.gather(*tasks)

    assert order == ["reduce", "hedge", "open 1", "open 2", "read"]


async def test_cancelled_waiter_lets_the_next_through() -> None:
    """Giving up while waiting leaves no trace."""
    time = VirtualTime()
    budget = _budget(time, limit=10, period_s=1.0)
    for _ in range(7):
        budget.try_acquire(Lane.READ, WEIGHT)
    large = asyncio.create_task(budget.acquire(Lane.OPEN, {"weight": 5}))
    await _settle()
    small = asyncio.create_task(budget.acquire(Lane.READ, WEIGHT))
    await _settle()
    assert not small.done()

    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await asyncio.wait_for(small, 20)

    assert budget.statistics().waiting == 0


class _CountedTime(VirtualTime):
    """Virtual time that counts how often a timer was set."""

    timers = 0

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        self.timers += 1
        return super().call_later(delay_ns, callback)


async def test_who_waits_behind_another_is_not_woken_in_vain() -> None:
    """A small request that would fit, behind a large one that does not, sets no timer."""
    time = _CountedTime()
    budget = _budget(time, period_s=10.0)
    budget.try_acquire(Lane.REDUCE, {"weight": 3})
    large = asyncio.create_task(budget.acquire(Lane.REDUCE, {"weight": 8}))
    await _settle()
    small = asyncio.create_task(budget.acquire(Lane.READ, WEIGHT))
    await _settle()

    time.run_until(10 * SECOND - 1)
    assert not large.done()
    assert time.timers < 5
    time.run_until(30 * SECOND)
    await asyncio.gather(large, small)


def test_other_windows_are_not_held() -> None:
    """An order that waits for the order count does not hold reads of weight."""
    time = VirtualTime()
    budget = RateBudget(
        [Window("weight", 10, 1.0), Window("orders", 1, 1.0)],
        clock=time,
        timers=time,
        reserve_share=0.0,
    )

    assert budget.try_acquire(Lane.OPEN, {"orders": 1})
    assert not budget.try_acquire(Lane.OPEN, {"orders": 1, "weight": 1})
    assert budget.try_acquire(Lane.READ, WEIGHT)


def test_feedback_only_ever_tightens() -> None:
    """The venue counts what others on this address spend; a lower count changes nothing."""
    budget = _budget(VirtualTime())

    budget.feedback("weight", 7)
    assert budget.statistics().used == {"weight": 7}
    budget.feedback("weight", 2)
    budget.feedback("unknown", 99)
    assert budget.statistics().used == {"weight": 7}
    assert budget.try_acquire(Lane.READ, WEIGHT)
    assert not budget.try_acquire(Lane.READ, WEIGHT)


def test_venue_tells_its_own_limit() -> None:
    """The told limit and its reserve replace the assumed ones."""
    budget = _budget(VirtualTime())
    budget.resize("weight", 100)
    assert budget.try_acquire(Lane.READ, {"weight": 80})
    assert not budget.try_acquire(Lane.READ, WEIGHT)
    for window, limit in (("other", 5), ("weight", 0)):
        with pytest.raises(InvalidValue):
            budget.resize(window, limit)


def test_penalty_stops_everything_then_lets_reductions_probe() -> None:
    """No call before the time; after it a reduction probes; feedback ends the probation."""
    time = VirtualTime()
    budget = _budget(time)
    budget.penalise(5.0)

    time.run_until(5 * SECOND - 1)
    assert not budget.try_acquire(Lane.REDUCE, WEIGHT)
    time.run_until(5 * SECOND)
    assert not budget.try_acquire(Lane.READ, WEIGHT)
    assert budget.try_acquire(Lane.REDUCE, WEIGHT)
    budget.feedback("weight", 1)
    assert budget.try_acquire(Lane.READ, WEIGHT)
    assert budget.statistics().penalties == 1


async def test_probation_ends_by_itself() -> None:
    """A node that only reads comes back without a reduction to probe with."""
    time = VirtualTime()
    budget = _budget(time)
    budget.penalise(0.0)
    read = asyncio.create_task(budget.acquire(Lane.READ, WEIGHT))
    await _settle()
    assert not read.done()

    time.run_until(SECOND + 1)
    await asyncio.wait_for(read, 20)


async def test_a_fare_is_spent_as_its_costs_are() -> None:
    """It knows the lane's share, a limit that changed, waiters of its windows, and a penalty."""
    time = VirtualTime()
    budget = _budget(time, limit=10, period_s=1.0)
    opening, reducing = budget.fare(Lane.OPEN, WEIGHT), budget.fare(Lane.REDUCE, WEIGHT)

    assert [budget.try_spend(opening) for _ in range(9)] == [True] * 8 + [False]
    assert [budget.try_spend(reducing) for _ in range(3)] == [True, True, False]
    budget.resize("weight", 20)
    assert budget.try_spend(opening)
    waiter = asyncio.create_task(budget.acquire(Lane.HEDGE, {"weight": 20}))
    await _settle()
    assert not budget.try_spend(opening)  # the large hedge before it waits for the same window
    assert budget.try_spend(reducing)
    waiter.cancel()
    await _settle()
    assert budget.try_spend(opening)
    budget.penalise(0.5)
    assert not budget.try_spend(reducing)
    time.run_until(SECOND)
    assert budget.try_spend(reducing)
    assert budget.statistics().granted == 14


@pytest.mark.parametrize(
    ("lane", "costs"),
    [
        (Lane.READ, {"other": 1}),
        (Lane.REDUCE, {"weight": 11}),
        (Lane.OPEN, {"weight": 9}),
        (Lane.REDUCE, {"weight": -1}),
    ],
    ids=["unknown window", "beyond the limit", "beyond the share", "negative"],
)
def test_impossible_costs_are_refused(lane: Lane, costs: dict[str, int]) -> None:
    """A request that could never be granted does not wait for ever."""
    with pytest.raises(InvalidValue):
        _budget(VirtualTime()).try_acquire(lane, costs)


@given(
    st.lists(st.tuples(st.sampled_from([Lane.OPEN, Lane.READ]), st.integers(1, 4)), max_size=40),
    st.integers(1, 2),
)
def test_reductions_never_wait_for_reads_or_opens(
    traffic: list[tuple[Lane, int]], cost: int
) -> None:
    """Whatever reads and opens spent or wait for, the reserve grants a reduction at once."""

    async def scenario() -> None:
        time = VirtualTime()
        budget = _budget(time)
        waiting = [
            asyncio.create_task(budget.acquire(lane, {"weight": weight}))
            for lane, weight in traffic
        ]
        await _settle()
        await asyncio.wait_for(budget.acquire(Lane.REDUCE, {"weight": cost}), 20)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(scenario())


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Lane)), st.integers(0, 4), st.integers(0, 700)),
        max_size=60,
    )
)
def test_no_window_ever_holds_more_than_its_limit(moves: list[tuple[Lane, int, int]]) -> None:
    """In any 1 s at most 10 units are granted, to reads and opens never above 8 used."""
    time = VirtualTime()
    budget = _budget(time, period_s=1.0)
    granted: list[tuple[int, int]] = []
    for lane, cost, wait_ms in moves:
        time.run_until(time.now_ns() + wait_ms * 1_000_000)
        now_ns = time.now_ns()
        if budget.try_acquire(lane, {"weight": cost}):
            granted.append((now_ns, cost))
            used = sum(spent for at_ns, spent in granted if at_ns + SECOND > now_ns)
            assert used <= 10
            if lane >= Lane.OPEN and cost:
                assert used <= 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", 0.0, id="absent"),
        pytest.param("30", 30.0, id="seconds"),
        pytest.param("2.5", 2.5, id="fraction"),
        pytest.param("-1", 0.0, id="negative"),
        pytest.param("soon", 0.0, id="unreadable"),
        pytest.param("nan", 0.0, id="no number"),
        pytest.param("inf", 0.0, id="infinite"),
        pytest.param("9" * 5_000, 259_200.0, id="beyond any ban"),
    ],
)
def test_retry_after_in_seconds(text: str, expected: float) -> None:
    """The common form; what is no duration says nothing, and nothing is for ever."""
    assert retry_after_s({"retry-after": text} if text else {}, 0) == expected


NOON_NS = 1_795_262_400 * SECOND
"""Sat, 21 Nov 2026 12:00:00 GMT."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Sat, 21 Nov 2026 12:00:30 GMT", 30.0, id="usual"),
        pytest.param("Saturday, 21-Nov-26 12:00:30 GMT", 30.0, id="obsolete"),
        pytest.param("Sat Nov 21 12:00:30 2026", 30.0, id="asctime"),
        pytest.param("Sat, 21 Nov 2026 12:00:30", 30.0, id="no zone"),
        pytest.param("Sat, 21 Nov 2026 12:00:30 -0000", 30.0, id="zone unknown"),
        pytest.param("Sat, 21 Nov 2026 13:00:30 +0100", 30.0, id="another zone"),
        pytest.param("Sat, 21 Nov 2026 11:59:30 GMT", 0.0, id="over"),
        pytest.param("Sat, 21 Nov 3026 12:00:30 GMT", 259_200.0, id="beyond any ban"),
        pytest.param("Sat, 31 Feb 2026 12:00:30 GMT", 0.0, id="no day"),
    ],
)
def test_retry_after_as_a_date(
    text: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other form of RFC 9110, in each of its spellings; always GMT, wherever we are."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    try:
        assert retry_after_s({"retry-after": text}, NOON_NS) == expected
    finally:
        monkeypatch.undo()
        tzset()


def test_a_date_is_read_by_the_clock_that_said_it() -> None:
    """Our clock is a minute ahead: the answer's own Date tells how long to wait."""
    header = {
        "retry-after": "Sat, 21 Nov 2026 12:00:30 GMT",
        "date": "Sat, 21 Nov 2026 12:00:00 GMT",
    }
    assert retry_after_s(header, NOON_NS + 60 * SECOND) == 30.0
    assert retry_after_s(header | {"date": "now"}, NOON_NS) == 30.0


async def test_nobody_waits_for_rate_beyond_an_expiry() -> None:
    """Nothing was sent, which is said at once: the other leg may stand already."""
    budget = _budget(VirtualTime(), limit=1)
    assert budget.try_acquire(Lane.REDUCE, WEIGHT)
    clock = RealClock()

    for expires_ns in (clock.now_ns() + 5 * MS, clock.now_ns() - SECOND):
        with pytest.raises(Rejected) as refused:
            await before_expiry("venue", budget.acquire(Lane.OPEN, WEIGHT), expires_ns, clock)
        assert refused.value.code == "expired"
    assert budget.statistics().waiting == 0


@pytest.mark.parametrize("lasts_ns", [0, 60 * SECOND])
async def test_who_gets_rate_before_an_expiry_goes_on(lasts_ns: int) -> None:
    """With or without one."""
    clock, time = RealClock(), VirtualTime()
    budget = _budget(time, limit=1, period_s=1.0)
    assert budget.try_acquire(Lane.REDUCE, WEIGHT)
    expires_ns = lasts_ns and clock.now_ns() + lasts_ns
    waiting = asyncio.ensure_future(
        before_expiry("venue", budget.acquire(Lane.REDUCE, WEIGHT), expires_ns, clock)
    )
    await _settle()
    assert not waiting.done()
    time.run_until(2 * SECOND)
    await waiting
    assert budget.statistics().granted == 2
