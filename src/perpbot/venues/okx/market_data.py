"""The public data of OKX: what REST answers, and the socket of the stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

from perpbot.domain.errors import InvalidValue, Rejected, Unavailable
from perpbot.domain.events import BookUpdated, ConnectionState, VenueConnectionChanged
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import decimal_of
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.okx.bookfeed import BookFeed
from perpbot.venues.okx.catalogue import VENUE, Catalogue, InstrumentRow
from perpbot.venues.okx.codec import (
    BOOKS,
    FUNDING,
    MARKS,
    QUOTES,
    TRADES,
    IndexRow,
    TickerRow,
    subscription,
)
from perpbot.venues.okx.feed import PING, PONG, MarketStream
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.port import MarketSink
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

PING_INTERVAL_S = 15.0
"""OKX closes a connection that was silent for 30 s."""
SILENCE_S = 15.0
"""Marks of an instrument are pushed at least each 10 s, so silence of all channels is a fault."""
SUBSCRIBE_CHUNK = 200
"""Arguments in one frame; a frame may have 64 KiB and an argument takes under 100 bytes."""


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
        dials: Dials,
        books: bool = False,
        trades: bool = True,
        venue: str = VENUE,
    ) -> None:
        self._rest = rest
        self._catalogue = catalogue
        self._url = url
        self._clock = clock
        self._rng = rng
        self._dials = dials
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
            dials=self._dials,
            ping=PING,
            pong=PONG,
            ping_interval_s=PING_INTERVAL_S,
            silence_s=SILENCE_S,
            max_frame_bytes=4 << 20,
        )
