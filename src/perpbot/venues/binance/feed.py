"""Public streams of Binance: quotes and depth on /public, marks and trades on /market.

bookTicker drives the quotes: one decode into a struct of floats, one dictionary look-up, one call
into the slot. The categories must not share a socket: on the wrong route a subscription is
acknowledged and stays silent (sheet section 0).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from perpbot.domain.errors import InvalidValue, ProtocolViolation, Unavailable
from perpbot.domain.events import (
    BookUpdated,
    ConnectionState,
    FundingRateUpdated,
    MarkUpdated,
    TradePrinted,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Side
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.binance.books import BookSync, DepthSnapshot, DepthUpdate
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
from perpbot.venues.wire.websocket import ChannelStatistics, Connection, WebSocketChannel

MAX_STREAMS = 200
"""Streams a socket; the documents allow more, other clients stay at this."""
_STREAM = ord("s")  # third byte of {"stream":..., the wrapper of combined streams
_SNAPSHOT_LEVELS = 1000
_SNAPSHOT_WEIGHT = 20


class BookTicker(msgspec.Struct, tag_field="e", tag="bookTicker", gc=False):
    """Best bid and ask after an update; sent at once, only when it changes."""

    s: str
    b: float
    B: float
    a: float
    A: float
    T: int = 0
    E: int = 0
    u: int = 0


class MarkPrice(msgspec.Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """Mark and index price, and the rate of the coming funding; `r` is empty for dated futures."""

    s: str
    p: float
    E: int
    i: float = 0.0
    r: str = ""
    T: int = 0


class AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """Trades of one taker order at one price; `m`: the buyer was the maker."""

    s: str
    a: int
    p: float
    q: float
    m: bool
    T: int


class Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """One public trade; `X` tells apart market trades from insurance and settlement."""

    s: str
    t: int
    p: float
    q: float
    m: bool
    T: int
    X: str = "MARKET"


Message = BookTicker | DepthUpdate | MarkPrice | AggTrade | Trade


class Wrapped(msgspec.Struct, gc=False):
    """A message of a combined stream."""

    data: Message
    stream: str = ""


class Reply(msgspec.Struct):
    """The answer to SUBSCRIBE."""

    id: int | None = None
    error: msgspec.Raw = msgspec.Raw()


class Kind(msgspec.Struct):
    """What a message that we do not read says it is."""

    e: str = ""
    data: Kind | None = None


class TickerRow(msgspec.Struct, rename="camel"):
    """A row of GET /fapi/v1/ticker/bookTicker."""

    symbol: str
    bid_price: float
    bid_qty: float
    ask_price: float
    ask_qty: float
    time: int = 0


# Not strict: the wire writes numbers as strings, and this reads them in one step.
_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_wrapped = msgspec.json.Decoder(Wrapped, strict=False).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_kind = msgspec.json.Decoder(Kind).decode

Update = Callable[[float, float, float, float, int, int], None]


class _Route:
    """Where the messages of one symbol go."""

    __slots__ = ("asset", "book", "funding_interval_s", "price_unit", "size_unit", "update")

    def __init__(self, instrument: Instrument, update: Update, book: BookSync | None) -> None:
        self.asset = instrument.asset
        self.funding_interval_s = instrument.funding_interval_s
        self.price_unit = float(instrument.price_multiplier)
        self.size_unit = float(instrument.contract_size)
        self.update = update
        self.book = book


class FrameReader:
    """The read path of the public sockets: frames in, quotes and events out. Never raises on data.

    Separate from the sockets so that recorded frames can be read without them.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        sink: MarketSink,
        ask_snapshot: Callable[[BookSync], None] | None = None,
    ) -> None:
        self._sink = sink
        self.books = (
            {one.symbol: BookSync(one, sink, ask_snapshot) for one in instruments}
            if ask_snapshot is not None
            else {}
        )
        self._routes = {
            one.symbol: _Route(one, sink.slot(one).update, self.books.get(one.symbol))
            for one in instruments
        }

    def on_text(self, payload: memoryview, recv_ns: int) -> None:
        """Read one frame; what cannot be read is refused by reason.

        Raises `ProtocolViolation` only for a refused subscription.
        """
        try:
            is_wrapped = payload[2] == _STREAM
            message = _decode_wrapped(payload).data if is_wrapped else _decode(payload)
        except (*UNREADABLE, IndexError):
            self._on_other(payload)
            return
        route = self._routes.get(message.s)
        if route is None:
            self._sink.refuse(VENUE, "unknown symbol")
        elif type(message) is BookTicker:
            price_unit = route.price_unit
            size_unit = route.size_unit
            route.update(
                message.b / price_unit,
                message.B * size_unit,
                message.a / price_unit,
                message.A * size_unit,
                (message.T or message.E) * MS,
                recv_ns,
            )
        else:
            self._on_event(route, message)

    def _on_event(self, route: _Route, message: Message) -> None:
        if isinstance(message, DepthUpdate):
            if route.book is not None:
                route.book.delta(message)
        elif isinstance(message, MarkPrice):
            self._on_mark(route, message)
        elif isinstance(message, AggTrade):
            self._print_trade(route, str(message.a), message)
        elif isinstance(message, Trade) and message.X == "MARKET":
            self._print_trade(route, str(message.t), message)

    def _on_mark(self, route: _Route, message: MarkPrice) -> None:
        venue_ns = message.E * MS
        unit = route.price_unit
        self._sink.publish(
            MarkUpdated(
                venue=VENUE,
                asset=route.asset,
                mark=message.p / unit,
                index=message.i / unit,
                venue_ns=venue_ns,
            )
        )
        if not message.r:
            return
        try:
            rate = float(message.r)
        except ValueError:
            self._sink.refuse(VENUE, "unreadable funding rate")
            return
        self._sink.publish(
            FundingRateUpdated(
                venue=VENUE,
                asset=route.asset,
                rate=rate,
                interval_s=route.funding_interval_s,
                next_ns=message.T * MS,
            )
        )

    def _print_trade(self, route: _Route, trade_id: str, message: AggTrade | Trade) -> None:
        self._sink.publish(
            TradePrinted(
                venue=VENUE,
                asset=route.asset,
                trade_id=trade_id,
                price=message.p / route.price_unit,
                size=message.q * route.size_unit,
                side=Side.SELL if message.m else Side.BUY,
                venue_ns=message.T * MS,
            )
        )

    def _on_other(self, payload: memoryview) -> None:
        try:
            reply = _decode_reply(payload)
        except UNREADABLE:
            self._sink.refuse(VENUE, "unreadable frame")
            return
        detail = bytes(reply.error).decode("utf-8", "replace")
        if detail:
            raise ProtocolViolation(VENUE, f"subscription refused: {detail}")
        if reply.id is None:
            self._sink.refuse(VENUE, f"unreadable {_kind_of(payload)}")


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
        books: bool = False,
        trades: bool = True,
        silence_s: float = 10.0,
    ) -> None:
        self._rest = rest
        self._ws_url = ws_url
        self._universe = universe
        self._clock = clock
        self._rng = rng
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


def _kind_of(payload: memoryview) -> str:
    try:
        message = _decode_kind(payload)
    except UNREADABLE:
        return "frame"
    return message.e or (message.data.e if message.data is not None else "") or "frame"


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
