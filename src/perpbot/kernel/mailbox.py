"""Lets an `async def` handler listen to the bus without ever delaying the core.

Each mailbox is one supervised task with a bounded store. What does not fit: a newer latest value
replaces the waiting one of its key, the oldest waiting key is given up (counted), stream events
are given up (counted), and durable events are left in the journal and read back from there, in
order, with a cursor of the mailbox's own. So a slow handler sees every durable event exactly once
in this process, late, and never makes anybody wait.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from perpbot.domain.events import ComponentFailed, Event, Lane
from perpbot.kernel.bus import QUARANTINE_AFTER, EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.journal.record import Record

AsyncHandler = Callable[[Any], Awaitable[None]]


class Cursor(Protocol):
    """A place in the journal; see `Journal.cursor`."""

    sequence: int

    def read(self) -> list[Record]:
        """Return the next records, oldest first; an empty list when there are none yet."""


class MailboxStatistics(msgspec.Struct, frozen=True):
    """Counts since the start; `waiting` is what the store holds now."""

    waiting: int
    handled: int
    replaced: int
    lost_latest: int
    lost_stream: int
    read_back: int
    failures: int
    quarantined: bool


class Mailbox:
    """See the module. `run` is the task: give it to `Supervisor.keep`."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        event_classes: Sequence[type[Event]],
        handler: AsyncHandler,
        *,
        name: str,
        cursor: Callable[[int], Cursor],
        capacity: int = 1_000,
    ) -> None:
        """`cursor(after)` opens the journal behind a sequence; `capacity` in events a lane."""
        self._bus = bus
        self._clock = clock
        self._handler = handler
        self.name = name
        self._classes = tuple(event_classes)
        self._open_cursor = cursor
        self._capacity = capacity
        self._durable: deque[tuple[int, Event]] = deque()
        self._stream: deque[Event] = deque()
        self._latest: dict[tuple[type[Event], object], Event] = {}
        self._done = 0
        """Sequence of the last durable event that the handler has been given."""
        self._newest = 0
        """Sequence of the last durable event of ours that the bus has dispatched."""
        self._behind: Cursor | None = None
        self._read: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._handled = self._replaced = self._lost_latest = self._lost_stream = 0
        self._read_back = self._failures = self._row = 0
        for event_class in event_classes:
            bus.subscribe(event_class, self._put, core=False, name=name)

    def statistics(self) -> MailboxStatistics:
        """Return the counts."""
        return MailboxStatistics(
            waiting=len(self._durable) + len(self._stream) + len(self._latest),
            handled=self._handled,
            replaced=self._replaced,
            lost_latest=self._lost_latest,
            lost_stream=self._lost_stream,
            read_back=self._read_back,
            failures=self._failures,
            quarantined=self._quarantined,
        )

    @property
    def _quarantined(self) -> bool:
        return self._row >= QUARANTINE_AFTER

    # --- taking in: called by the bus, never waits ---

    def _put(self, event: Event) -> None:
        if self._quarantined:
            return
        if event.lane is Lane.LATEST:
            self._put_latest(event)
        elif event.lane is Lane.STREAM:
            if len(self._stream) >= self._capacity:
                self._lost_stream += 1
                return
            self._stream.append(event)
        else:
            self._put_durable(event)
        self._wake.set()

    def _put_latest(self, event: Event) -> None:
        key = (event.__class__, event.key)
        if key in self._latest:
            self._replaced += 1
        elif len(self._latest) >= self._capacity:
            self._latest.pop(next(iter(self._latest)))
            self._lost_latest += 1
        self._latest[key] = event

    def _put_durable(self, event: Event) -> None:
        self._newest = self._bus.sequence
        if self._behind is not None:
            return  # it is read back in its turn
        if len(self._durable) >= self._capacity:
            self._behind = self._open_cursor(self._durable[-1][0])
            return
        self._durable.append((self._bus.sequence, event))

    # --- handing out: one event at a time, durable first ---

    async def run(self) -> None:
        """Hand events to the handler until cancelled or quarantined."""
        while not self._quarantined:
            event = self._next()
            if event is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._hand_over(event)
        await asyncio.Event().wait()  # quarantined: stays, so that nobody starts it again

    def _next(self) -> Event | None:
        if self._durable:
            self._done, event = self._durable.popleft()
            return event
        if self._behind is not None and (read_back := self._next_read_back()) is not None:
            return read_back
        if self._stream:
            return self._stream.popleft()
        if self._latest:
            return self._latest.pop(next(iter(self._latest)))
        return None

    def _next_read_back(self) -> Event | None:
        """Return the next event of ours from the journal; None once the mailbox has caught up."""
        assert self._behind is not None
        while self._done < self._newest:
            if not self._read:
                self._read.extend(self._behind.read())
            if not self._read:
                return None
            record = self._read.popleft()
            event = record.event()
            self._done = record.sequence
            if isinstance(event, self._classes):
                self._read_back += 1
                return event
        self._behind = None
        self._read.clear()
        return None

    async def _hand_over(self, event: Event) -> None:
        try:
            await self._handler(event)
        except Exception as error:  # noqa: BLE001 - isolated, counted and reported
            self._failures += 1
            self._row += 1
            self._bus.publish(
                ComponentFailed(
                    ts_ns=self._clock.now_ns(),
                    component=self.name,
                    error=f"{type(error).__name__}: {error}",
                    traceback="".join(traceback.format_exception(error)),
                    quarantined=self._quarantined,
                )
            )
        else:
            self._row = 0
        self._handled += 1
