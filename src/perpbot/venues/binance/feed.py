"""Public streams of Binance: quotes and depth on /public, marks and trades on /market.

bookTicker drives the quotes: one decode into a struct of floats, one dictionary look-up, one call
into the slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from perpbot.domain.errors import ProtocolViolation
from perpbot.domain.events import FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Side
from perpbot.kernel.clock import MS
from perpbot.venues.binance.books import BookSync, DepthUpdate
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.port import MarketSink
from perpbot.venues.wire.decoding import UNREADABLE

_STREAM = ord("s")  # third byte of {"stream":..., the wrapper of combined streams


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


def _kind_of(payload: memoryview) -> str:
    try:
        message = _decode_kind(payload)
    except UNREADABLE:
        return "frame"
    return message.e or (message.data.e if message.data is not None else "") or "frame"
