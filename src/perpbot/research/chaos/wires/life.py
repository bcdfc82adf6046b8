"""One incarnation of the node: a host, a node with real adapters, and a journal in files.

The witness hears what the node is told and what it sends; the adapters' own methods are listened
to in place, so that everything below them is the code that trades.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from perpbot.app.node import Node
from perpbot.app.venues import make_venue
from perpbot.configuration import Settings
from perpbot.domain.events import (
    ConnectionState,
    InstrumentsListed,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.kernel.clock import SECOND, Clock
from perpbot.kernel.journal.settling import at_once
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.wires.death import Doom, LifeJournal
from perpbot.research.chaos.wires.ground import PORT, Ground
from perpbot.research.chaos.wires.spies import Judge, SpySink
from perpbot.research.chaos.wires.weather import DOMAIN
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.virtual.hosts import Host
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import MarketSink, Venue

WARM_SHARE = 0.05
"""Of lives that keep their order code warm: rehearsals cost most of a seed's time."""
WARM_EVERY_MS = 10


class Life:
    """See the module. `run` works until it is cancelled, or the host dies."""

    def __init__(
        self,
        *,
        host: Host,
        settings: Settings,
        ground: Ground,
        witness: Witness,
        counters: Counters,
        doom: Doom,
        clock: Clock,
        directory: Path,
        number: int,
        bury: Callable[[Life], None],
    ) -> None:
        self.host = host
        self.witness = witness
        self.counters = counters
        self.doom = doom
        self.journal: LifeJournal | None = None
        self.node: Node | None = None
        self.said: list[str] = []
        self.ready = False
        self.failed: Exception | None = None
        self.awake_ns = clock.now_ns()
        """Since when it is looked after: its last awakening, or when it was open.

        Until its venues have said what they list it can ask for nothing, and where that answer is
        lost it takes seconds. How long a leg stays open meanwhile is bound like any absence.
        """
        self._settings = settings
        self._ground = ground
        self._clock = clock
        self._directory = directory
        self._number = number
        self._bury = bury
        plan = ground.plan
        self._rng = random.Random(f"wires node {plan.seed} {number}")

    # --- living ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the node and work."""
        try:
            node = self._build()
            self.node = node
            await node.open()
            self._listen(node)
            self.ready = True
            self.awake_ns = max(self.awake_ns, self._clock.now_ns())
            await node.run()
        except Exception as error:  # noqa: BLE001 - what ends a node is the finding of its seed
            self.failed = error

    async def close(self) -> None:
        """End the node in order."""
        if self.node is not None and self.ready:
            self.node.leave()
            await self.node.close("the seed is over")

    def _build(self) -> Node:
        venues = [self._venue(name) for name in self._ground.plan.venues]
        every_ms = WARM_EVERY_MS if self._rng.random() < WARM_SHARE else 0
        return Node(
            _rehearsing(self._settings, every_ms),
            venues,
            clock=self._clock,
            rng=self._rng,
            state_directory=self._directory,
            version="chaos",
            say=self.said.append,
            beside=at_once,
        )

    def _venue(self, name: str) -> Venue:
        connection = VenueConnection(
            rest_url=f"http://{name}{DOMAIN}:{PORT}", ws_url=f"ws://{name}{DOMAIN}:{PORT}"
        )
        credentials = self._ground.servers[name].credentials()
        venue = make_venue(name, connection, credentials, self._clock, self._rng, books=True)
        self._spy(venue)
        return venue

    def die(self) -> None:
        """The process is gone: its files are closed by the kernel, its sockets reset."""
        if not self.host.alive:
            return
        self.host.die()
        if self.journal is not None:
            self.journal.close()
        self._bury(self)

    # --- listening -------------------------------------------------------------------------------

    def _listen(self, node: Node) -> None:
        bus = node.core.bus
        self.counters.watch(node.core)
        bus.subscribe(VenueConnectionChanged, self._connection, core=False)
        bus.subscribe(VenueSnapshot, self._compared, core=False)
        bus.subscribe(
            InstrumentsListed,
            lambda event: self.witness.told.listed(event.instruments),
            core=False,
        )

    def _connection(self, event: VenueConnectionChanged) -> None:
        live = event.state is ConnectionState.LIVE
        self.witness.told.channel(event.venue, event.channel, live=live)

    def _compared(self, event: VenueSnapshot) -> None:
        if event.complete:
            self.witness.told.compared(event.venue)

    def _spy(self, venue: Venue) -> None:
        """Listen to what goes through a venue's port, in place."""
        market: Any = venue.market_data
        trading: Any = venue.trading
        account: Any = venue.account
        run, submit, ask = market.run, trading.submit, account.order
        witness, judge = self.witness, Judge(self._ground.tops, self.witness)

        async def watched_run(instruments: Sequence[Instrument], sink: MarketSink) -> None:
            await run(instruments, SpySink(sink, judge))

        async def watched_submit(order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
            witness.sent(order)
            report: OrderReport = await submit(order, sent)
            return report

        async def watched_ask(order: OrderRequest, venue_order_id: str) -> OrderReport | None:
            witness.orders.asked(order.client_id)
            report: OrderReport | None = await ask(order, venue_order_id)
            return report

        market.run, trading.submit, account.order = watched_run, watched_submit, watched_ask
        begin = getattr(trading, "begin", None)
        if begin is not None:

            def watched_begin(
                order: OrderRequest, sent: Callable[[], None]
            ) -> Awaitable[OrderReport] | None:
                answer: Awaitable[OrderReport] | None = begin(order, sent)
                if answer is not None:
                    witness.sent(order)
                return answer

            trading.begin = watched_begin


def wall_ns(clock: Clock) -> Callable[[], int]:
    """Return the time of day of the world, for libraries."""
    return lambda: clock.now_ns() // SECOND * SECOND


def _rehearsing(settings: Settings, every_ms: int) -> Settings:
    """Return the settings of a life with rehearsals of its own."""
    execution = settings.execution.model_copy(update={"rehearse_every_ms": every_ms})
    return settings.model_copy(update={"execution": execution})
