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
    BookUpdated,
    ConnectionState,
    Event,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.kernel.clock import MS, SECOND, Clock, LoopTimers
from perpbot.kernel.journal import Journal
from perpbot.research.chaos.checkers import Witness
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.wires.ground import PORT, Ground
from perpbot.research.chaos.wires.weather import DOMAIN
from perpbot.simulation.virtual.hosts import Host, HostDied
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import MarketSink, QuoteSlot, Venue

RESERVE_BYTES = 1 << 16
TOO_OLD_NS = 2_600 * MS
"""A touch that was left longer ago must not open anything, however late its bytes came."""
WARM_SHARE = 0.05
"""Of lives that keep their order code warm."""
NEVER = "a touch that never was"


async def _at_once(work: Callable[[], object]) -> None:
    """Do what would wait for a disk beside the loop: there is one thread."""
    work()


class Doom:
    """When the node dies next: at the n-th append (before or after it) or at the n-th write."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._left = 0
        self._point = ""

    def arm(self, point: str, count: int) -> None:
        """Die at the `count`-th `point` from now."""
        self._point, self._left = point, count

    def disarm(self) -> None:
        """No death after all."""
        self._left = 0

    def strikes(self, point: str, what: str) -> bool:
        """Whether the node dies at this point."""
        if not self._left or point != self._point:
            return False
        self._left -= 1
        if self._left:
            return False
        self._counters.hit("21")
        self._counters.kill_points[f"{point} {what}"] += 1
        return True


class LifeJournal(Journal):
    """The journal files of the node; tells the witness, and may be where the node dies."""

    def __init__(self, directory: Path, life: Life, **options: Any) -> None:
        self._life = life
        super().__init__(directory, reserve_bytes=RESERVE_BYTES, **options)
        life.journal = self

    def append(self, event: Event) -> int:
        """Write one event, or die."""
        life = self._life
        if not life.host.alive:
            raise HostDied("dead already")
        if life.doom.strikes("before", event.kind):
            life.die()
            raise HostDied(event.kind)
        sequence = super().append(event)
        life.witness.journalled(event)
        if life.doom.strikes("after", event.kind):
            life.die()
            raise HostDied(event.kind)
        return sequence


class SpySlot:
    """A slot that tells the witness what kind of quote went into it."""

    def __init__(self, slot: QuoteSlot, instrument: Instrument, life: Life) -> None:
        self._slot = slot
        self._venue, self._asset = instrument.venue, instrument.asset
        self._life = life

    @property
    def heard_ns(self) -> int:
        """As the slot's own."""
        return self._slot.heard_ns

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        """Judge the quote by what the exchange's touch was, then hand it on."""
        self._life.judge(self._venue, self._asset, bid, ask)
        self._slot.update(bid, bid_size, ask, ask_size, venue_ns, recv_ns)

    def invalidate(self, reason: str) -> None:
        """From here on the last quote must not open anything."""
        self._life.witness.bad_quote(self._venue, self._asset)
        self._slot.invalidate(reason)


class SpySink:
    """A sink that gives out spying slots and looks at books."""

    def __init__(self, sink: MarketSink, life: Life) -> None:
        self._sink = sink
        self._life = life
        self._slots: dict[str, SpySlot] = {}

    def slot(self, instrument: Instrument) -> QuoteSlot:
        """The same object every time."""
        found = self._slots.get(instrument.symbol)
        if found is None:
            found = SpySlot(self._sink.slot(instrument), instrument, self._life)
            self._slots[instrument.symbol] = found
        return found

    def publish(self, event: Event) -> None:
        """Look at books, hand everything on."""
        if isinstance(event, BookUpdated):
            self._life.judge_book(event)
        self._sink.publish(event)

    def refuse(self, venue: str, reason: str) -> None:
        """Hand it on."""
        self._sink.refuse(venue, reason)


class ChaosNode(Node):
    """A node whose order code is not kept warm: rehearsals cost half of a seed's time."""

    def _keep_warm(self, timers: LoopTimers) -> None:
        """Not here."""


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
        """Since when it is looked after: its start, or its last awakening."""
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
        kind = Node if self._rng.random() < WARM_SHARE else ChaosNode
        return kind(
            self._settings,
            venues,
            clock=self._clock,
            rng=self._rng,
            state_directory=self._directory,
            version="chaos",
            say=self.said.append,
            aside=_at_once,
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

    def _connection(self, event: VenueConnectionChanged) -> None:
        live = event.state is ConnectionState.LIVE
        self.witness.channel(event.venue, event.channel, live=live)

    def _compared(self, event: VenueSnapshot) -> None:
        if event.complete:
            self.witness.compared(event.venue)

    def _spy(self, venue: Venue) -> None:
        """Listen to what goes through a venue's port, in place."""
        market: Any = venue.market_data
        trading: Any = venue.trading
        account: Any = venue.account
        run, submit, ask = market.run, trading.submit, account.order
        witness = self.witness

        async def watched_run(instruments: Sequence[Instrument], sink: MarketSink) -> None:
            await run(instruments, SpySink(sink, self))

        async def watched_submit(order: OrderRequest, sent: Callable[[], None]) -> OrderReport:
            witness.sent(order)
            report: OrderReport = await submit(order, sent)
            return report

        async def watched_ask(order: OrderRequest, venue_order_id: str) -> OrderReport | None:
            witness.asked(order.client_id)
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

    # --- judging what it is told -----------------------------------------------------------------

    def judge(self, venue: str, asset: str, bid: float, ask: float) -> None:
        """Hold a quote that goes into the engine against what the touch was, and when."""
        age_ns = self._ground.tops.age_ns(venue, asset, bid, ask)
        if age_ns is None:
            if bid == bid and ask == ask:  # noqa: PLR0124 - NaN is refused by the engine
                self.witness.violate(f"B4 {venue} quote {bid} / {ask} of {asset}: {NEVER}")
            self.witness.bad_quote(venue, asset)
        elif age_ns > TOO_OLD_NS:
            self.witness.bad_quote(venue, asset)
        else:
            self.witness.good_quote(venue, asset)

    def judge_book(self, book: BookUpdated) -> None:
        """A book was published: its best levels must have been the touch."""
        if not book.bids or not book.asks:
            return
        bid, ask = book.bids[0][0], book.asks[0][0]
        if self._ground.tops.age_ns(book.venue, book.asset, bid, ask) is None:
            self.witness.violate(f"B4 {book.venue} book {bid} / {ask} of {book.asset}: {NEVER}")


def wall_ns(clock: Clock) -> Callable[[], int]:
    """Return the time of day of the world, for libraries."""
    return lambda: clock.now_ns() // SECOND * SECOND
