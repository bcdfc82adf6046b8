"""The public streams of Binance: what each name means and what its frames say.

A `Feed` makes the frames of one stream. Event-driven feeds answer news at once; the others have an
interval and are asked when it is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.sides import Side
from perpbot.simulation.model import BookChange, Mark, PublicTrade
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.candles import INTERVALS_MS
from perpbot.simulation.wire.binance.context import Context, ratio_text
from perpbot.simulation.wire.binance.market import MarketDesk

PUBLIC, MARKET, PRIVATE = "public", "market", "private"
_DEPTH_MS = {"": 250, "@100ms": 100, "@250ms": 250, "@500ms": 500}
_CATEGORIES = {
    "depth": PUBLIC,
    "bookTicker": PUBLIC,
    "trade": PUBLIC,
    "aggTrade": MARKET,
    "markPrice": MARKET,
    "kline": MARKET,
    "ticker": MARKET,
}
_NAME = re.compile(
    r"^(?P<symbol>[a-z0-9]+)@(?:"
    r"(?P<depth>depth)(?P<levels>5|10|20)?(?P<speed>@100ms|@250ms|@500ms)?"
    r"|(?P<kline>kline)_(?P<length>[0-9]+[mhd])"
    r"|(?P<markPrice>markPrice)(?P<fast>@1s)?"
    r"|(?P<bookTicker>bookTicker)|(?P<trade>trade)|(?P<aggTrade>aggTrade)|(?P<ticker>ticker)"
    r")$"
)
_ALL_BOOKS = "!bookTicker"
_ALL_MARKS = re.compile(r"^!markPrice@arr(?P<fast>@1s)?$")


class StreamName(msgspec.Struct, frozen=True, kw_only=True):
    """A stream name, read. An empty symbol means all."""

    name: str
    kind: str
    symbol: str = ""
    interval_ms: int = 0
    """0 for streams that tell at once."""
    levels: int = 0
    length: str = ""

    @property
    def category(self) -> str:
        """The route that serves it."""
        return _CATEGORIES[self.kind]


def read_name(name: str) -> StreamName | None:
    """Read a stream name; None for what this server does not have (acked, then silent)."""
    if name == _ALL_BOOKS:
        return StreamName(name=name, kind="bookTicker")
    marks = _ALL_MARKS.match(name)
    if marks is not None:
        return StreamName(
            name=name, kind="markPrice", interval_ms=1_000 if marks["fast"] else 3_000
        )
    match = _NAME.match(name)
    if match is None:
        return None
    kind = next(word for word in _CATEGORIES if match[word])
    length = match["length"] or ""
    if kind == "kline" and length not in INTERVALS_MS:
        return None
    interval_ms = {
        "depth": _DEPTH_MS[match["speed"] or ""],
        "markPrice": 1_000 if match["fast"] else 3_000,
        "kline": 250,
        "ticker": 1_000,
    }.get(kind, 0)
    return StreamName(
        name=name,
        kind=kind,
        symbol=match["symbol"].upper(),
        interval_ms=interval_ms,
        levels=int(match["levels"] or 0),
        length=length,
    )


class DepthFeed:
    """Changes of a book since the last frame: a chain in which each `pu` is the `u` before."""

    def __init__(self, context: Context, symbol: str, levels: int) -> None:
        self._context = context
        self._symbol = symbol
        self._levels = levels
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._first = self._last = self._previous = 0
        self._changed_ns = 0
        self._lose = False

    def add(self, change: BookChange) -> None:
        """Take a change."""
        if not self._last:
            self._previous = change.previous_sequence
            self._first = change.previous_sequence + 1
        self._last = change.sequence
        self._changed_ns = change.ts_ns
        if not self._levels:
            for side, levels in ((self._bids, change.bids), (self._asks, change.asks)):
                for price, quantity, _orders in levels:
                    side[price] = quantity

    def lose_next(self) -> None:
        """Make the next frame vanish, as a gap in the chain."""
        self._lose = True

    def frame(self, now_ms: int) -> dict[str, Any] | None:
        """Return what changed since the last call; None when nothing did."""
        if not self._last:
            return None
        bids: Any = self._bids.items()
        asks: Any = self._asks.items()
        if self._levels:
            view = self._context.exchange.book(self._symbol, self._levels)
            bids = [level[:2] for level in view.bids]
            asks = [level[:2] for level in view.asks]
        found = {
            "e": "depthUpdate",
            "E": now_ms,
            "T": words.milliseconds(self._changed_ns),
            "s": self._symbol,
            "ps": self._symbol,
            "st": 1,
            "U": self._first,
            "u": self._last,
            "pu": self._previous,
            "b": [[words.number(price), words.number(quantity)] for price, quantity in bids],
            "a": [[words.number(price), words.number(quantity)] for price, quantity in asks],
        }
        self._bids.clear()
        self._asks.clear()
        self._last = 0
        if self._lose:
            self._lose = False
            return None
        return found


class BookTickerFeed:
    """The best levels, told whenever they change."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[str, object] = {}

    def frame(self, change: BookChange) -> dict[str, Any] | None:
        """Return the best levels after a change; None when they did not move."""
        view = self._context.exchange.book(change.symbol, 1)
        if not view.bids or not view.asks:
            return None
        bid, ask = view.bids[0], view.asks[0]
        best = (bid[0], bid[1], ask[0], ask[1])
        if self._told.get(change.symbol) == best:
            return None
        self._told[change.symbol] = best
        return {
            "e": "bookTicker",
            "u": view.sequence,
            "E": self._context.now_ms(),
            "T": words.milliseconds(change.ts_ns),
            "s": change.symbol,
            "ps": change.symbol,
            "st": 1,
            "b": words.number(bid[0]),
            "B": words.number(bid[1]),
            "a": words.number(ask[0]),
            "A": words.number(ask[1]),
        }

    def forget(self, symbol: str) -> None:
        """Tell the next change in any case: nobody heard the last one."""
        self._told.pop(symbol, None)


def trade_frame(trade: PublicTrade, now_ms: int) -> dict[str, Any]:
    """Return a frame of `<symbol>@trade`."""
    return {
        "e": "trade",
        "E": now_ms,
        "T": words.milliseconds(trade.ts_ns),
        "s": trade.symbol,
        "t": trade.trade_id,
        "p": words.number(trade.price),
        "q": words.number(trade.quantity),
        "X": "MARKET",
        "m": trade.side is Side.SELL,
    }


def agg_trade_frame(trade: PublicTrade, now_ms: int) -> dict[str, Any]:
    """Return a frame of `<symbol>@aggTrade`; each trade stands for itself."""
    return {
        "e": "aggTrade",
        "E": now_ms,
        "a": trade.trade_id,
        "s": trade.symbol,
        "p": words.number(trade.price),
        "q": words.number(trade.quantity),
        "nq": words.number(trade.quantity),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": words.milliseconds(trade.ts_ns),
        "m": trade.side is Side.SELL,
        "st": 1,
    }


def mark_frame(mark: Mark, now_ms: int) -> dict[str, Any]:
    """Return a frame of `<symbol>@markPrice`."""
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": mark.symbol,
        "p": words.number(mark.mark_price),
        "ap": words.number(mark.mark_price),
        "i": words.number(mark.index_price),
        "P": words.number(mark.index_price),
        "r": ratio_text(mark.funding_rate),
        "T": words.milliseconds(mark.next_funding_ns),
        "st": 1,
    }


def timed_frames(context: Context, market: MarketDesk, name: StreamName) -> Callable[[int], Any]:
    """Return what makes the frames of a stream that is told by the clock."""
    if name.kind == "markPrice" and not name.symbol:
        return lambda now_ms: [
            mark_frame(context.exchange.mark(symbol), now_ms) for symbol in context.contracts
        ]
    if name.kind == "markPrice":
        return lambda now_ms: mark_frame(context.exchange.mark(name.symbol), now_ms)
    if name.kind == "kline":
        return lambda now_ms: _kline_frame(market, name, now_ms)
    return lambda now_ms: _ticker_frame(market, name.symbol, now_ms)


def _kline_frame(market: MarketDesk, name: StreamName, now_ms: int) -> dict[str, Any] | None:
    candles = market.candles(name.symbol, name.length)
    if not candles:
        return None
    candle = candles[-1]
    end_ms = candle.open_ms + INTERVALS_MS[name.length] - 1
    return {
        "e": "kline",
        "E": now_ms,
        "s": name.symbol,
        "k": {
            "t": candle.open_ms,
            "T": end_ms,
            "s": name.symbol,
            "i": name.length,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": words.number(candle.open),
            "c": words.number(candle.close),
            "h": words.number(candle.high),
            "l": words.number(candle.low),
            "v": words.number(candle.volume),
            "n": candle.trades,
            "x": now_ms > end_ms,
            "q": words.number(candle.turnover),
            "V": words.number(candle.taker_volume),
            "Q": words.number(candle.taker_turnover),
            "B": "0",
        },
    }


def _ticker_frame(market: MarketDesk, symbol: str, now_ms: int) -> dict[str, Any]:
    row = market.day_row(symbol)
    return {
        "e": "24hrTicker",
        "E": now_ms,
        "s": symbol,
        "p": row["priceChange"],
        "P": row["priceChangePercent"],
        "w": row["weightedAvgPrice"],
        "c": row["lastPrice"],
        "Q": row["lastQty"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
        "O": row["openTime"],
        "C": row["closeTime"],
        "F": row["firstId"],
        "L": row["lastId"],
        "n": row["count"],
        "st": 1,
    }
