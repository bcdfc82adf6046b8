"""The public stream of OKX: quotes, marks, funding rates, trades and (when asked for) books.

One websocket carries all channels. Nothing on the read path raises: what cannot be read or placed
is refused by reason. A lost connection, a service notice or a gap in a book invalidates the slots
it speaks for; the channel reconnects without limit. `bbo-tbt` is the source of quotes: each push
is the whole best bid and ask, sent when it changes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from perpbot.domain.errors import InvalidValue, Rejected, Unavailable
from perpbot.domain.events import (
    BookUpdated,
    ConnectionState,
    FundingRateUpdated,
    MarkUpdated,
    TradePrinted,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import decimal_of
from perpbot.domain.sides import Side
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.okx.bookfeed import BookFeed
from perpbot.venues.okx.catalogue import VENUE, Catalogue, InstrumentRow
from perpbot.venues.okx.codec import (
    BOOKS,
    FUNDING,
    MARKS,
    QUOTES,
    TRADES,
    Frame,
    IndexRow,
    TickerRow,
    decode_books,
    decode_frame,
    decode_funding,
    decode_marks,
    decode_quote,
    decode_trades,
    subscription,
)
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.port import MarketSink, QuoteSlot
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

PING = b"ping"
PONG = b"pong"
PING_INTERVAL_S = 15.0
"""OKX closes a connection that was silent for 30 s."""
SILENCE_S = 15.0
"""Marks of an instrument are pushed at least each 10 s, so silence of all channels is a fault."""
SUBSCRIBE_CHUNK = 200
"""Arguments in one frame; a frame may have 64 KiB and an argument takes under 100 bytes."""
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


class OkxMarketData:
    """Public data of OKX; needs no keys. With `books` it keeps full books besides the quotes."""

    def __init__(
        self,
        *,
        rest: RestClient,
        catalogue: Catalogue,
        url: str,
        clock: Clock,
        rng: random.Random,
        books: bool = False,
        trades: bool = True,
        venue: str = VENUE,
    ) -> None:
        self._rest = rest
        self._catalogue = catalogue
        self._url = url
        self._clock = clock
        self._rng = rng
        self._with_books = books
        self._channels = (QUOTES, MARKS, FUNDING, *([TRADES] if trades else []))
        self._venue = venue
        self.channel: WebSocketChannel | None = None

    async def instruments(self) -> Sequence[Instrument]:
        """Return every tradable linear swap; raise `Unavailable`."""
        rows = await self._rest.read(
            "/api/v5/public/instruments", InstrumentRow, {"instType": "SWAP"}, signed=False
        )
        if not rows:
            raise Unavailable(self._venue, "the list of instruments was empty")
        return self._catalogue.load(rows)

    async def poll_quotes(self, instruments: Sequence[Instrument]) -> Sequence[BookUpdated]:
        """Return best prices by REST, for display only; raise `Unavailable`."""
        rows = await self._rest.read(
            "/api/v5/market/tickers", TickerRow, {"instType": "SWAP"}, signed=False
        )
        by_symbol = {row.inst_id: row for row in rows}
        known = [(one, by_symbol.get(one.symbol)) for one in instruments]
        try:
            return [self._polled(one, row) for one, row in known if row is not None]
        except ValueError as error:
            raise Unavailable(self._venue, f"tickers could not be read: {error}") from error

    async def usd_rates(self, currencies: Sequence[str]) -> Mapping[str, Decimal]:
        """Return USD per unit by the index of OKX (`USDT-USD`); raise `Unavailable`.

        GET /api/v5/market/index-tickers, public; an index that OKX does not list is left out.
        """
        rates: dict[str, Decimal] = {}
        for currency in currencies:
            path, query = "/api/v5/market/index-tickers", {"instId": f"{currency}-USD"}
            try:
                rows = await self._rest.ask(path, IndexRow, query, signed=False)
            except Rejected:
                continue
            for row in rows:
                if row.inst_id == f"{currency}-USD":
                    rates[currency] = self._rate(row)
        return rates

    def _rate(self, row: IndexRow) -> Decimal:
        try:
            return decimal_of(row.idx_px, "idxPx")
        except InvalidValue as error:
            raise Unavailable(self._venue, f"an index could not be read: {error}") from error

    def _polled(self, instrument: Instrument, row: TickerRow) -> BookUpdated:
        size = float(instrument.contract_size)
        return BookUpdated(
            ts_ns=self._clock.now_ns(),
            source=self._venue,
            venue=self._venue,
            asset=instrument.asset,
            bids=((float(row.bid_px), float(row.bid_sz) * size),) if row.bid_px else (),
            asks=((float(row.ask_px), float(row.ask_sz) * size),) if row.ask_px else (),
            venue_ns=int(row.ts or 0) * MS,
        )

    def _connection(self, state: ConnectionState, reason: str) -> VenueConnectionChanged:
        return VenueConnectionChanged(
            ts_ns=self._clock.now_ns(),
            source=self._venue,
            venue=self._venue,
            channel="public",
            state=state,
            reason=reason,
        )

    async def run(self, instruments: Sequence[Instrument], sink: MarketSink) -> None:
        """Feed `sink` until cancelled."""

        # Books and stream need their channel, and it needs them: it is made last.
        def send(data: bytes) -> None:
            channel.send(data)

        def reconnect(reason: str) -> None:
            channel.reconnect(reason)

        books = None
        if self._with_books:
            books = BookFeed(
                instruments,
                sink,
                rest=self._rest,
                clock=self._clock,
                send=send,
                venue=self._venue,
            )
        stream = MarketStream(
            instruments,
            sink,
            clock=self._clock,
            books=books,
            reconnect=reconnect,
            venue=self._venue,
        )
        self.channel = channel = self._channel(instruments, stream, sink)
        async with asyncio.TaskGroup() as group:
            if books is not None:
                group.create_task(books.run())
            group.create_task(channel.run())

    def _channel(
        self, instruments: Sequence[Instrument], stream: MarketStream, sink: MarketSink
    ) -> WebSocketChannel:
        channels = (*self._channels, BOOKS) if self._with_books else self._channels
        arguments = [(channel, one.symbol) for channel in channels for one in instruments]

        async def on_open(connection: Connection) -> None:
            for start in range(0, len(arguments), SUBSCRIBE_CHUNK):
                chunk = arguments[start : start + SUBSCRIBE_CHUNK]
                connection.send(subscription("subscribe", chunk))
            sink.publish(self._connection(ConnectionState.LIVE, ""))

        def on_down(reason: str) -> None:
            stream.invalidate(reason)
            sink.publish(self._connection(ConnectionState.DOWN, reason))

        async def url() -> str:
            return f"{self._url}/ws/v5/public"

        return WebSocketChannel(
            venue=self._venue,
            name="public",
            url=url,
            on_open=on_open,
            on_text=stream.read,
            on_down=on_down,
            clock=self._clock,
            rng=self._rng,
            ping=PING,
            pong=PONG,
            ping_interval_s=PING_INTERVAL_S,
            silence_s=SILENCE_S,
            max_frame_bytes=4 << 20,
        )
