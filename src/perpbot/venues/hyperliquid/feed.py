"""The public stream: quotes, books, marks, funding and trades, pushed as they are read.

Quotes come from `bbo`; a full book that is not older than the last of them counts as well. There
are no sequence numbers: a frame older than the one before is refused, and what falls silent while
the connection lives is subscribed to again, which is answered with its present state. If that
changes nothing its quote is invalidated; a connection without any market data is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from perpbot.domain.events import BookUpdated, FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Side
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.venues.hyperliquid.codec import (
    GREETING,
    BboFrame,
    Book,
    BookFrame,
    CoinContext,
    ContextFrame,
    ErrorFrame,
    Level,
    PublicTrade,
    TradesFrame,
    decode_public,
)
from perpbot.venues.hyperliquid.silence import Watched
from perpbot.venues.hyperliquid.universe import FUNDING_INTERVAL_S, VENUE
from perpbot.venues.port import MarketSink, QuoteSlot
from perpbot.venues.wire.decoding import UNREADABLE

_INFINITE = float("inf")
_HOUR_NS = FUNDING_INTERVAL_S * SECOND
_BBO_SILENCE_S = 4.0
"""A liquid bbo was recorded with 99.9 % of its gaps under 1.4 s. A quiet one is asked for again
before its quote grows stale (`quote_interval_s`)."""
_BOOK_SILENCE_S = 5.0
_CONTEXT_SILENCE_S = 30.0


class _Stream:
    """One coin: where its quotes go, its units, and what it was last heard saying."""

    __slots__ = ("asset", "bbo", "book", "book_ms", "context", "quote_ms", "scale", "size", "slot")

    def __init__(self, instrument: Instrument, slot: QuoteSlot, now_ns: int) -> None:
        coin = instrument.symbol
        self.asset = instrument.asset
        self.size = float(instrument.contract_size)
        self.scale = float(instrument.price_multiplier)
        self.slot = slot
        self.quote_ms = 0
        self.book_ms = 0
        self.bbo = Watched("bbo", coin, _BBO_SILENCE_S, now_ns)
        self.book = Watched("l2Book", coin, _BOOK_SILENCE_S, now_ns)
        self.context = Watched("activeAssetCtx", coin, _CONTEXT_SILENCE_S, now_ns)


class MarketStream:
    """Reads frames into one sink. `read` is the read path: no await, no queue, no Decimal."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        sink: MarketSink,
        clock: Clock,
        *,
        books: bool = False,
        trades: bool = True,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._books = books
        self._trades = trades
        now_ns = clock.monotonic_ns()
        self._streams = {one.symbol: _Stream(one, sink.slot(one), now_ns) for one in instruments}
        self.last_data_ns = now_ns
        """When any market data last came (monotonic); replies and pongs do not count."""

    def subscriptions(self) -> Iterator[tuple[str, str]]:
        """Return channel and coin of everything this stream wants."""
        for coin in self._streams:
            yield "bbo", coin
            yield "activeAssetCtx", coin
            if self._trades:
                yield "trades", coin
            if self._books:
                yield "l2Book", coin

    def connected(self) -> None:
        """A new connection may be of another server: its times are compared anew."""
        now_ns = self._clock.monotonic_ns()
        self.last_data_ns = now_ns
        for stream in self._streams.values():
            stream.quote_ms = stream.book_ms = 0
            for watched in self._watched(stream):
                watched.restart(now_ns)

    def lost(self, reason: str) -> None:
        """The connection is gone: no last quote may be used."""
        for stream in self._streams.values():
            stream.slot.invalidate(reason)

    def silent(self) -> list[tuple[str, str]]:
        """Return the subscriptions to ask for again, and invalidate what asking did not help."""
        now_ns = self._clock.monotonic_ns()
        found: list[tuple[str, str]] = []
        for stream in self._streams.values():
            for watched in self._watched(stream):
                if not watched.due(now_ns):
                    continue
                found.append((watched.kind, watched.coin))
                self._sink.refuse(VENUE, f"silent_{watched.kind}")
                if watched.kind == "activeAssetCtx":
                    continue
                # A server whose clock stepped back is believed again after a fresh subscribe.
                stream.quote_ms = stream.book_ms = 0
                if watched is stream.bbo and watched.attempts > 1:
                    stream.slot.invalidate("bbo is silent")
        return found

    def _watched(self, stream: _Stream) -> tuple[Watched, ...]:
        if self._books:
            return (stream.bbo, stream.context, stream.book)
        return (stream.bbo, stream.context)

    def read(self, payload: bytes | memoryview, recv_ns: int) -> None:
        """Take one frame. What cannot be read is refused and counted; nothing is raised."""
        try:
            frame = decode_public(payload)
        except msgspec.ValidationError:
            self._sink.refuse(VENUE, "unexpected_frame")
            return
        except UNREADABLE:
            if payload[: len(GREETING)] != GREETING:
                self._sink.refuse(VENUE, "not_json")
            return
        if type(frame) is BboFrame:
            best = frame.data
            stream = self._stream(best.coin)
            if stream is not None and self._is_newer(best.time, stream.quote_ms):
                self.last_data_ns = stream.bbo.last_ns = recv_ns
                _quote(stream, best.time, best.bbo[0], best.bbo[1], recv_ns)
        elif type(frame) is BookFrame:
            self._book(frame.data, recv_ns)
        elif type(frame) is ContextFrame:
            self._context(frame.data, recv_ns)
        elif type(frame) is TradesFrame:
            for trade in frame.data:
                self._trade(trade, recv_ns)
        elif type(frame) is ErrorFrame:
            self._sink.refuse(VENUE, "error_frame")

    def _stream(self, coin: str) -> _Stream | None:
        stream = self._streams.get(coin)
        if stream is None:
            self._sink.refuse(VENUE, "unknown_symbol")
        return stream

    def _is_newer(self, time_ms: int, last_ms: int) -> bool:
        if time_ms >= last_ms:
            return True
        self._sink.refuse(VENUE, "time_backwards")
        return False

    def _book(self, book: Book, recv_ns: int) -> None:
        stream = self._stream(book.coin)
        if stream is None or not self._is_newer(book.time, stream.book_ms):
            return
        if not all(_is_possible(level) for side in book.levels for level in side):
            self._sink.refuse(VENUE, "impossible_level")
            return
        self.last_data_ns = stream.book.last_ns = recv_ns
        stream.book_ms = book.time
        bids, asks = book.levels
        if book.time >= stream.quote_ms:
            _quote(
                stream,
                book.time,
                bids[0] if bids else None,
                asks[0] if asks else None,
                recv_ns,
            )
        self._sink.publish(
            book_event(
                book,
                asset=stream.asset,
                scale=stream.scale,
                size=stream.size,
                now_ns=self._clock.now_ns(),
            )
        )

    def _context(self, context: CoinContext, recv_ns: int) -> None:
        stream = self._stream(context.coin)
        if stream is None:
            return
        self.last_data_ns = stream.context.last_ns = recv_ns
        now_ns = self._clock.now_ns()
        self._sink.publish(
            MarkUpdated(
                ts_ns=now_ns,
                source=VENUE,
                venue=VENUE,
                asset=stream.asset,
                mark=context.ctx.mark_px / stream.scale,
                index=context.ctx.oracle_px / stream.scale,
            )
        )
        self._sink.publish(
            FundingRateUpdated(
                ts_ns=now_ns,
                source=VENUE,
                venue=VENUE,
                asset=stream.asset,
                rate=context.ctx.funding,
                interval_s=FUNDING_INTERVAL_S,
                # Funding settles on the hour; the frame does not tell it.
                next_ns=(now_ns // _HOUR_NS + 1) * _HOUR_NS,
            )
        )

    def _trade(self, trade: PublicTrade, recv_ns: int) -> None:
        stream = self._stream(trade.coin)
        if stream is None:
            return
        self.last_data_ns = recv_ns
        self._sink.publish(
            TradePrinted(
                ts_ns=self._clock.now_ns(),
                source=VENUE,
                venue=VENUE,
                asset=stream.asset,
                trade_id=str(trade.tid),
                price=trade.px / stream.scale,
                size=trade.sz * stream.size,
                side=Side.BUY if trade.side == "B" else Side.SELL,
                venue_ns=trade.time * MS,
            )
        )


def _is_possible(level: Level) -> bool:
    """Whether price and size are positive and finite: the decoder reads "NaN" as a number."""
    return 0.0 < level.px < _INFINITE and 0.0 < level.sz < _INFINITE


def _quote(
    stream: _Stream, time_ms: int, bid: Level | None, ask: Level | None, recv_ns: int
) -> None:
    stream.quote_ms = time_ms
    scale, size = stream.scale, stream.size
    stream.slot.update(
        bid.px / scale if bid else 0.0,
        bid.sz * size if bid else 0.0,
        ask.px / scale if ask else 0.0,
        ask.sz * size if ask else 0.0,
        time_ms * MS,
        recv_ns,
    )


def book_event(book: Book, *, asset: str, scale: float, size: float, now_ns: int) -> BookUpdated:
    """Return a book in base coins: `scale` coins to a wire price, `size` coins to a wire unit."""
    bids, asks = book.levels
    return BookUpdated(
        ts_ns=now_ns,
        source=VENUE,
        venue=VENUE,
        asset=asset,
        bids=tuple((level.px / scale, level.sz * size) for level in bids),
        asks=tuple((level.px / scale, level.sz * size) for level in asks),
        venue_ns=book.time * MS,
    )
