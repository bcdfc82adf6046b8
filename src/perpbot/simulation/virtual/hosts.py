"""Machines of a virtual loop, and the tasks that belong to them.

Everything that is started on a `Host` (by `Host.run`, and all that follows from it) belongs to it,
by a context variable. It may stand still for a while, or die: then nothing of it ever runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class HostDied(SystemExit):
    """Raised where a host dies in the middle of a callback; unwinds to the loop, which goes on."""


class Host:
    """One machine of the room; see the module."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.frozen_until_ns = 0
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """Its unfinished tasks."""
        self._context = copy_context()
        self._context.run(HOST.set, self)

    def context(self) -> Context:
        """Return a new context in which things of this host run."""
        return self._context.copy()

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task on this host; needs the running loop."""
        return asyncio.get_running_loop().create_task(work, context=self.context())

    def die(self) -> None:
        """Nothing of it runs any more; harmless when it is dead already."""
        self.alive = False
        self.ready.clear()

    def dispose(self) -> None:
        """Close what a dead host left, so that nothing of it is finalised later."""
        disabled = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            for task in tuple(self.tasks):
                # A task that the loop never ends is no mistake here.
                setattr(task, "_log_destroy_pending", False)  # noqa: B010 - private to asyncio
                _close(task)
        finally:
            logging.disable(disabled)
        self.tasks.clear()


def _close(task: asyncio.Task[Any]) -> None:
    """End a coroutine where it stands; what it says then is nobody's to hear."""
    with contextlib.suppress(BaseException):
        task.get_coro().close()


HOST: ContextVar[Host | None] = ContextVar("host", default=None)


class OrderedTask(asyncio.Task[Any]):
    """A task that sets order by its age, so that a set of tasks has one order."""

    def __init__(self, number: int, coro: Any, name: str | None, **options: Any) -> None:
        self.number = number
        super().__init__(coro, name=name or f"task {number}", **options)

    def __hash__(self) -> int:
        return self.number
