"""Books of channel `books`, kept in sequence and published in base coins.

A gap throws the book away, invalidates the instrument's slot, and subscribes to the channel anew;
a new object starts from the snapshot on the socket or from REST, whichever the venue gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import BookChanged, BookUpdated
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.venues.okx.books import SequencedBook, Step
from perpbot.venues.okx.codec import BOOKS, BookRow, Level, subscription
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.port import MarketSink

PUBLISHED_DEPTH = 20
SNAPSHOT_DEPTH = "400"
SNAPSHOT_ATTEMPTS = 5
SNAPSHOT_PAUSE_S = 0.25
"""Between two REST snapshots that were too old: the book behind them moves each 100 ms."""
RESUBSCRIBE_PAUSE_S = 30
"""480 (un)subscriptions an hour are allowed; a book that gaps more often starts from REST."""


class BookFeed:
    """Keeps one `SequencedBook` an instrument."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        sink: MarketSink,
        *,
        rest: RestClient,
        clock: Clock,
        send: Callable[[bytes], None],
        venue: str,
    ) -> None:
        self._instruments = {one.symbol: one for one in instruments}
        self._sink = sink
        self._rest = rest
        self._clock = clock
        self._send = send
        self._venue = venue
        self._books = {symbol: SequencedBook() for symbol in self._instruments}
        # Unbounded in form only: an instrument asks once per book object.
        self._wanted: asyncio.Queue[tuple[str, SequencedBook]] = asyncio.Queue()
        self._resubscribed_ns: dict[str, int] = {}
        self.gaps = 0

    def reset(self) -> None:
        """Forget every book: the connection is gone."""
        self._books = {symbol: SequencedBook() for symbol in self._instruments}

    def book(self, symbol: str) -> SequencedBook:
        """Return the present book object of an instrument."""
        return self._books[symbol]

    def take(self, symbol: str, action: str, row: BookRow) -> None:
        """Take one row from the socket; called on the read path."""
        book = self._books[symbol]
        step = book.take(action, row)
        if step is Step.SNAPSHOT_NEEDED:
            self._wanted.put_nowait((symbol, book))
        elif step is Step.GAP:
            self._resubscribe(symbol, "book_gap")
        elif step is Step.APPLIED:
            if action != "snapshot":
                self._publish_change(symbol, row)
            self._publish(symbol, row.ts)

    async def run(self) -> None:
        """Fetch the snapshots that books ask for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                symbol, book = await self._wanted.get()
                group.create_task(self._align(symbol, book))

    async def _align(self, symbol: str, book: SequencedBook) -> None:
        for _ in range(SNAPSHOT_ATTEMPTS):
            try:
                rows = await self._rest.read(
                    "/api/v5/market/books",
                    BookRow,
                    {"instId": symbol, "sz": SNAPSHOT_DEPTH, "source": "0"},
                    signed=False,
                )
            except Unavailable:
                rows = []
            if self._books[symbol] is not book:
                return  # a reconnect made it worthless meanwhile
            step = book.align(rows[0]) if rows else Step.SNAPSHOT_NEEDED
            if step is Step.APPLIED:
                self._publish(symbol, rows[0].ts)
            if step in {Step.APPLIED, Step.QUIET}:
                return
            if step is Step.GAP:
                break
            await asyncio.sleep(SNAPSHOT_PAUSE_S)
        self._resubscribe(symbol, "book_not_aligned")

    def _resubscribe(self, symbol: str, reason: str) -> None:
        self.gaps += 1
        self._books[symbol] = SequencedBook()
        self._sink.refuse(self._venue, reason)
        self._sink.slot(self._instruments[symbol]).invalidate(reason)
        now_ns = self._clock.monotonic_ns()
        last_ns = self._resubscribed_ns.get(symbol)
        if last_ns is not None and now_ns - last_ns < RESUBSCRIBE_PAUSE_S * SECOND:
            return  # its next update asks REST for a snapshot
        self._resubscribed_ns[symbol] = now_ns
        try:
            self._send(subscription("unsubscribe", [(BOOKS, symbol)]))
            self._send(subscription("subscribe", [(BOOKS, symbol)]))
        except Unavailable:
            return  # the reconnect subscribes

    def _publish(self, symbol: str, venue_ms: int) -> None:
        instrument, book = self._instruments[symbol], self._books[symbol]
        size = float(instrument.contract_size)
        self._sink.publish(
            BookUpdated(
                ts_ns=self._clock.now_ns(),
                source=self._venue,
                venue=self._venue,
                asset=instrument.asset,
                bids=book.bids.top(PUBLISHED_DEPTH, size),
                asks=book.asks.top(PUBLISHED_DEPTH, size),
                venue_ns=venue_ms * MS,
            )
        )

    def _publish_change(self, symbol: str, row: BookRow) -> None:
        instrument = self._instruments[symbol]
        size = float(instrument.contract_size)
        self._sink.publish(
            BookChanged(
                ts_ns=self._clock.now_ns(),
                source=self._venue,
                venue=self._venue,
                asset=instrument.asset,
                bids=_scaled(row.bids, size),
                asks=_scaled(row.asks, size),
                sequence=row.seq_id or 0,
                venue_ns=row.ts * MS,
            )
        )


def _scaled(levels: list[Level], size: float) -> tuple[tuple[float, float], ...]:
    return tuple((level.price, level.contracts * size) for level in levels)
