"""One dispatcher for everything that happens.

Promises: events of a lane are handled in the order in which they were published; urgent before
durable before stream before latest; nothing but a superseded latest value is ever dropped, and
that is counted. A durable or urgent event is in the journal before any handler sees it, so journal
order is dispatch order. There is no worker thread: `publish` handles the event at once when the
bus is idle, and queues it when a handler (or another thread) is publishing.

A core handler that raises halts the bus: state may be half applied, so the node stops and recovers
from the journal. Other handlers are isolated, reported and, after repeated failures, quarantined.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from inspect import iscoroutinefunction
from threading import get_ident
from typing import Any, Protocol, TypeVar

import msgspec

from perpbot.domain.errors import InvalidValue, PerpbotError
from perpbot.domain.events import BusOverflow, ComponentFailed, Event, Lane
from perpbot.kernel.clock import Clock

T = TypeVar("T", bound=Event)
Handler = Callable[[Any], None]

QUARANTINE_AFTER = 5
"""Failures in a row after which a handler that is not core is no longer called."""


class BusHalted(PerpbotError):
    """A core handler raised, or a lane passed its hard limit: nothing is dispatched any more."""


class EventLog(Protocol):
    """Where durable events go before they are handled."""

    def append(self, event: Event) -> int:
        """Write `event`; return its sequence number. Raises `JournalFull`."""

    def rehearse(self, event: Event) -> None:
        """Do the same without a trace: keeps the way of the next one fast."""


class BusStatistics(msgspec.Struct, frozen=True):
    """Counts since the start; `depth` is what waits now, `replaced` superseded latest values."""

    depth: dict[str, int]
    deepest: dict[str, int]
    handled: int
    journalled: int
    replaced: int
    failures: dict[str, int]
    quarantined: tuple[str, ...]
    halted: bool


class _Subscription:
    __slots__ = ("core", "failures", "handler", "late", "name", "row")

    def __init__(self, handler: Handler, name: str, *, core: bool, late: bool) -> None:
        self.handler = handler
        self.name = name
        self.core = core
        self.late = late
        self.failures = 0
        self.row = 0


class _Route:
    """What happens to one event class: journal or not, core handlers, then the others."""

    __slots__ = ("core", "durable", "others")

    def __init__(self, event_class: type[Event], subscriptions: list[_Subscription]) -> None:
        self.durable = event_class.lane <= Lane.DURABLE
        core = sorted((s for s in subscriptions if s.core), key=lambda s: s.late)
        self.core = tuple(s.handler for s in core)
        self.others = tuple(s for s in subscriptions if not s.core)


class EventBus:
    """See the module. `wake` is called (from any thread) when another thread left something."""

    def __init__(
        self,
        clock: Clock,
        journal: EventLog | None = None,
        *,
        wake: Callable[[], None] | None = None,
        on_halt: Callable[[BaseException], None] | None = None,
        high_water: int = 10_000,
        hard_limit: int = 1_000_000,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._wake = wake
        self._on_halt = on_halt
        self._high_water = high_water
        self._hard_limit = hard_limit
        self._owner = get_ident()
        self._busy = False
        self._subscriptions: list[tuple[type[Event], _Subscription]] = []
        self._routes: dict[type[Event], _Route] = {}
        # Of these routes those that need neither the journal nor isolation: the path of quotes.
        self._direct: dict[type[Event], tuple[Handler, ...]] = {}
        self._queues: tuple[deque[Event], deque[Event], deque[Event]] = (deque(), deque(), deque())
        self._latest: dict[tuple[type[Event], object], Event] = {}
        self._foreign: deque[Event] = deque()
        self._waiting = False
        self._deepest = [0, 0, 0, 0]
        self._handled = 0
        self._journalled = 0
        self._replaced = 0
        self._overflowing = False
        self._quarantined: list[str] = []
        self._halt: BaseException | None = None
        self.sequence = 0
        """Of the last durable event that was taken; without a journal they are counted."""

    # --- subscribing ---

    def subscribe(
        self,
        event_class: type[T],
        handler: Callable[[T], None],
        *,
        core: bool = True,
        late: bool = False,
        name: str = "",
    ) -> None:
        """Call `handler` for every event of the class and of its subclasses, in this order.

        `core` handlers only change their own component and may publish; when one raises the bus
        halts. Use `core=False` for everything that trading does not depend on, `late=True` for
        what comes after the other core handlers: an order does not wait for it. Raises
        `InvalidValue` for an `async def`: those listen through `perpbot.kernel.mailbox`.
        """
        label = name or getattr(handler, "__qualname__", repr(handler))
        if iscoroutinefunction(handler):
            raise InvalidValue(f"handler {label} is async: it needs a Mailbox (kernel/mailbox.py)")
        self._subscriptions.append(
            (event_class, _Subscription(handler, label, core=core, late=late))
        )
        self._routes.clear()
        self._direct.clear()

    def _route(self, event_class: type[Event]) -> _Route:
        route = self._routes.get(event_class)
        if route is None:
            matching = [s for c, s in self._subscriptions if issubclass(event_class, c)]
            route = self._routes[event_class] = _Route(event_class, matching)
            if not (route.durable or route.others or self._halt):
                self._direct[event_class] = route.core
        return route

    # --- publishing ---

    def publish(self, event: Event) -> None:
        """Handle `event` now, or queue it when a handler or another thread is publishing.

        Raises `BusHalted` when the bus has halted, or halts while handling it.
        """
        if self._busy or get_ident() != self._owner:
            self._enqueue(event)
            return
        self._busy = True
        try:
            handlers = self._direct.get(event.__class__)
            if handlers is None:
                self._dispatch(event)
            else:
                self._handled += 1
                for handler in handlers:
                    handler(event)
            if self._waiting:
                self._drain()
        except BusHalted:
            raise
        except BaseException as error:
            self._stop(event, error)
            raise
        finally:
            self._busy = False

    def rehearse(self, event: Event) -> None:
        """Do for a durable event what comes before its handlers, without a trace."""
        if self._journal is not None:
            self._journal.rehearse(event)

    def drain(self) -> None:
        """Handle what other threads left. Called by the owner's loop."""
        if self._busy:
            return
        self._busy = True
        try:
            self._drain()
        finally:
            self._busy = False

    def _enqueue(self, event: Event) -> None:
        if get_ident() == self._owner:
            self._queue(event)
            return
        if self._halt is not None:
            raise BusHalted(f"the bus has halted: {self._halt}") from self._halt
        self._foreign.append(event)
        self._waiting = True
        if self._wake is not None:
            self._wake()

    def _queue(self, event: Event) -> None:
        self._waiting = True
        lane = event.lane
        if lane is Lane.LATEST:
            key = (event.__class__, event.key)
            if key in self._latest:
                self._replaced += 1
            self._latest[key] = event  # in the place of the one it replaces
            depth = len(self._latest)
        else:
            queue = self._queues[lane]
            queue.append(event)
            depth = len(queue)
        self._deepest[lane] = max(self._deepest[lane], depth)
        if depth > self._high_water and not self._overflowing:
            self._overflowing = True
            self._queues[Lane.DURABLE].append(self._overflow(lane.name.lower(), depth))
        if depth > self._hard_limit:
            self._stop(event, BusHalted(f"{lane.name.lower()} lane holds {depth} events"))

    def _overflow(self, queue: str, depth: int) -> BusOverflow:
        return BusOverflow(
            ts_ns=self._clock.now_ns(), queue=queue, depth=depth, active=self._overflowing
        )

    def _drain(self) -> None:
        urgent, durable, stream = self._queues
        latest = self._latest
        while True:
            self._waiting = False  # before looking: another thread may add while we look
            while self._foreign:
                self._queue(self._foreign.popleft())
            if urgent:
                self._dispatch(urgent.popleft())
            elif durable:
                self._dispatch(durable.popleft())
            elif stream:
                self._dispatch(stream.popleft())
            elif latest:
                self._dispatch(latest.pop(next(iter(latest))))
            elif self._overflowing:
                self._overflowing = False
                self._dispatch(self._overflow("all", 0))
            else:
                return

    # --- handling ---

    def _dispatch(self, event: Event) -> None:
        if self._halt is not None:
            raise BusHalted(f"the bus has halted: {self._halt}") from self._halt
        route = self._route(event.__class__)
        try:
            if route.durable:
                if self._journal is None:
                    self.sequence += 1
                else:
                    self.sequence = self._journal.append(event)
                    self._journalled += 1
            self._handled += 1
            for handler in route.core:
                handler(event)
        except BaseException as error:
            self._stop(event, error)
            raise
        for subscription in route.others:
            self._isolate(subscription, event)

    def _isolate(self, subscription: _Subscription, event: Event) -> None:
        if subscription.row >= QUARANTINE_AFTER:
            return
        try:
            subscription.handler(event)
            subscription.row = 0
        except Exception as error:  # noqa: BLE001 - isolated, counted and reported
            subscription.failures += 1
            subscription.row += 1
            quarantined = subscription.row >= QUARANTINE_AFTER
            if quarantined:
                self._quarantined.append(subscription.name)
            # A handler that fails on this report too is quarantined after a few: it ends.
            self._queue(self._failure(subscription.name, error, quarantined=quarantined))

    def _failure(
        self, component: str, error: BaseException, *, quarantined: bool = False
    ) -> ComponentFailed:
        return ComponentFailed(
            ts_ns=self._clock.now_ns(),
            component=component,
            error=f"{type(error).__name__}: {error}",
            traceback="".join(traceback.format_exception(error)),
            quarantined=quarantined,
        )

    def halt(self, error: BaseException) -> None:
        """Dispatch nothing any more: record why where the journal still takes it, tell the owner.

        The first error stands.
        """
        self._halt_for("core", error)

    def _stop(self, event: Event, error: BaseException) -> None:
        """Halt and raise `BusHalted`.

        Returns for what is no `Exception` (an interrupt, a cancellation): the caller raises it on.
        """
        self._halt_for(f"core, handling {event.kind}", error)
        if isinstance(error, Exception):
            raise BusHalted(f"handling {event.kind}: {type(error).__name__}: {error}") from error

    def _halt_for(self, component: str, error: BaseException) -> None:
        if self._halt is not None:
            return
        self._halt = error
        self._direct.clear()
        if self._journal is not None:
            try:
                self.sequence = self._journal.append(self._failure(component, error))
                self._journalled += 1
            except PerpbotError as unwritten:
                error.add_note(f"the journal could not record this: {unwritten}")
        if self._on_halt is not None:
            self._on_halt(error)

    # --- looking in ---

    @property
    def halted(self) -> BaseException | None:
        """What halted the bus, or None."""
        return self._halt

    def statistics(self) -> BusStatistics:
        """Return the counts."""
        depth = [len(queue) for queue in self._queues] + [len(self._latest)]
        names = [lane.name.lower() for lane in Lane]
        return BusStatistics(
            depth=dict(zip(names, depth, strict=True)),
            deepest=dict(zip(names, self._deepest, strict=True)),
            handled=self._handled,
            journalled=self._journalled,
            replaced=self._replaced,
            failures={s.name: s.failures for _, s in self._subscriptions if s.failures},
            quarantined=tuple(self._quarantined),
            halted=self._halt is not None,
        )
