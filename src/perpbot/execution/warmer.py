"""Keeps the way of an order warm: rehearses one at a bounded rate and throws it away.

Code that is rarely used is slow: what it needs has left the processor's caches after some
milliseconds, and the first order after a pause takes three times as long. A rehearsal decides on
two quotes of now as if they were worth a pair, asks every gate, writes the record where nobody
reads it, and lets the venues format and sign the orders. Nothing of it is published, journalled,
reserved or sent; its ids are its own, and what is signed no venue would take. What the gates
measured for it may stand for the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perpbot.domain.errors import InvalidValue, VenueError
from perpbot.domain.quotes import Opportunity
from perpbot.execution.engine import ExecutionEngine
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, Clock, Timers
from perpbot.kernel.ids import IdMaker
from perpbot.venues.port import RehearsedTrading


class Warmer:
    """See the module. `tradings` by venue; those that cannot rehearse are left out."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        engine: ExecutionEngine,
        around: Surroundings,
        tradings: Mapping[str, object],
        imagine: Callable[[], Opportunity | None],
        *,
        interval_ms: int,
    ) -> None:
        """`imagine()` gives what the next direction would be like at the newest quotes."""
        self._bus = bus
        self._timers = timers
        self._engine = engine
        self._tradings = {
            venue: trading
            for venue, trading in tradings.items()
            if isinstance(trading, RehearsedTrading)
        }
        self._imagine = imagine
        self._interval_ns = interval_ms * MS
        self._maker = OrderMaker(clock, IdMaker(epoch=1), around, expiry_ms=1_000)
        self.rehearsals = 0

    def start(self) -> None:
        """Rehearse from now on, until the bus halts."""
        self._timers.call_later(self._interval_ns, self._tick)

    def _tick(self) -> None:
        if self._bus.halted is not None:
            return
        self._timers.call_later(self._interval_ns, self._tick)
        opportunity = self._imagine()
        if opportunity is not None:
            self._rehearse(opportunity)

    def _rehearse(self, opportunity: Opportunity) -> None:
        try:
            rehearsal = self._engine.rehearse(opportunity, self._maker)
            if rehearsal.record is not None:
                self._bus.rehearse(rehearsal.record)
            for order in rehearsal.orders:
                trading = self._tradings.get(order.venue)
                if trading is not None:
                    trading.rehearse(order)
        except (InvalidValue, VenueError):
            return  # no size fits these quotes, or a venue is not ready: nothing to keep warm
        self.rehearsals += 1
