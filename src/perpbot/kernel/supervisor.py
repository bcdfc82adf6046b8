"""The tree of tasks: what runs, what happens when it ends, and an orderly end of it all.

Long-running tasks (connections, timers) are started again after a failure, with full jitter and
without limit; one-shot tasks (a request) report their failure and end. Nothing is fire-and-forget:
every task is known here, and `close` waits for all of them.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from perpbot.domain.events import ComponentFailed, Event
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import Clock


class TaskStatistics(msgspec.Struct, frozen=True):
    """Of one name."""

    running: int
    failures: int
    last_error: str


class Supervisor:
    """Starts, restarts and ends the tasks of a node on the running loop."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        clock: Clock,
        rng: random.Random,
        *,
        restart_cap_s: float = 60.0,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._restart_cap_s = restart_cap_s
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._failures: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._closing = False

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a one-shot task; a failure is reported and the task ends."""
        task = self._start(name, self._once(name, work))
        # A task that is cancelled before its first step has never awaited its work.
        task.add_done_callback(lambda _done: work.close())
        return task

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` for ever: start it again when it fails or returns."""
        return self._start(name, self._forever(name, work))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if self._closing:
            task.cancel()
        return task

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - counted and reported
            self._report(name, error)

    async def _forever(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._closing:
            started = loop.time()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - counted and reported
                self._report(name, error)
            if loop.time() - started > self._restart_cap_s:
                attempt = 0
            ceiling = min(self._restart_cap_s, 2.0 ** min(attempt, 10))
            attempt += 1
            await asyncio.sleep(self._rng.uniform(0.0, ceiling))

    def _report(self, name: str, error: Exception) -> None:
        self._failures[name] = self._failures.get(name, 0) + 1
        self._errors[name] = f"{type(error).__name__}: {error}"
        failed = ComponentFailed(
            ts_ns=self._clock.now_ns(),
            component=name,
            error=self._errors[name],
            traceback="".join(traceback.format_exception(error)),
        )
        # A halted bus takes no report; it has told its owner why, and the count above stands.
        with suppress(BusHalted):
            self._publish(failed)

    def statistics(self) -> dict[str, TaskStatistics]:
        """Return running tasks and failures by name."""
        running: dict[str, int] = {}
        for name in self._tasks.values():
            running[name] = running.get(name, 0) + 1
        return {
            name: TaskStatistics(
                running.get(name, 0), self._failures.get(name, 0), self._errors.get(name, "")
            )
            for name in sorted(running | self._failures)
        }

    def cancel(self) -> None:
        """Cancel every task at once: none takes another step. `close` is still to be called."""
        self._closing = True
        for task in self._tasks:
            task.cancel()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Cancel every task and wait for its end; raise `TimeoutError` if one does not end.

        What a task starts while it ends (a last report, a last question) is cancelled too.
        """
        self._closing = True
        current = asyncio.current_task()
        async with asyncio.timeout(timeout_s):
            while pending := [task for task in self._tasks if task is not current]:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                await asyncio.sleep(0)
