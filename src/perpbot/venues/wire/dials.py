"""Leave to dial: how often a venue lets one address open websockets.

All websockets of an adapter take turns at one `Dials`. A turn counts from before the dial until
the venue's period after the handshake's end, whatever its outcome: the venue counts an arrival
somewhere between, and so never more of them than its limit, whatever delays them on the way. One
node is taken to be alone on its address.

Sockets that carry orders or private news go first, and the last third of the turns is for them
alone: public streams that come back, or come and go, do not keep them waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import MS, SECOND, Clock, LoopTimers, TimerHandle, Timers
from perpbot.venues.wire.limits import Window

KEPT_PART = 3
"""One turn in so many is kept for private sockets."""


class _Queue:
    """Who waits of one rank. It may dial while all together hold less than `limit` turns."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[asyncio.Future[None]] = deque()


class Dials:
    """At most `window.limit` dials in any `window.period_s` seconds, as the venue counts them.

    Without `timers` the running asyncio loop wakes who waits. Raises `InvalidValue` for a limit
    under which nobody could ever dial.
    """

    def __init__(self, window: Window, *, clock: Clock, timers: Timers | None = None) -> None:
        if window.limit < 1:
            raise InvalidValue(f"limit of dials was {window.limit}, at least 1 was expected")
        self._clock = clock
        self._timers = timers
        self._period_ns = int(window.period_s * SECOND)
        self._private = _Queue(window.limit)
        self._public = _Queue(window.limit - window.limit // KEPT_PART)
        self._dialling = 0
        self._ended: deque[int] = deque()
        """When dials ended that the venue may still count, monotonic ns."""
        self._timer: TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many sockets wait for their turn."""
        return len(self._private.waiting) + len(self._public.waiting)

    @asynccontextmanager
    async def turn(self, *, private: bool) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while dialling.

        `private` is for what carries orders or private news. Who stops waiting leaves nothing.
        """
        await self._take(self._private if private else self._public)
        try:
            yield
        finally:
            self._dialling -= 1
            self._ended.append(self._clock.monotonic_ns())
            self._arm()

    async def _take(self, queue: _Queue) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append(turn)
        self._go_on()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It came in the same instant, and nobody dialled.
                self._dialling -= 1
            elif turn in queue.waiting:
                queue.waiting.remove(turn)
            self._go_on()
            raise

    def _go_on(self) -> None:
        """Give turns to who waits, private sockets first."""
        over_ns = self._clock.monotonic_ns() - self._period_ns
        while self._ended and self._ended[0] <= over_ns:
            self._ended.popleft()
        for queue in (self._private, self._public):
            while queue.waiting and self._dialling + len(self._ended) < queue.limit:
                turn = queue.waiting.popleft()
                if not turn.done():
                    self._dialling += 1
                    turn.set_result(None)
        self._arm()

    def _arm(self) -> None:
        """Look again when the next turn is over; a dial under way does so when it ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ended or not self.waiting:
            return
        if self._timers is None:
            self._timers = LoopTimers(asyncio.get_running_loop())
        due_ns = self._ended[0] + self._period_ns
        # A loop's clock may be coarser than ours: a timer that is early would spin.
        delay_ns = max(due_ns - self._clock.monotonic_ns(), 0) + MS
        self._timer = self._timers.call_later(delay_ns, self._go_on)
