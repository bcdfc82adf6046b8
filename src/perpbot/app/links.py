"""What stands between the core and its venues.

Of each venue: a gateway for orders (on paper an exchange of our own), the connections that bring
its data, a dead man's switch. Of all together: the rates of their currencies, and order code that
is kept warm.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from perpbot.app.core import Core
from perpbot.app.paper import PaperVenue
from perpbot.app.rates import RateKeeper
from perpbot.configuration import Settings, effective
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.instruments import Instrument
from perpbot.execution.deadman import DeadManSwitch
from perpbot.execution.gateway import LatencySamples, VenueGateway
from perpbot.execution.instrument_desk import InstrumentDesk
from perpbot.execution.nonces import NonceKeeper
from perpbot.execution.warmer import Warmer
from perpbot.kernel.clock import Clock, Timers
from perpbot.kernel.supervisor import Supervisor
from perpbot.settings import Mode
from perpbot.venues.connection import ConnectionSettings, ExchangeConnectionManager
from perpbot.venues.port import Venue


class VenueLinks:
    """Ties a core to its venues; `connect` begins.

    `fence` is asked before anything is sent: it raises where another acts for this node.
    """

    def __init__(
        self,
        core: Core,
        venues: Mapping[str, Venue],
        *,
        clock: Clock,
        timers: Timers,
        rng: random.Random,
        supervisor: Supervisor,
        fence: Callable[[], None],
    ) -> None:
        self._core = core
        self._venues = venues
        self._clock = clock
        self._timers = timers
        self._rng = rng
        self._supervisor = supervisor
        self._fence = fence
        self.latency = LatencySamples()
        self.dead_men: dict[str, DeadManSwitch] = {}

    def connect(self) -> None:
        """Begin with every venue."""
        mode = self._core.settings.mode
        for name, venue in self._venues.items():
            instruments = self._core.markets.instruments.values()
            listed = [instrument for instrument in instruments if instrument.venue == name]
            if mode is Mode.PAPER:
                self._fill_on_paper(venue, listed)
            else:
                self._send_orders(venue)
            self._watch(venue, listed)
            self._guard(venue, listed)
            InstrumentDesk(venue, self._core.bus, self._clock, self._supervisor)
        every_ms = self._core.settings.execution.rehearse_every_ms
        if mode is not Mode.PAPER and every_ms:
            self._keep_warm(every_ms)
        if mode is not Mode.DEMO:
            self._keep_rates()

    def _send_orders(self, venue: Venue) -> None:
        core = self._core
        VenueGateway(
            venue,
            core.bus,
            self._clock,
            self._supervisor,
            core.folds.orders,
            self.latency,
            fence=self._fence,
        )
        NonceKeeper(venue, core.bus, self._clock, self._timers, core.folds.nonces)

    def _fill_on_paper(self, venue: Venue, instruments: Sequence[Instrument]) -> None:
        PaperVenue(
            venue,
            instruments,
            self._core.bus,
            self._clock,
            self._timers,
            self._core.folds.orders.request,
            self._core.settings.paper,
            kept_usd=self._core.booked_wallet(venue.name),
        ).start()

    def _watch(self, venue: Venue, instruments: Sequence[Instrument]) -> None:
        settings = self._core.settings.venue(venue.name)
        manager = ExchangeConnectionManager(
            venue,
            self._core.quotes,
            self._core.bus.publish,
            self._clock,
            self._rng,
            instruments=instruments,
            settings=ConnectionSettings(
                silence_s=settings.data_silence_s,
                check_interval_s=settings.heartbeat_interval_s,
            ),
        )
        self._supervisor.keep(f"{venue.name} connections", manager.run)

    def _guard(self, venue: Venue, instruments: Sequence[Instrument]) -> None:
        settings = self._core.settings
        self.dead_men[venue.name] = switch = DeadManSwitch(
            venue,
            instruments,
            self._core.bus,
            self._clock,
            self._timers,
            self._supervisor,
            self._core.folds.orders,
            timeout_s=effective(settings, venue=venue.name).execution.dead_man_timeout_s,
            dedicated=settings.venue(venue.name).account_dedicated,
        )
        switch.start()

    def _keep_warm(self, every_ms: int) -> None:
        core = self._core
        tradings = {name: venue.trading for name, venue in self._venues.items()}
        Warmer(
            core.bus,
            self._clock,
            self._timers,
            core.engine,
            core.around,
            tradings,
            core.scanner.imagine,
            interval_ms=every_ms,
        ).start()

    def _keep_rates(self) -> None:
        markets = self._core.markets
        settled = {instrument.settle for instrument in markets.instruments.values()}
        keeper = RateKeeper(
            markets.rates,
            self._venues.values(),
            settled - set(self._core.settings.market.currency_rates) - {"USD"},
            self._core.bus.publish,
            self._clock,
        )
        self._supervisor.keep("currency rates", keeper.run)


def declared(venue: Venue, settings: Settings) -> Capabilities:
    """Return what a venue declares, with what people set in its place."""
    chosen = {
        "quote_interval_s": settings.venue(venue.name).quote_interval_s,
        "reconcile_interval_s": effective(
            settings, venue=venue.name
        ).execution.reconcile_interval_s,
    }
    told = {name: value for name, value in chosen.items() if value is not None}
    return msgspec.structs.replace(venue.capabilities, **told)
