"""The tree of tasks."""

from __future__ import annotations

import asyncio
import random

import pytest

from perpbot.domain.events import ComponentFailed, Event
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.supervisor import Supervisor


class ShortJitter(random.Random):
    """Asks for no wait; keeps what ceiling it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.ceilings: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.ceilings.append(b)
        return 0.0


def a_supervisor() -> tuple[Supervisor, list[Event], ShortJitter]:
    """Return a supervisor and what it publishes."""
    told, rng = list[Event](), ShortJitter()
    return Supervisor(told.append, VirtualTime(7), rng), told, rng


async def test_a_one_shot_failure_is_reported_and_ends() -> None:
    """Nothing is fire-and-forget."""
    supervisor, told, _ = a_supervisor()

    async def fail() -> None:
        raise RuntimeError("no")

    await supervisor.run("job", fail())

    [event] = told
    assert isinstance(event, ComponentFailed)
    assert (event.component, event.error, event.ts_ns) == ("job", "RuntimeError: no", 7)
    assert 'raise RuntimeError("no")' in event.traceback
    assert supervisor.statistics()["job"].failures == 1
    assert supervisor.statistics()["job"].running == 0


async def test_a_kept_task_is_started_again_without_limit_and_with_jitter() -> None:
    """The wait doubles up to the cap; returning counts like failing."""
    supervisor, told, rng = a_supervisor()
    starts = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts == 12:
            enough.set()
            await asyncio.Event().wait()
        if starts % 2:
            raise RuntimeError("again")

    supervisor.keep("feed", work)
    await asyncio.wait_for(enough.wait(), 20)

    assert rng.ceilings == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert len(told) == 6
    assert supervisor.statistics()["feed"].running == 1
    await supervisor.close()


async def test_a_long_run_starts_the_waits_anew() -> None:
    """An old connection that breaks is tried again soon."""
    told, rng = list[Event](), ShortJitter()
    supervisor = Supervisor(told.append, VirtualTime(), rng, restart_cap_s=-1.0)
    again = asyncio.Event()

    async def work() -> None:
        if len(rng.ceilings) == 3:
            again.set()

    supervisor.keep("feed", work)
    await asyncio.wait_for(again.wait(), 20)

    assert rng.ceilings[:3] == [-1.0, -1.0, -1.0]
    await supervisor.close()


async def test_close_cancels_and_waits_for_every_task() -> None:
    """Their last words are heard."""
    supervisor, _, _ = a_supervisor()
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    task = supervisor.run("a", work())
    supervisor.keep("b", work)
    await asyncio.sleep(0)
    await supervisor.close()

    assert ended == ["work", "work"]
    assert task.done()
    assert supervisor.statistics() == {}


async def test_a_task_that_never_started_is_closed_quietly() -> None:
    """Its coroutine is not left unawaited."""
    supervisor, told, _ = a_supervisor()

    async def work() -> None:
        pytest.fail("must not start")

    supervisor.run("a", work())
    await supervisor.close()

    assert told == []


async def test_what_ending_tasks_start_is_cancelled_too() -> None:
    """A last question of a cancelled request does not outlive the node."""
    supervisor, _, _ = a_supervisor()
    late: list[asyncio.Task[None]] = []

    async def more() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            late.append(supervisor.run("late", more()))

    supervisor.run("a", work())
    await asyncio.sleep(0)
    await supervisor.close()

    assert late[0].cancelled()


async def test_close_names_no_victory_over_a_task_that_does_not_end() -> None:
    """It raises, and whoever called it decides."""
    supervisor, _, _ = a_supervisor()
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = supervisor.run("stubborn", stubborn())
    await asyncio.sleep(0)
    closing = asyncio.create_task(supervisor.close(timeout_s=0.05))
    asyncio.get_running_loop().call_later(0.2, release.set)
    with pytest.raises(TimeoutError):
        await closing

    await task


async def test_a_task_may_close_the_supervisor_itself() -> None:
    """It does not wait for its own end."""
    supervisor, _, _ = a_supervisor()
    task = supervisor.run("leaver", supervisor.close())

    await asyncio.wait_for(task, 20)


async def test_a_failure_is_counted_when_the_bus_takes_no_report() -> None:
    """A halted bus has told its owner already."""

    def refuse(_event: Event) -> None:
        raise BusHalted("halted")

    supervisor = Supervisor(refuse, VirtualTime(), random.Random(0))

    async def fail() -> None:
        raise RuntimeError("no")

    await supervisor.run("job", fail())

    assert supervisor.statistics()["job"].last_error == "RuntimeError: no"


async def test_cancelled_tasks_take_no_further_step() -> None:
    """Not even one whose wait is over already."""
    supervisor, _, _ = a_supervisor()
    gate = asyncio.Event()
    done: list[str] = []

    async def wait_then_send() -> None:
        await gate.wait()
        done.append("sent")

    task = supervisor.run("submit", wait_then_send())
    await asyncio.sleep(0)
    gate.set()
    supervisor.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert done == []
    late = supervisor.run("late", wait_then_send())
    await asyncio.gather(late, return_exceptions=True)
    assert done == []
    await supervisor.close()
