"""The public stream of OKX: quotes, marks, funding rates, trades and (when asked for) books.

One websocket carries all channels. Nothing on the read path raises: what cannot be read or placed
is refused by reason. A lost connection, a service notice or a gap in a book invalidates the slots
it speaks for; the channel reconnects without limit. `bbo-tbt` is the source of quotes: each push
is the whole best bid and ask, sent when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perpbot.domain.events import FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Side
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.okx.bookfeed import BookFeed
from perpbot.venues.okx.catalogue import VENUE
from perpbot.venues.okx.codec import (
    BOOKS,
    FUNDING,
    MARKS,
    QUOTES,
    TRADES,
    Frame,
    decode_books,
    decode_frame,
    decode_funding,
    decode_marks,
    decode_quote,
    decode_trades,
)
from perpbot.venues.port import MarketSink, QuoteSlot
from perpbot.venues.wire.decoding import UNREADABLE

PING = b"ping"
PONG = b"pong"
SERVICE_NOTICE = "64008"
"""The venue will close the connection for an upgrade: reconnect before it does."""

Reader = Callable[[memoryview, int], None]


class MarketStream:
    """What the frames of one run mean: a route for each instrument, and `read` for each frame."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        sink: MarketSink,
        *,
        clock: Clock,
        books: BookFeed | None,
        reconnect: Callable[[str], None],
        venue: str = VENUE,
    ) -> None:
        self._venue = venue
        self._sink = sink
        self._clock = clock
        self._books = books
        self._reconnect = reconnect
        self._instruments = {one.symbol: one for one in instruments}
        self._slots: dict[str, QuoteSlot] = {one.symbol: sink.slot(one) for one in instruments}
        self._readers: dict[str, Callable[[Frame], None]] = {
            MARKS: self._marks,
            FUNDING: self._funding,
            TRADES: self._trades,
            BOOKS: self._book,
        }
        self.read = self._make_reader()

    def invalidate(self, reason: str) -> None:
        """The connection is gone: no last quote may open anything, no book goes on."""
        for slot in self._slots.values():
            slot.invalidate(reason)
        if self._books is not None:
            self._books.reset()

    def _make_reader(self) -> Reader:
        # Local names and one tuple a route: nothing is looked up twice on the path of a quote.
        decode, other, unreadable = decode_quote, self._read_other, UNREADABLE
        refuse, venue = self._sink.refuse, self._venue
        routes = {
            symbol: (slot.update, float(self._instruments[symbol].contract_size))
            for symbol, slot in self._slots.items()
        }

        def read(payload: memoryview, recv_ns: int) -> None:
            try:
                frame = decode(payload)
            except unreadable:
                other(payload)
                return
            route = routes.get(frame.arg.instId)
            if route is None:
                refuse(venue, "unknown_symbol")
                return
            update, contract = route
            row = frame.data.row
            bid = row.bids.level
            ask = row.asks.level
            update(
                bid.price,
                bid.contracts * contract,
                ask.price,
                ask.contracts * contract,
                row.ts * MS,
                recv_ns,
            )

        return read

    def _read_other(self, payload: memoryview) -> None:
        if payload == PONG:
            return
        try:
            frame = decode_frame(payload)
            if frame.arg is None or frame.event:
                self._event(frame)
                return
            reader = self._readers.get(frame.arg.channel)
            if reader is not None:
                reader(frame)
            elif frame.arg.channel == QUOTES:
                self._refuse("unreadable_quote")
            elif frame.arg.channel != "tickers":  # not ours, and known
                self._refuse("unknown_channel")
        except UNREADABLE:
            self._refuse("unreadable_frame")

    def _event(self, frame: Frame) -> None:
        if frame.event == "notice" and frame.code == SERVICE_NOTICE:
            self._reconnect("service notice 64008")
        elif frame.event in {"error", "channel-conn-count-error"}:
            self._refuse(f"error_{frame.code or frame.event}")
        elif not frame.event:
            self._refuse("unknown_frame")

    def _marks(self, frame: Frame) -> None:
        for row in decode_marks(frame.data):
            instrument = self._known(row.inst_id)
            if instrument is not None:
                self._sink.publish(
                    MarkUpdated(
                        ts_ns=self._clock.now_ns(),
                        source=self._venue,
                        venue=self._venue,
                        asset=instrument.asset,
                        mark=row.mark_px,
                        venue_ns=row.ts * MS,
                    )
                )

    def _funding(self, frame: Frame) -> None:
        for row in decode_funding(frame.data):
            instrument = self._known(row.inst_id)
            if instrument is None:
                continue
            following = int(row.next_funding_time) if row.next_funding_time.isdigit() else 0
            interval_s = (following - row.funding_time) // 1_000
            self._sink.publish(
                FundingRateUpdated(
                    ts_ns=self._clock.now_ns(),
                    source=self._venue,
                    venue=self._venue,
                    asset=instrument.asset,
                    rate=row.funding_rate,
                    interval_s=interval_s if interval_s > 0 else instrument.funding_interval_s,
                    next_ns=row.funding_time * MS,
                )
            )

    def _trades(self, frame: Frame) -> None:
        for row in decode_trades(frame.data):
            instrument = self._known(row.inst_id)
            if instrument is None:
                continue
            if row.side not in {"buy", "sell"}:
                self._refuse("unknown_side")
                continue
            self._sink.publish(
                TradePrinted(
                    ts_ns=self._clock.now_ns(),
                    source=self._venue,
                    venue=self._venue,
                    asset=instrument.asset,
                    trade_id=row.trade_id,
                    price=row.px,
                    size=row.sz * float(instrument.contract_size),
                    side=Side(row.side),
                    venue_ns=row.ts * MS,
                )
            )

    def _book(self, frame: Frame) -> None:
        assert frame.arg is not None
        if self._books is None or self._known(frame.arg.inst_id) is None:
            return
        for row in decode_books(frame.data):
            self._books.take(frame.arg.inst_id, frame.action, row)

    def _known(self, symbol: str) -> Instrument | None:
        found = self._instruments.get(symbol)
        if found is None:
            self._refuse("unknown_symbol")
        return found

    def _refuse(self, reason: str) -> None:
        self._sink.refuse(self._venue, reason)
