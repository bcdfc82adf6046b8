"""Public market data of OKX by REST: rows for a query, straight from the exchange.

Twenty-four hour figures are of the trades that the exchange still remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.simulation.listing import Listing
from perpbot.simulation.model import Contract, ExchangeView, Mark, PublicTrade
from perpbot.simulation.wire.okx import rows
from perpbot.simulation.wire.okx.desk import Wrong
from perpbot.simulation.wire.okx.rows import Row
from perpbot.simulation.wire.server import text_of

Query = Mapping[str, str]
Candle = tuple[str, ...]
BOOK_LEVELS = 400
_BARS_S = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1H": 3_600,
    "2H": 7_200,
    "4H": 14_400,
    "1D": 86_400,
    "1Dutc": 86_400,
}


class Market:
    """Answers public queries."""

    def __init__(self, exchange: ExchangeView, clock_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._clock_ns = clock_ns
        self.contracts = Listing(exchange)
        self._settled: dict[str, list[Mark]] = {symbol: [] for symbol in self.contracts}
        self._last: dict[str, Mark] = {}

    def remember(self, mark: Mark) -> None:
        """Notice settlements: the funding time moved on, so the last rate was the one paid."""
        last = self._last.get(mark.symbol)
        if last is not None and mark.next_funding_ns > last.next_funding_ns > 0:
            self._settled[mark.symbol].insert(0, last)
        self._last[mark.symbol] = mark

    def contract(self, query: Query) -> Contract:
        """Return the contract that `instId` names. Raises `Wrong`."""
        name = query.get("instId", "")
        if not name:
            raise Wrong("51000", "Parameter instId can not be empty")
        contract = self.contracts.get(name)
        if contract is None:
            raise Wrong("51001", "Instrument ID or spread ID doesn't exist.")
        return contract

    def _named(self, query: Query) -> Sequence[Contract]:
        if query.get("instId", "ANY") == "ANY":
            return list(self.contracts.values())
        return [self.contract(query)]

    def time(self, query: Query) -> list[Row]:
        """`public/time`."""
        return [{"ts": rows.ms(self._clock_ns())}]

    def instruments(self, query: Query) -> list[Row]:
        """`public/instruments`; kinds other than SWAP are not listed here."""
        if not query.get("instType"):
            raise Wrong("51000", "Parameter instType can not be empty")
        if query["instType"] != "SWAP":
            return []
        return [rows.instrument_row(contract) for contract in self._named(query)]

    def mark_prices(self, query: Query) -> list[Row]:
        """`public/mark-price`."""
        return [rows.mark_row(self._exchange.mark(c.symbol)) for c in self._named(query)]

    def funding_rates(self, query: Query) -> list[Row]:
        """`public/funding-rate`."""
        return [rows.funding_row(c, self._exchange.mark(c.symbol)) for c in self._named(query)]

    def funding_history(self, query: Query) -> list[Row]:
        """`public/funding-rate-history`, newest first: settlements since this server started."""
        contract = self.contract(query)
        return [
            {
                "instType": "SWAP",
                "instId": contract.symbol,
                "fundingRate": text_of(mark.funding_rate),
                "realizedRate": text_of(mark.funding_rate),
                "fundingTime": rows.ms(mark.next_funding_ns),
                "method": "current_period",
                "formulaType": "withRate",
            }
            for mark in self._settled[contract.symbol]
        ]

    def books(self, query: Query) -> list[Row]:
        """`market/books`; its `seqId` is the sequence of the stream."""
        contract = self.contract(query)
        text = query.get("sz", "1")
        if not text.isdigit() or not 1 <= int(text) <= BOOK_LEVELS:
            raise Wrong("51000", "Parameter sz error")
        book = self._exchange.book(contract.symbol, int(text))
        return [
            {
                "asks": rows.level_rows(contract, book.asks),
                "bids": rows.level_rows(contract, book.bids),
                "ts": rows.ms(book.ts_ns),
                "seqId": book.sequence,
            }
        ]

    def tickers(self, query: Query) -> list[Row]:
        """`market/tickers` and `market/ticker`."""
        return [self.ticker(contract) for contract in self._named(query)]

    def ticker(self, contract: Contract) -> Row:
        """Return the ticker row of one contract."""
        trades = self._exchange.recent_trades(contract.symbol, 1_000)
        book = self._exchange.book(contract.symbol, 1)
        bid = rows.level_rows(contract, book.bids) or [["", ""]]
        ask = rows.level_rows(contract, book.asks) or [["", ""]]
        prices = [trade.price for trade in trades]
        volume = sum((trade.quantity for trade in trades), ZERO)
        first = text_of(prices[0]) if prices else ""
        return {
            "instType": "SWAP",
            "instId": contract.symbol,
            "last": text_of(prices[-1]) if prices else "",
            "lastSz": rows.contracts_of(contract, trades[-1].quantity) if trades else "",
            "askPx": ask[0][0],
            "askSz": ask[0][1],
            "bidPx": bid[0][0],
            "bidSz": bid[0][1],
            "open24h": first,
            "high24h": text_of(max(prices)) if prices else "",
            "low24h": text_of(min(prices)) if prices else "",
            "vol24h": rows.contracts_of(contract, volume),
            "volCcy24h": text_of(volume),
            "sodUtc0": first,
            "sodUtc8": first,
            "ts": rows.ms(book.ts_ns),
        }

    def index_tickers(self, query: Query) -> list[Row]:
        """`market/index-tickers`; `instId` is the underlying, such as BTC-USDT."""
        wanted = query.get("instId", "")
        if wanted in rows.STABLECOIN_INDICES:
            return [rows.stablecoin_row(wanted, self._exchange.book(self._any_symbol(), 1).ts_ns)]
        found = [
            rows.index_row(contract, self._exchange.mark(contract.symbol))
            for contract in self.contracts.values()
            if wanted in ("", rows.index_of(contract))
        ]
        if not found:
            raise Wrong("51001", "Instrument ID or spread ID doesn't exist.")
        return found

    def _any_symbol(self) -> str:
        return next(iter(self.contracts))

    def trades(self, query: Query) -> list[Row]:
        """`market/trades`, newest first."""
        contract = self.contract(query)
        limit = query.get("limit", "100")
        count = min(int(limit), 500) if limit.isdigit() else 100
        recent = self._exchange.recent_trades(contract.symbol, count)
        return [rows.trade_row(contract, trade) for trade in reversed(recent)]

    def candles(self, query: Query) -> list[Candle]:
        """`market/candles`, newest first, of the trades that are remembered."""
        contract = self.contract(query)
        bar = query.get("bar", "1m")
        if bar not in _BARS_S:
            raise Wrong("51000", "Parameter bar error")
        limit = query.get("limit", "100")
        count = min(int(limit), 300) if limit.isdigit() else 100
        bar_ns = _BARS_S[bar] * 1_000_000_000
        buckets: dict[int, list[PublicTrade]] = {}
        for trade in self._exchange.recent_trades(contract.symbol, 1_000):
            buckets.setdefault(trade.ts_ns // bar_ns * bar_ns, []).append(trade)
        now = self._clock_ns()
        return [
            _candle(contract, start, buckets[start], is_closed=start + bar_ns <= now)
            for start in sorted(buckets, reverse=True)[:count]
        ]


def _candle(
    contract: Contract, start_ns: int, trades: Sequence[PublicTrade], *, is_closed: bool
) -> Candle:
    prices = [trade.price for trade in trades]
    volume = sum((trade.quantity for trade in trades), ZERO)
    quote: Decimal = sum((trade.quantity * trade.price for trade in trades), ZERO)
    return (
        rows.ms(start_ns),
        text_of(prices[0]),
        text_of(max(prices)),
        text_of(min(prices)),
        text_of(prices[-1]),
        rows.contracts_of(contract, volume),
        text_of(volume),
        text_of(quote),
        "1" if is_closed else "0",
    )
