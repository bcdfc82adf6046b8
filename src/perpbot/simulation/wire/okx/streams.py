"""The public channels of OKX: built only for who listens, encoded once, fanned out.

`bbo-tbt` goes out at most each 10 ms and only when the best changed; `books` as one merged update
each 100 ms (snapshot first, or not: `books_snapshot`), chained by prevSeqId and seqId, with
checksum 0 and an empty keep-alive after a minute without change; `books5` as snapshots each
100 ms; the others when their value changes.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perpbot.kernel.clock import MS
from perpbot.simulation.model import (
    BookChange,
    BookView,
    Contract,
    ExchangeView,
    Mark,
    PublicTrade,
)
from perpbot.simulation.wire.okx import rows
from perpbot.simulation.wire.okx.market import BOOK_LEVELS, Market
from perpbot.simulation.wire.okx.rows import Levels, Row
from perpbot.simulation.wire.server import Client, Topics, encode

KEEP_ALIVE_NS = 60_000 * MS
_INTERVALS_NS = {
    "bbo-tbt": 10 * MS,
    "books": 100 * MS,
    "books5": 100 * MS,
    "tickers": 100 * MS,
    "mark-price": 200 * MS,
    "index-tickers": 100 * MS,
    "funding-rate": 1_000 * MS,
}
_OF_BOOK = ("bbo-tbt", "books", "books5", "tickers")
_OF_MARK = ("mark-price", "index-tickers", "funding-rate")
CHANNELS = frozenset({*_INTERVALS_NS, "trades", "instruments"})


class _Merged:
    """What changed in a book since the last update went out."""

    __slots__ = ("asks", "bids", "latest", "sent_ns", "sequence")

    def __init__(self, sequence: int, now_ns: int) -> None:
        self.sequence = sequence
        self.latest = sequence
        self.sent_ns = now_ns
        self.bids: dict[Decimal, tuple[Decimal, Decimal, int]] = {}
        self.asks: dict[Decimal, tuple[Decimal, Decimal, int]] = {}


class Streams:
    """Turns market news into frames for subscribers."""

    def __init__(
        self,
        exchange: ExchangeView,
        market: Market,
        topics: Topics,
        clock_ns: Callable[[], int],
        *,
        books_snapshot: bool,
    ) -> None:
        self._exchange = exchange
        self._market = market
        self._topics = topics
        self._clock_ns = clock_ns
        self._books_snapshot = books_snapshot
        self._merged: dict[str, _Merged] = {}
        self._best: dict[str, object] = {}
        self._dirty: dict[str, tuple[str, Contract]] = {}
        self._next_ns: dict[str, int] = {}
        self._losing: set[str] = set()

    def lose_update(self, symbol: str) -> None:
        """Drop the next `books` update of a symbol, so that clients see a gap."""
        self._losing.add(symbol)

    def knows(self, channel: str, name: str) -> bool:
        """Whether there is such a channel of such an instrument."""
        if channel == "instruments":
            return name == "SWAP"
        return channel in CHANNELS and self._contract(channel, name) is not None

    def subscribe(self, channel: str, name: str, client: Client) -> None:
        """Let a client listen and send it the first value."""
        if channel == "instruments":
            self._topics.join(f"instruments:{name}", client)
            data = self._market.instruments({"instType": name})
            client.send(_frame({"channel": channel, "instType": name}, data))
            return
        contract = self._contract(channel, name)
        if contract is None:
            return
        topic = f"{channel}:{name}"
        if channel == "books":
            self._open_book(contract, client)
        elif channel != "trades":
            if channel == "bbo-tbt":
                # Whoever listens already stands where the newcomer's first value does.
                if topic in self._dirty:
                    self._flush(topic, channel, contract, self._clock_ns())
                self._best_changed(contract)
            client.send(self._value(channel, contract))
        self._topics.join(topic, client)

    def unsubscribe(self, channel: str, name: str, client: Client) -> None:
        """Stop listening."""
        self._topics.leave(f"{channel}:{name}", client)

    # --- news ------------------------------------------------------------------------------------

    def on_book(self, news: BookChange) -> None:
        """Note what a change of the book makes due."""
        contract = self._market.contracts[news.symbol]
        if f"books:{news.symbol}" in self._topics:
            self._merge(news)
        for channel in _OF_BOOK:
            self._touch(channel, news.symbol, contract)

    def on_trade(self, news: PublicTrade) -> None:
        """Send a trade."""
        contract = self._market.contracts[news.symbol]
        topic = f"trades:{news.symbol}"
        if topic in self._topics:
            arg = {"channel": "trades", "instId": news.symbol}
            self._topics.send(topic, _frame(arg, [rows.trade_row(contract, news)]))
        self._touch("tickers", news.symbol, contract)

    def on_mark(self, news: Mark) -> None:
        """Note what a new mark makes due."""
        contract = self._market.contracts[news.symbol]
        for channel in _OF_MARK:
            is_index = channel == "index-tickers"
            self._touch(channel, rows.index_of(contract) if is_index else news.symbol, contract)

    def pump(self) -> None:
        """Send what is due by the clock."""
        now = self._clock_ns()
        for topic, (channel, contract) in list(self._dirty.items()):
            if now >= self._next_ns.get(topic, 0):
                self._flush(topic, channel, contract, now)
        for symbol, merged in self._merged.items():
            if now - merged.sent_ns >= KEEP_ALIVE_NS and f"books:{symbol}" in self._topics:
                self._send_books(self._market.contracts[symbol], now)

    # --- within ----------------------------------------------------------------------------------

    def _contract(self, channel: str, name: str) -> Contract | None:
        if channel == "index-tickers":
            return self._market.contracts.get(f"{name}-SWAP")
        return self._market.contracts.get(name)

    def _touch(self, channel: str, name: str, contract: Contract) -> None:
        topic = f"{channel}:{name}"
        if topic not in self._topics:
            return
        now = self._clock_ns()
        if now >= self._next_ns.get(topic, 0):
            self._flush(topic, channel, contract, now)
        else:
            self._dirty[topic] = (channel, contract)

    def _flush(self, topic: str, channel: str, contract: Contract, now: int) -> None:
        self._dirty.pop(topic, None)
        if channel == "books":
            self._next_ns[topic] = now + _INTERVALS_NS[channel]
            self._send_books(contract, now)
            return
        if channel == "bbo-tbt" and not self._best_changed(contract):
            return
        self._next_ns[topic] = now + _INTERVALS_NS[channel]
        self._topics.send(topic, self._value(channel, contract))

    def _best_changed(self, contract: Contract) -> bool:
        book = self._exchange.book(contract.symbol, 1)
        best = (book.bids, book.asks)
        if self._best.get(contract.symbol) == best:
            return False
        self._best[contract.symbol] = best
        return True

    def _value(self, channel: str, contract: Contract) -> bytes:
        arg = {"channel": channel, "instId": contract.symbol}
        if channel == "bbo-tbt":
            return _frame(arg, [_bbo_row(contract, self._exchange.book(contract.symbol, 1))])
        if channel == "books5":
            book = self._exchange.book(contract.symbol, 5)
            row = _bbo_row(contract, book) | {"instId": contract.symbol}
            return _frame(arg, [row])
        if channel == "tickers":
            return _frame(arg, [self._market.ticker(contract)])
        mark = self._exchange.mark(contract.symbol)
        if channel == "mark-price":
            return _frame(arg, [rows.mark_row(mark)])
        if channel == "funding-rate":
            return _frame(arg, [rows.funding_row(contract, mark)])
        arg["instId"] = rows.index_of(contract)
        return _frame(arg, [rows.index_row(contract, mark)])

    # --- books -----------------------------------------------------------------------------------

    def _open_book(self, contract: Contract, client: Client) -> None:
        symbol = contract.symbol
        now = self._clock_ns()
        if f"books:{symbol}" in self._topics:
            # The others must stand where the newcomer's snapshot does.
            merged = self._merged[symbol]
            if merged.bids or merged.asks:
                self._send_books(contract, now)
        book = self._exchange.book(symbol, BOOK_LEVELS)
        self._merged[symbol] = _Merged(book.sequence, now)
        self._dirty.pop(f"books:{symbol}", None)
        if self._books_snapshot:
            client.send(
                _books_frame(contract, "snapshot", book.bids, book.asks, now, -1, book.sequence)
            )

    def _merge(self, news: BookChange) -> None:
        merged = self._merged[news.symbol]
        merged.latest = news.sequence
        for side, levels in ((merged.bids, news.bids), (merged.asks, news.asks)):
            for level in levels:
                side[level[0]] = level

    def _send_books(self, contract: Contract, now: int) -> None:
        symbol = contract.symbol
        merged = self._merged[symbol]
        previous, sequence = merged.sequence, merged.latest
        bids = [merged.bids[price] for price in sorted(merged.bids, reverse=True)]
        asks = [merged.asks[price] for price in sorted(merged.asks)]
        self._merged[symbol] = _Merged(sequence, now)
        if symbol in self._losing:
            self._losing.discard(symbol)
            return
        frame = _books_frame(contract, "update", bids, asks, now, previous, sequence)
        self._topics.send(f"books:{symbol}", frame)


def _frame(arg: Row, data: list[Row]) -> bytes:
    return encode({"arg": arg, "data": data})


def _bbo_row(contract: Contract, book: BookView) -> Row:
    return {
        "asks": rows.level_rows(contract, book.asks),
        "bids": rows.level_rows(contract, book.bids),
        "ts": rows.ms(book.ts_ns),
        "seqId": book.sequence,
    }


def _books_frame(
    contract: Contract,
    action: str,
    bids: Levels,
    asks: Levels,
    now_ns: int,
    previous: int,
    sequence: int,
) -> bytes:
    row = {
        "asks": rows.level_rows(contract, asks),
        "bids": rows.level_rows(contract, bids),
        "ts": rows.ms(now_ns),
        "checksum": 0,
        "prevSeqId": previous,
        "seqId": sequence,
    }
    arg = {"channel": "books", "instId": contract.symbol}
    return encode({"arg": arg, "action": action, "data": [row]})
