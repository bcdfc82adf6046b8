from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from perpbot.simulation.virtual.hosts import Host, HostDied
from perpbot.simulation.virtual.loop import Deadlock, Forbidden, VirtualLoop, new_loop

Work = Callable[[], Coroutine[Any, Any, Any]]


def make(seed: int = 1) -> VirtualLoop:
    """Return a loop of a seed."""
    return new_loop(random.Random(seed))


def run(work: Work, seed: int = 1) -> Any:
    """Run on a new loop."""
    return make(seed).run_until_complete(work())


def test_time_jumps_to_what_is_due() -> None:
    """An hour passes at once, and by the loop's clock only."""

    async def work() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(3_600)
        return loop.time() - before

    began = time.monotonic()
    assert run(work) == pytest.approx(3_600)
    assert time.monotonic() - began < 60


def test_callbacks_of_one_host_keep_their_order() -> None:
    """What asyncio promises of `call_soon` holds."""
    heard: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_soon(heard.append, number)
            loop.call_soon_threadsafe(heard.append, number)
        await asyncio.sleep(0.001)

    run(work)
    assert heard == [number for number in range(20) for _ in range(2)]


def order_of_timers(seed: int) -> list[int]:
    """Return in which order eight timers of one instant went."""
    heard: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in range(8):
            loop.call_at(2_000.0, heard.append, number)
        await asyncio.sleep(1_500)

    run(work, seed)
    return heard


def test_timers_of_one_instant_go_by_the_seed() -> None:
    """The same seed gives the same order, others give others; none is lost."""
    orders = [order_of_timers(seed) for seed in (1, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == list(range(8)) for order in orders)


def trace(seed: int) -> str:
    """Return the trace of three hosts at work."""
    loop = make(seed)

    async def worker(number: int) -> None:
        for _ in range(5):
            await asyncio.sleep(number % 3)

    async def work() -> None:
        hosts = [loop.new_host(str(number)) for number in range(3)]
        await asyncio.gather(*(host.run(worker(n)) for n, host in enumerate(hosts)))

    loop.run_until_complete(work())
    loop.note(b"end")
    return loop.trace_hash


def test_a_seed_gives_one_trace() -> None:
    """Hosts that could all go on are taken in the order of the seed."""
    assert trace(7) == trace(7)
    assert len({trace(seed) for seed in range(6)}) > 1


def test_a_cancelled_timer_does_not_run() -> None:
    """Neither before nor after its time has come."""
    heard: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1, heard.append, "no").cancel()
        loop.call_later(2, heard.append, "yes")
        soon = loop.call_soon(heard.append, "no")
        soon.cancel()
        await asyncio.sleep(3)

    run(work)
    assert heard == ["yes"]


def test_waiting_for_nothing_is_a_deadlock() -> None:
    """It says where the tasks stand."""

    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="work"):
        run(work)


def test_a_busy_loop_is_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers of a nanosecond do not count as time that moves."""
    monkeypatch.setattr("perpbot.simulation.virtual.loop.STEPS_AT_ONE_INSTANT", 1_000)

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_later(1e-9, again)

        again()
        await asyncio.sleep(1)

    with pytest.raises(Deadlock, match="time hardly moves"):
        run(work)


def test_stopping_before_the_work_is_done_is_an_error() -> None:
    """`run_until_complete` never returns without a result."""
    loop = make()

    async def work() -> None:
        loop.stop()
        await asyncio.sleep(10)

    with pytest.raises(Deadlock, match="stopped"):
        loop.run_until_complete(work())
    loop.close()


async def forever(heard: list[float]) -> None:
    """Note the time each second, and the end."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            await asyncio.sleep(1)
            heard.append(loop.time() - 1_000)
    finally:
        heard.append(-1.0)


def test_a_dead_host_never_runs_again() -> None:
    """Not its timers, not its tasks, not their last words."""
    loop = make()
    heard: list[float] = []

    async def work() -> None:
        host = loop.new_host("node")
        host.run(forever(heard))
        await asyncio.sleep(2.5)
        host.die()
        host.die()
        loop.call_soon(heard.append, 0.0, context=host.context())
        await asyncio.sleep(5)
        assert len(heard) == 2

    loop.run_until_complete(work())
    loop.close()
    assert loop.errors == []
    assert heard[:2] == [pytest.approx(1), pytest.approx(2)]


def test_a_frozen_host_goes_on_where_it_stood() -> None:
    """What was due meanwhile comes at once, after it; the others do not wait."""
    loop = make()
    frozen: list[float] = []
    other: list[float] = []

    async def work() -> None:
        host, free = loop.new_host("node"), loop.new_host("venue")
        host.run(forever(frozen))
        free.run(forever(other))
        await asyncio.sleep(1.5)
        loop.freeze(host, 4_000_000_000)
        await asyncio.sleep(6)

    loop.run_until_complete(work())
    assert frozen[:3] == [pytest.approx(1), pytest.approx(5.5), pytest.approx(6.5)]
    assert len(other) == 7


def test_dying_in_a_callback_unwinds_to_the_loop() -> None:
    """`except Exception` in the way does not stop it, and the world goes on."""
    loop = make()
    heard: list[str] = []

    def die(host: Host) -> None:
        host.die()
        raise HostDied("here")

    async def node(host: Host) -> None:
        try:
            die(host)
        except Exception:  # noqa: BLE001 - what the test is about
            heard.append("caught")
        heard.append("went on")

    async def work() -> str:
        host = loop.new_host("node")
        host.run(node(host))
        await asyncio.sleep(1)
        return "done"

    assert loop.run_until_complete(work()) == "done"
    assert heard == []


def test_a_death_of_nobody_is_not_taken() -> None:
    """Only a dead host may unwind."""
    loop = make()

    async def work() -> None:
        raise HostDied("nobody died")

    with pytest.raises(HostDied):
        loop.run_until_complete(work())


def test_what_nobody_takes_fails_the_run() -> None:
    """Exceptions of callbacks and of forgotten tasks are kept."""
    loop = make()

    async def fails() -> None:
        raise ValueError("forgotten")

    async def work() -> None:
        loop.call_soon(lambda: 1 // 0)
        loop.create_task(fails())
        await asyncio.sleep(1)
        gc.collect()

    loop.run_until_complete(work())
    assert len(loop.errors) == 2
    assert any("ZeroDivisionError" in text for text in loop.errors)
    assert any("forgotten" in text for text in loop.errors)


def test_a_handler_of_errors_takes_them() -> None:
    """As on any loop."""
    loop = make()
    heard: list[str] = []
    loop.set_exception_handler(lambda _loop, context: heard.append(str(context["message"])))
    assert loop.get_exception_handler() is not None

    async def work() -> None:
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    loop.run_until_complete(work())
    loop.default_exception_handler({"message": "by default"})
    assert len(heard) == 1
    assert loop.errors == ["by default"]


def test_sets_of_tasks_have_one_order() -> None:
    """The older task comes first, wherever it lies in memory."""

    async def work() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=str(n)) for n in range(9)}
        names = [task.get_name() for task in tasks]
        await asyncio.wait(tasks)
        return names

    assert run(work) == [str(number) for number in range(9)]


def test_asynchronous_generators_are_closed() -> None:
    """One that is left in the middle ends on the loop."""
    heard: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            heard.append("closed")

    async def work() -> None:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(0.1)

    run(work)
    assert heard == ["closed"]


def test_the_world_outside_is_forbidden() -> None:
    """Threads, signals, debugging, connections without a network."""
    loop = make()
    assert not loop.get_debug()
    loop.set_debug(False)

    async def work() -> None:
        with pytest.raises(Forbidden, match="threads"):
            await loop.run_in_executor(None, time.monotonic)
        with pytest.raises(Forbidden, match="signals"):
            loop.add_signal_handler(2, print)
        with pytest.raises(Forbidden, match="debug"):
            loop.set_debug(True)
        with pytest.raises(Forbidden, match="network"):
            await loop.create_connection(asyncio.Protocol, "okx.test", 443)
        with pytest.raises(Forbidden, match="running"):
            loop.run_forever()
        assert loop.is_running()

    loop.run_until_complete(work())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert loop.is_closed()
    assert not loop.is_running()
