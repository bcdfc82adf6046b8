"""The public data of Binance: what REST answers, and the sockets of the streams.

The categories must not share a socket: on the wrong route a subscription is acknowledged and stays
silent (sheet section 0).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from perpbot.domain.errors import InvalidValue, Unavailable
from perpbot.domain.events import BookUpdated, ConnectionState, VenueConnectionChanged
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.binance.books import BookSync, DepthSnapshot
from perpbot.venues.binance.feed import FrameReader
from perpbot.venues.binance.rest import LIMIT_NAMES, RestClient
from perpbot.venues.binance.universe import (
    VENUE,
    ExchangeInfo,
    FundingInfo,
    Universe,
    instrument_of,
)
from perpbot.venues.port import MarketSink
from perpbot.venues.wire.backoff import Backoff
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.websocket import ChannelStatistics, Connection, WebSocketChannel

MAX_STREAMS = 200
"""Streams a socket; the documents allow more, other clients stay at this."""
_SNAPSHOT_LEVELS = 1000
_SNAPSHOT_WEIGHT = 20


class TickerRow(msgspec.Struct, rename="camel"):
    """A row of GET /fapi/v1/ticker/bookTicker."""

    symbol: str
    bid_price: float
    bid_qty: float
    ask_price: float
    ask_qty: float
    time: int = 0


class BinanceMarketData:
    """Public data; see `perpbot.venues.port.MarketData`."""

    def __init__(
        self,
        *,
        rest: RestClient,
        ws_url: str,
        universe: Universe,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        books: bool = False,
        trades: bool = True,
        silence_s: float = 10.0,
    ) -> None:
        self._rest = rest
        self._ws_url = ws_url
        self._universe = universe
        self._clock = clock
        self._rng = rng
        self._dials = dials
        self._with_books = books
        self._with_trades = trades
        self._silence_s = silence_s
        self._channels: list[WebSocketChannel] = []
        self._snapshots: asyncio.Queue[BookSync] = asyncio.Queue()

    async def instruments(self) -> Sequence[Instrument]:
        """Return every tradable perpetual settled in USDT or USDC, and learn the rate limits."""
        info = await self._rest.read("/fapi/v1/exchangeInfo", ExchangeInfo, signed=False)
        rows = await self._rest.read("/fapi/v1/fundingInfo", list[FundingInfo], signed=False)
        for limit in info.rate_limits:
            window = LIMIT_NAMES.get((limit.rate_limit_type, limit.interval, limit.interval_num))
            if window is not None and limit.limit > 0:
                self._rest.budget.resize(window, limit.limit)
        hours = {row.symbol: row.funding_interval_hours for row in rows}
        found = [
            instrument_of(symbol, hours.get(symbol.symbol, 8) * 3600)
            for symbol in info.symbols
            if symbol.contract_type == "PERPETUAL" and symbol.status == "TRADING"
        ]
        self._universe.add(found)
        return found

    async def poll_quotes(self, instruments: Sequence[Instrument]) -> Sequence[BookUpdated]:
        """Return the best levels by REST, for display while the stream is down."""
        path = "/fapi/v1/ticker/bookTicker"
        body = await self._rest.read(path, msgspec.Raw, weight=5, signed=False)
        try:
            rows = msgspec.json.decode(body, type=list[TickerRow], strict=False)
        except UNREADABLE as error:
            raise Unavailable(VENUE, f"{path} could not be read: {error}") from error
        wanted = {one.symbol: one for one in instruments}
        return [_polled(row, wanted[row.symbol]) for row in rows if row.symbol in wanted]

    async def run(self, instruments: Sequence[Instrument], sink: MarketSink) -> None:
        """Feed `sink` until cancelled."""
        self._universe.add(instruments)
        self._channels = []
        self._snapshots = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            if self._with_books:
                tasks.create_task(self._fetch_snapshots())
            per_socket = MAX_STREAMS // 2
            for start in range(0, len(instruments), per_socket):
                part = instruments[start : start + per_socket]
                for channel in self._sockets(part, sink):
                    self._channels.append(channel)
                    tasks.create_task(channel.run())

    def statistics(self) -> Sequence[ChannelStatistics]:
        """Return the counts of each socket."""
        return [channel.statistics() for channel in self._channels]

    def _sockets(self, part: Sequence[Instrument], sink: MarketSink) -> Iterator[WebSocketChannel]:
        reader = FrameReader(part, sink, self._snapshots.put_nowait if self._with_books else None)
        names = [one.symbol.lower() for one in part]
        quotes = [f"{name}@bookTicker" for name in names]
        if self._with_books:
            quotes += [f"{name}@depth@100ms" for name in names]
        marks = [f"{name}@markPrice@1s" for name in names]
        if self._with_trades:
            marks += [f"{name}@aggTrade" for name in names]

        def quotes_down(reason: str) -> None:
            for one in part:
                sink.slot(one).invalidate(reason)
            for book in reader.books.values():
                book.reset(reason)
            sink.publish(
                VenueConnectionChanged(
                    venue=VENUE, channel="public", state=ConnectionState.DOWN, reason=reason
                )
            )

        async def quotes_open(connection: Connection) -> None:
            connection.send(_subscription(quotes))
            sink.publish(
                VenueConnectionChanged(venue=VENUE, channel="public", state=ConnectionState.LIVE)
            )

        async def marks_open(connection: Connection) -> None:
            connection.send(_subscription(marks))

        yield self._channel("public", reader, quotes_open, quotes_down)
        yield self._channel("market", reader, marks_open, lambda _reason: None)

    def _channel(
        self,
        route: str,
        reader: FrameReader,
        on_open: Callable[[Connection], Awaitable[None]],
        on_down: Callable[[str], None],
    ) -> WebSocketChannel:
        async def url() -> str:
            return f"{self._ws_url}/{route}/ws"

        return WebSocketChannel(
            venue=VENUE,
            name=route,
            url=url,
            on_open=on_open,
            on_text=reader.on_text,
            on_down=on_down,
            clock=self._clock,
            rng=self._rng,
            dials=self._dials,
            silence_s=self._silence_s,
        )

    async def _fetch_snapshots(self) -> None:
        """Answer the books that ask for a snapshot, one at a time: each costs weight 20."""
        backoff = Backoff(rng=self._rng)
        while True:
            book = await self._snapshots.get()
            query = f"symbol={book.instrument.symbol}&limit={_SNAPSHOT_LEVELS}"
            try:
                body = await self._rest.read(
                    "/fapi/v1/depth",
                    msgspec.Raw,
                    query,
                    weight=_SNAPSHOT_WEIGHT,
                    signed=False,
                )
                book.snapshot(decode_snapshot(body))
                backoff.reset()
            except (Unavailable, InvalidValue, *UNREADABLE):
                book.snapshot_failed()
                await asyncio.sleep(backoff.next_s())


def decode_snapshot(body: bytes | str | msgspec.Raw) -> DepthSnapshot:
    """Read a depth snapshot; its numbers are strings on the wire."""
    return msgspec.json.decode(body, type=DepthSnapshot, strict=False)


def _subscription(streams: Sequence[str]) -> bytes:
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": streams, "id": 1})


def _polled(row: TickerRow, instrument: Instrument) -> BookUpdated:
    price_unit, size_unit = float(instrument.price_multiplier), float(instrument.contract_size)
    return BookUpdated(
        venue=VENUE,
        asset=instrument.asset,
        bids=((row.bid_price / price_unit, row.bid_qty * size_unit),),
        asks=((row.ask_price / price_unit, row.ask_qty * size_unit),),
        venue_ns=row.time * MS,
    )
