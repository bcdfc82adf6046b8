"""Dead man's switches: the venue cancels our resting orders when the core falls silent.

Armed only on accounts that are declared dedicated to this node, refreshed at a quarter of the
timeout from the core's own timer while the bus lives (never by an independent task), and never
where the venue would take protective stops away with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from perpbot.domain.capabilities import DeadManScope
from perpbot.domain.errors import VenueError
from perpbot.domain.events import AlertFired
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Purpose
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock, Timers
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.orders import OrderTable
from perpbot.venues.port import Venue


class DeadManSwitch:
    """One venue's switch."""

    def __init__(
        self,
        venue: Venue,
        instruments: Iterable[Instrument],
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        supervisor: Supervisor,
        orders: OrderTable,
        *,
        timeout_s: float,
        dedicated: bool,
    ) -> None:
        self._venue = venue
        self._instruments = tuple(instruments)
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._supervisor = supervisor
        self._orders = orders
        self._timeout_s = timeout_s
        scope = venue.capabilities.dead_man
        self._armable = dedicated and venue.can_trade and scope is not DeadManScope.NONE
        self._per_symbol = scope is DeadManScope.SYMBOL
        self._failed = False
        self._disarmed = False

    @property
    def armed(self) -> bool:
        """Whether it is refreshed at all."""
        return self._armable

    @property
    def failing(self) -> bool:
        """Whether the venue did not take the last refresh."""
        return self._failed

    def start(self) -> None:
        """Arm it, and keep it armed."""
        if self._armable:
            self._refresh()

    def _refresh(self) -> None:
        if self._bus.halted is not None:
            return
        name = f"{self._venue.name} dead man"
        if not self._guards_stops():
            self._disarmed = False
            self._supervisor.run(name, self._arm(self._timeout_s))
        elif not self._disarmed:
            # It was armed before the stop was placed, and would take the stop away.
            self._disarmed = True
            self._supervisor.run(name, self._arm(0.0))
        self._timers.call_later(int(self._timeout_s / 4 * SECOND), self._refresh)

    def _guards_stops(self) -> bool:
        """Whether arming would cost us protective stops at this venue."""
        return self._venue.capabilities.dead_man_removes_stops and any(
            order.request.venue == self._venue.name and order.request.purpose is Purpose.PROTECT
            for order in self._orders.unsettled()
        )

    async def _arm(self, timeout_s: float) -> None:
        targets = self._instruments if self._per_symbol else self._instruments[:1]
        try:
            for instrument in targets:
                await self._venue.trading.set_dead_man(instrument, timeout_s)
        except VenueError as error:
            self._disarmed = False  # tried again with the next refresh
            self._tell(error)
        else:
            self._failed = False

    def _tell(self, error: VenueError) -> None:
        if not self._failed:
            self._failed = True
            self._bus.publish(
                AlertFired(
                    ts_ns=self._clock.now_ns(),
                    name="dead_man_not_armed",
                    severity="high",
                    text=f"{self._venue.name}: the dead man's switch was not refreshed: {error}",
                )
            )
