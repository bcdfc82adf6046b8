from __future__ import annotations

import asyncio

from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.wire.dials import SPREAD_S, Dials


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_storm_is_spread_over_windows() -> None:
    """Three at once, three more after the window and its margin, and so on, in turn."""
    time = VirtualTime()
    dials = Dials(3, 1.0, clock=time, timers=time)
    left: list[tuple[int, int]] = []

    async def channel(number: int) -> None:
        await dials.leave()
        left.append((number, time.monotonic_ns() // SECOND))

    tasks = [asyncio.create_task(channel(number)) for number in range(7)]
    await _settle()
    assert left == [(0, 0), (1, 0), (2, 0)]
    time.run_until(SECOND + int(SPREAD_S * SECOND) - 1)
    await _settle()
    assert len(left) == 3
    for _ in range(2):
        time.run_until(time.monotonic_ns() + 2 * SECOND)
        await _settle()
    assert [number for number, _ in left] == list(range(7))
    await asyncio.gather(*tasks)


async def test_who_stops_waiting_takes_nothing() -> None:
    """A channel that is stopped in the queue leaves its turn to the next."""
    time = VirtualTime()
    dials = Dials(1, 1.0, clock=time, timers=time)
    await dials.leave()
    stopped = asyncio.create_task(dials.leave())
    waiting = asyncio.create_task(dials.leave())
    await _settle()

    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    time.run_until(2 * SECOND)
    await _settle()

    assert stopped.cancelled()
    assert waiting.done()
