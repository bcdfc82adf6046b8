"""Keeps the way of an order warm: rehearses one at a bounded rate and throws it away.

Code that is rarely used is slow: the first order after a pause takes twice as long. A rehearsal
decides on two quotes of now as if they were worth a pair, asks every gate, and lets the venues
format and sign the orders. Nothing of it is published, journalled, reserved or sent; its ids are
its own, and what is signed no venue would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, permutations

from perpbot.domain.errors import InvalidValue, VenueError
from perpbot.domain.quotes import EdgeBreakdown, Opportunity
from perpbot.execution.engine import ExecutionEngine
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, Clock, Timers
from perpbot.kernel.ids import IdMaker
from perpbot.venues.port import RehearsedTrading

INTERVAL_NS = 25 * MS
_NO_EDGE = EdgeBreakdown(**dict.fromkeys(EdgeBreakdown.__struct_fields__, 0.0))


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
    ) -> None:
        self._bus = bus
        self._timers = timers
        self._engine = engine
        self._around = around
        self._tradings = {
            venue: trading
            for venue, trading in tradings.items()
            if isinstance(trading, RehearsedTrading)
        }
        self._maker = OrderMaker(clock, IdMaker(epoch=1), around, expiry_ms=1_000)
        markets = sorted(around.instruments)
        self._pairs = cycle(
            [
                (asset, long, short)
                for (long, asset), (short, other) in permutations(markets, 2)
                if asset == other
            ]
            or [("", "", "")]
        )
        self.rehearsals = 0

    def start(self) -> None:
        """Rehearse from now on, until the bus halts."""
        self._timers.call_later(INTERVAL_NS, self._tick)

    def _tick(self) -> None:
        if self._bus.halted is not None:
            return
        self._timers.call_later(INTERVAL_NS, self._tick)
        opportunity = self._imagine(*next(self._pairs))
        if opportunity is not None:
            self._rehearse(opportunity)

    def _imagine(self, asset: str, long_venue: str, short_venue: str) -> Opportunity | None:
        """Return what a pair would be like at the newest quotes, if there are any."""
        long = self._around.market.latest(long_venue, asset)
        short = self._around.market.latest(short_venue, asset)
        if long is None or short is None:
            return None
        return Opportunity(
            opportunity_id="rehearsal",
            asset=asset,
            long_venue=long_venue,
            short_venue=short_venue,
            long_ask=long.ask,
            short_bid=short.bid,
            size=min(long.ask_size, short.bid_size),
            mid=(long.bid + long.ask + short.bid + short.ask) / 4,
            edge=_NO_EDGE,
            score=0.0,
            long_quote_ns=long.recv_ns,
            short_quote_ns=short.recv_ns,
            read_ns=0,
        )

    def _rehearse(self, opportunity: Opportunity) -> None:
        try:
            for order in self._engine.rehearse(opportunity, self._maker):
                trading = self._tradings.get(order.venue)
                if trading is not None:
                    trading.rehearse(order)
        except (InvalidValue, VenueError):
            return  # no size fits these quotes, or a venue is not ready: nothing to keep warm
        self.rehearsals += 1
