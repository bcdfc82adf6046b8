"""Time as an argument: real, or virtual for simulation, backtests and tests.

Wall time is integer nanoseconds UTC; durations come from the monotonic clock. Core components get
a `Clock` and `Timers` and cannot tell which kind they have.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Protocol

from perpbot.domain.errors import StateConflict

MS = 1_000_000
SECOND = 1_000_000_000


class Clock(Protocol):
    """What time it is."""

    def now_ns(self) -> int:
        """Wall time, ns since the epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Time for durations; never steps back."""


class TimerHandle(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Forget it; harmless when it already ran."""


class Timers(Protocol):
    """Calls back later, in order of due time, then of asking."""

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call `callback` once, `delay_ns` from now."""


_EVEN = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets; on Linux it goes on while the machine sleeps."""
_EPOCH_NS = time.time_ns() - time.clock_gettime_ns(_EVEN)


def _even_wall_ns() -> int:
    return _EPOCH_NS + time.clock_gettime_ns(_EVEN)


class RealClock:
    """The machine's clocks.

    Wall time is read once, at the start of the process, and goes on evenly from there: when
    somebody sets the machine's clock, nothing expires at once and no timeout comes early.
    """

    now_ns = staticmethod(_even_wall_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


class LoopTimers:
    """Timers on a running asyncio loop, until they are closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._closed = False

    def close(self) -> None:
        """Call nobody back any more, whatever is due."""
        self._closed = True

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call `callback` on the loop."""
        return self._loop.call_later(max(delay_ns, 0) / SECOND, self._call, callback)

    def _call(self, callback: Callable[[], None]) -> None:
        if not self._closed:
            callback()


class VirtualTimer:
    """A callback in virtual time."""

    __slots__ = ("callback", "due_ns")

    def __init__(self, due_ns: int, callback: Callable[[], None] | None) -> None:
        self.due_ns = due_ns
        self.callback = callback

    def cancel(self) -> None:
        """Forget it."""
        self.callback = None


class VirtualTime:
    """A clock that stands still until it is told to move, and the timers on it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._sequence = 0
        self._heap: list[tuple[int, int, VirtualTimer]] = []

    def now_ns(self) -> int:
        """Virtual wall time."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """The same as virtual wall time."""
        return self._now_ns

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> VirtualTimer:
        """Call `callback` when time has moved by `delay_ns`."""
        self._sequence += 1
        timer = VirtualTimer(self._now_ns + max(delay_ns, 0), callback)
        heapq.heappush(self._heap, (timer.due_ns, self._sequence, timer))
        return timer

    @property
    def next_due_ns(self) -> int | None:
        """When the next callback is due, or None."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def advance(self, to_ns: int) -> None:
        """Move to a time before which nothing is due; the caller has looked at `next_due_ns`."""
        self._now_ns = max(self._now_ns, to_ns)

    def run_until(self, until_ns: int) -> None:
        """Run everything due up to and including `until_ns`, then stand at `until_ns`.

        Raises `StateConflict` for a time that has passed.
        """
        if until_ns < self._now_ns:
            raise StateConflict(f"virtual time cannot go back from {self._now_ns} to {until_ns}")
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            due_ns, _, timer = heapq.heappop(heap)
            if timer.callback is not None:
                self._now_ns = max(self._now_ns, due_ns)
                timer.callback()
        self._now_ns = until_ns
