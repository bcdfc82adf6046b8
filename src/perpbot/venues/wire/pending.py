"""Requests that wait for their reply on a websocket, matched by id, and sockets that give none.

A lost connection fails every waiter with the error that the caller's factory makes: for writes
that is `OutcomeUnknown`, since the venue may have taken the request before the socket broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Hashable
from typing import Any, Generic, TypeVar

from perpbot.domain.errors import StateConflict
from perpbot.kernel.clock import SECOND, Clock

LATE_NS = SECOND
"""A reply takes some tens of ms; after so long without a sound, nothing more goes in."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Later(Generic[V]):
    """What begins when it is awaited. Who never awaits it has left nothing unfinished."""

    __slots__ = ("_work",)

    def __init__(self, work: Callable[[], Coroutine[Any, Any, V]]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, V]:
        return self._work().__await__()


class Echo:
    """Whether a socket still answers.

    A half-open one swallows one order after the other until its pings find it out, and each of
    them is a leg without its hedge. So what was sent into it is held against what was heard since.
    """

    __slots__ = ("_clock", "_since_ns")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ns = 0

    def sent(self) -> None:
        """A request went in."""
        if not self._since_ns:
            self._since_ns = self._clock.monotonic_ns()

    def heard(self) -> None:
        """Something came out, or the socket is gone."""
        self._since_ns = 0

    @property
    def is_missing(self) -> bool:
        """Whether nothing was heard since a request went in."""
        return self._since_ns != 0

    @property
    def is_late(self) -> bool:
        """Whether that is longer ago than a reply takes."""
        since_ns = self._since_ns
        return since_ns != 0 and self._clock.monotonic_ns() - since_ns > LATE_NS


class PendingReplies(Generic[K, V]):
    """Futures by request id. A waiter that was cancelled is forgotten by itself."""

    def __init__(self) -> None:
        self._waiting: dict[K, asyncio.Future[V]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self, key: K) -> asyncio.Future[V]:
        """Return the future of a request about to be sent; raise `StateConflict` for a used id."""
        if key in self._waiting:
            raise StateConflict(f"request id {key!r} already waits for its reply")
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        future.add_done_callback(lambda done: self._forget(key, done))
        return future

    def resolve(self, key: K, value: V) -> bool:
        """Give the reply to its waiter; False when nobody waits for it (any more)."""
        future = self._waiting.pop(key, None)
        if future is None or future.done():
            return False
        future.set_result(value)
        return True

    def fail(self, key: K, error: Exception) -> bool:
        """Raise `error` in the waiter; False when nobody waits."""
        future = self._waiting.pop(key, None)
        if future is None or future.done():
            return False
        future.set_exception(error)
        return True

    def fail_all(self, error_factory: Callable[[], Exception]) -> None:
        """Raise a fresh error in every waiter: the connection is gone."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error_factory())

    def _forget(self, key: K, future: asyncio.Future[V]) -> None:
        if self._waiting.get(key) is future:
            del self._waiting[key]
        if not future.cancelled():
            # A waiter may have timed out in the same step; its error is then nobody's to read.
            future.exception()
