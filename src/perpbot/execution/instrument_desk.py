"""Asks a venue what it trades, when the core wants to know. Says nothing without an answer."""

from __future__ import annotations

from perpbot.domain.errors import VenueError
from perpbot.domain.events import InstrumentsListed, ListInstruments
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.supervisor import Supervisor
from perpbot.venues.port import Venue


class InstrumentDesk:
    """See the module. One question at a time."""

    def __init__(self, venue: Venue, bus: EventBus, clock: Clock, supervisor: Supervisor) -> None:
        self._venue = venue
        self._bus = bus
        self._clock = clock
        self._supervisor = supervisor
        self._asking = False
        bus.subscribe(ListInstruments, self._on_command)

    def _on_command(self, command: ListInstruments) -> None:
        if command.venue == self._venue.name and not self._asking:
            self._asking = True
            self._supervisor.run(f"{self._venue.name} instruments", self._ask())

    async def _ask(self) -> None:
        try:
            listed = await self._venue.market_data.instruments()
        except VenueError:
            return  # whoever asked asks again
        finally:
            self._asking = False
        self._bus.publish(
            InstrumentsListed(
                ts_ns=self._clock.now_ns(),
                source=self._venue.name,
                venue=self._venue.name,
                instruments=tuple(listed),
            )
        )
