"""The depth of one instrument: a REST snapshot, and a chain of deltas that must not break.

Rule (sheet section 4): buffer deltas, take the snapshot, drop deltas with u < lastUpdateId; the
first one applied has U <= lastUpdateId <= u, and from there each `pu` is the `u` before it. A gap
throws the book away: a new one is built from a new snapshot, and the slot is told at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import BookChanged, BookUpdated
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import MS
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.port import MarketSink
from perpbot.venues.wire.ladder import Ladder, Level

MAX_WAITING = 1_000
"""Deltas that may wait for a snapshot: 100 s of the 100 ms stream."""
TOP_LEVELS = 20
"""Levels a side in each BookUpdated."""


class DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    """A delta of the diff depth stream; prices and quantities in wire units."""

    s: str
    U: int
    u: int
    b: list[Level]
    a: list[Level]
    pu: int = -1
    T: int = 0
    E: int = 0


class DepthSnapshot(msgspec.Struct, rename="camel"):
    """GET /fapi/v1/depth."""

    last_update_id: int
    bids: list[Level]
    asks: list[Level]


class BookSync:
    """Keeps one instrument's book in step and publishes it.

    `ask_snapshot` is called when a snapshot is needed; its answer comes back through `snapshot`, a
    failure through `snapshot_failed`. Emits BookChanged for each delta and BookUpdated with the
    top levels after it, in base coins.
    """

    def __init__(
        self,
        instrument: Instrument,
        sink: MarketSink,
        ask_snapshot: Callable[[BookSync], None],
    ) -> None:
        self.instrument = instrument
        self._sink = sink
        self._slot = sink.slot(instrument)
        self._ask_snapshot = ask_snapshot
        self._price_unit = float(instrument.price_multiplier)
        self._size_unit = float(instrument.contract_size)
        self._waiting: deque[DepthUpdate] = deque(maxlen=MAX_WAITING)
        self._bids = Ladder(bids=True)
        self._asks = Ladder(bids=False)
        self._asked = False
        self._bridged = False
        self.last_update_id: int | None = None
        """Of the last delta or snapshot applied; None while there is no book."""
        self.gaps = 0

    @property
    def is_ready(self) -> bool:
        """Whether the levels are the venue's."""
        return self.last_update_id is not None

    def top(self, depth: int = TOP_LEVELS) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return the best bids and asks, best first, in wire units."""
        return self._bids.top(depth), self._asks.top(depth)

    def reset(self, reason: str) -> None:
        """Forget the book: the stream broke."""
        self._waiting.clear()
        self._bids, self._asks = Ladder(bids=True), Ladder(bids=False)
        self._asked = False
        if self.last_update_id is not None:
            self.last_update_id = None
            self._slot.invalidate(reason)

    def delta(self, update: DepthUpdate) -> None:
        """Take a delta from the stream, in order of arrival."""
        if self.last_update_id is None:
            self._waiting.append(update)
            if not self._asked:
                self._asked = True
                self._ask_snapshot(self)
            return
        self._chain(update)

    def snapshot(self, snapshot: DepthSnapshot) -> None:
        """Take the REST snapshot and everything that waited for it.

        Raises `InvalidValue` for a level that cannot be: then there is no book, as before.
        """
        if not self._asked:
            return  # the stream broke while it was under way
        bids, asks = Ladder(bids=True), Ladder(bids=False)
        bids.put(snapshot.bids)
        asks.put(snapshot.asks)
        self._asked = False
        self._bids, self._asks = bids, asks
        self.last_update_id = snapshot.last_update_id
        self._bridged = False
        waiting = list(self._waiting)
        self._waiting.clear()
        for update in waiting:
            self.delta(update)  # after a gap among them the rest waits for the next snapshot
        if self.is_ready:
            self._publish_top(0)

    def snapshot_failed(self) -> None:
        """Ask again with the next delta."""
        self._asked = False

    def _chain(self, update: DepthUpdate) -> None:
        last = self.last_update_id
        assert last is not None
        if not self._bridged:
            if update.u < last:
                return
            if last < update.U:
                self._gap(update, f"depth starts at {update.U}, the snapshot ends at {last}")
                return
            self._bridged = True
        elif update.pu != last:
            self._gap(update, f"depth continues {update.pu}, {last} was expected")
            return
        try:
            self._bids.put(update.b)
            self._asks.put(update.a)
        except InvalidValue as error:
            self._spoil("depth level", str(error))
            return
        self.last_update_id = update.u
        price_unit, size_unit = self._price_unit, self._size_unit
        self._sink.publish(
            BookChanged(
                venue=VENUE,
                asset=self.instrument.asset,
                bids=tuple((price / price_unit, size * size_unit) for price, size in update.b),
                asks=tuple((price / price_unit, size * size_unit) for price, size in update.a),
                sequence=update.u,
                venue_ns=(update.T or update.E) * MS,
            )
        )
        self._publish_top((update.T or update.E) * MS)

    def _gap(self, update: DepthUpdate, reason: str) -> None:
        self._spoil("depth gap", reason)
        self.delta(update)

    def _spoil(self, what: str, reason: str) -> None:
        self.gaps += 1
        self._sink.refuse(VENUE, what)
        self.reset(reason)

    def _publish_top(self, venue_ns: int) -> None:
        price_unit, size_unit = self._price_unit, self._size_unit
        self._sink.publish(
            BookUpdated(
                venue=VENUE,
                asset=self.instrument.asset,
                bids=self._bids.top(TOP_LEVELS, size_unit, price_unit),
                asks=self._asks.top(TOP_LEVELS, size_unit, price_unit),
                venue_ns=venue_ns,
            )
        )
