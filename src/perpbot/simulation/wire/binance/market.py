"""Public requests: contracts, book, trades, marks, funding, candles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import Side
from perpbot.simulation.model import ExchangeNews, Mark, PublicTrade
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.candles import INTERVALS_MS, Candle, Candles
from perpbot.simulation.wire.binance.context import (
    Context,
    Endpoint,
    Table,
    ratio_text,
    since,
)
from perpbot.simulation.wire.binance.contracts import RATE_LIMITS, exchange_info_row
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.requests import Params

_DEPTHS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
"""Weight by `limit` of the book."""
_DEFAULT_INTERVAL_S = 28_800
_INTEREST_RATE = Decimal("0.0001")
_KEPT_RATES = 1_000
_RowOf = Callable[[str], dict[str, object]]


class MarketDesk:
    """Public endpoints; keeps candles and past funding rates from the exchange's news."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exchange = context.exchange
        self._candles = {symbol: Candles() for symbol in context.contracts}
        self._marks: dict[str, Mark] = {}
        self._rates: deque[dict[str, object]] = deque(maxlen=_KEPT_RATES)

    def endpoints(self) -> Table:
        """What is served where, with weights; nothing here is signed."""
        found = {
            "/fapi/v1/ping": (self.ping, 1),
            "/fapi/v1/time": (self.time, 1),
            "/fapi/v1/exchangeInfo": (self.exchange_info, 1),
            "/fapi/v1/trades": (self.trades, 5),
            "/fapi/v1/aggTrades": (self.agg_trades, 20),
            "/fapi/v1/klines": (self.klines, 5),
            "/fapi/v1/premiumIndex": (self.premium_index, 1),
            "/fapi/v1/fundingRate": (self.funding_rates, 1),
            "/fapi/v1/fundingInfo": (self.funding_info, 1),
            "/fapi/v1/ticker/24hr": (self.day, 1),
            "/fapi/v1/ticker/price": (self.price, 1),
            "/fapi/v2/ticker/price": (self.price, 1),
            "/fapi/v1/ticker/bookTicker": (self.book_ticker, 2),
        }
        table: Table = {
            ("GET", path): Endpoint(handler=handler, weight=weight, signed=False)
            for path, (handler, weight) in found.items()
        }
        table["GET", "/fapi/v1/depth"] = Endpoint(
            handler=self.depth, weight=lambda params: _DEPTHS[_depth(params)], signed=False
        )
        return table

    def on_news(self, news: ExchangeNews) -> None:
        """Keep what history endpoints tell."""
        if isinstance(news, PublicTrade):
            self._candles[news.symbol].add(news)
        elif isinstance(news, Mark):
            before = self._marks.get(news.symbol)
            self._marks[news.symbol] = news
            if before is not None and before.next_funding_ns < news.next_funding_ns:
                self._rates.append(
                    {
                        "symbol": news.symbol,
                        "fundingRate": ratio_text(before.funding_rate),
                        "fundingTime": words.milliseconds(before.next_funding_ns),
                        "markPrice": words.number(before.mark_price),
                    }
                )

    def candles(self, symbol: str, interval: str) -> list[Candle]:
        """Candles of a symbol, oldest first. Raises `Refused` for an unknown interval."""
        length_ms = INTERVALS_MS.get(interval)
        if length_ms is None:
            raise Refused(-1120, "Invalid interval.")
        return self._candles[symbol].of_length(length_ms)

    # --- endpoints -------------------------------------------------------------------------------

    def ping(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/ping`."""
        return {}

    def time(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/time`."""
        return {"serverTime": self._context.now_ms()}

    def exchange_info(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/exchangeInfo`."""
        return {
            "timezone": "UTC",
            "serverTime": self._context.now_ms(),
            "futuresType": "U_MARGINED",
            "rateLimits": list(RATE_LIMITS),
            "exchangeFilters": [],
            "assets": [
                {"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"}
                for asset in sorted({row.settle for row in self._context.contracts.values()})
            ],
            "symbols": [exchange_info_row(row) for row in self._context.contracts.values()],
        }

    def depth(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/depth`: `lastUpdateId` is the `u` of the last change in it."""
        view = self._exchange.book(self._context.contract(params).symbol, _depth(params))
        return {
            "lastUpdateId": view.sequence,
            "E": self._context.now_ms(),
            "T": words.milliseconds(view.ts_ns),
            "bids": [[words.number(level[0]), words.number(level[1])] for level in view.bids],
            "asks": [[words.number(level[0]), words.number(level[1])] for level in view.asks],
        }

    def trades(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/trades`, oldest first."""
        _, _, limit = since(params, default_limit=500, max_limit=1000)
        symbol = self._context.contract(params).symbol
        return [
            {
                "id": trade.trade_id,
                "price": words.number(trade.price),
                "qty": words.number(trade.quantity),
                "quoteQty": words.number(trade.price * trade.quantity),
                "time": words.milliseconds(trade.ts_ns),
                "isBuyerMaker": trade.side is Side.SELL,
            }
            for trade in self._exchange.recent_trades(symbol, limit)
        ]

    def agg_trades(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/aggTrades`, oldest first; each trade stands for itself."""
        start_ms, end_ms, limit = since(params, default_limit=500, max_limit=1000)
        symbol = self._context.contract(params).symbol
        found = [
            {
                "a": trade.trade_id,
                "p": words.number(trade.price),
                "q": words.number(trade.quantity),
                "f": trade.trade_id,
                "l": trade.trade_id,
                "T": words.milliseconds(trade.ts_ns),
                "m": trade.side is Side.SELL,
            }
            for trade in self._exchange.recent_trades(symbol, 1000)
            if start_ms <= words.milliseconds(trade.ts_ns) <= end_ms
        ]
        return found[-limit:]

    def klines(self, params: Params) -> list[list[object]]:
        """`GET /fapi/v1/klines`, oldest first."""
        symbol = self._context.contract(params).symbol
        start_ms, end_ms, limit = since(params, default_limit=500, max_limit=1500)
        interval = params.text("interval")
        found = [
            candle
            for candle in self.candles(symbol, interval)
            if start_ms <= candle.open_ms <= end_ms
        ]
        kept = found[:limit] if start_ms else found[-limit:]
        return [candle.row(INTERVALS_MS[interval]) for candle in kept]

    def premium_index(self, params: Params) -> object:
        """`GET /fapi/v1/premiumIndex`, of a symbol or of all."""
        return self._one_or_all(params, self._premium)

    def funding_rates(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/fundingRate`: rates that were paid, oldest first."""
        start_ms, end_ms, limit = since(params, default_limit=100, max_limit=1000)
        symbol = self._context.symbol_if_any(params)
        found = [
            row
            for row in self._rates
            if symbol in {None, row["symbol"]}
            and start_ms <= int(str(row["fundingTime"])) <= end_ms
        ]
        return found[:limit] if start_ms else found[-limit:]

    def funding_info(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/fundingInfo`: only symbols that do not pay every eight hours."""
        return [
            {
                "symbol": contract.symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": contract.funding_interval_s // 3600,
                "disclaimer": False,
            }
            for contract in self._context.contracts.values()
            if contract.funding_interval_s != _DEFAULT_INTERVAL_S
        ]

    def day(self, params: Params) -> object:
        """`GET /fapi/v1/ticker/24hr`, of a symbol or of all."""
        return self._one_or_all(params, self.day_row)

    def price(self, params: Params) -> object:
        """`GET /fapi/v1|v2/ticker/price`: the last trade, or the mark before the first one."""
        return self._one_or_all(params, self._price)

    def book_ticker(self, params: Params) -> object:
        """`GET /fapi/v1/ticker/bookTicker`, of a symbol or of all."""
        return self._one_or_all(params, self._book_ticker)

    # --- within ----------------------------------------------------------------------------------

    def _one_or_all(self, params: Params, make: _RowOf) -> object:
        symbol = self._context.symbol_if_any(params)
        if symbol is not None:
            return make(symbol)
        return [make(name) for name in self._context.contracts]

    def _premium(self, symbol: str) -> dict[str, object]:
        mark = self._exchange.mark(symbol)
        return {
            "symbol": symbol,
            "markPrice": words.number(mark.mark_price),
            "indexPrice": words.number(mark.index_price),
            "estimatedSettlePrice": words.number(mark.index_price),
            "lastFundingRate": ratio_text(mark.funding_rate),
            "interestRate": ratio_text(_INTEREST_RATE),
            "nextFundingTime": words.milliseconds(mark.next_funding_ns),
            "time": words.milliseconds(mark.ts_ns),
        }

    def _last(self, symbol: str) -> Decimal:
        trades = self._exchange.recent_trades(symbol, 1)
        return trades[-1].price if trades else self._exchange.mark(symbol).mark_price

    def _price(self, symbol: str) -> dict[str, object]:
        return {
            "symbol": symbol,
            "price": words.number(self._last(symbol)),
            "time": self._context.now_ms(),
        }

    def _book_ticker(self, symbol: str) -> dict[str, object]:
        view = self._exchange.book(symbol, 1)
        bid, ask = (side[0] if side else (ZERO, ZERO, 0) for side in (view.bids, view.asks))
        return {
            "symbol": symbol,
            "bidPrice": words.number(bid[0]),
            "bidQty": words.number(bid[1]),
            "askPrice": words.number(ask[0]),
            "askQty": words.number(ask[1]),
            "time": words.milliseconds(view.ts_ns),
            "lastUpdateId": view.sequence,
        }

    def day_row(self, symbol: str) -> dict[str, object]:
        """The last 24 hours of a symbol."""
        candle = self._candles[symbol].day()
        last = self._last(symbol)
        start = candle.open if candle is not None else last
        volume = candle.volume if candle is not None else ZERO
        turnover = candle.turnover if candle is not None else ZERO
        now_ms = self._context.now_ms()
        return {
            "symbol": symbol,
            "priceChange": words.number(last - start),
            "priceChangePercent": f"{(last / start - 1) * 100:.3f}" if start else "0",
            "weightedAvgPrice": words.number(round(turnover / volume, 8) if volume else last),
            "lastPrice": words.number(last),
            "lastQty": "0",
            "openPrice": words.number(start),
            "highPrice": words.number(candle.high if candle is not None else last),
            "lowPrice": words.number(candle.low if candle is not None else last),
            "volume": words.number(volume),
            "quoteVolume": words.number(turnover),
            "openTime": candle.open_ms if candle is not None else now_ms,
            "closeTime": now_ms,
            "firstId": candle.first_id if candle is not None else 0,
            "lastId": candle.last_id if candle is not None else 0,
            "count": candle.trades if candle is not None else 0,
        }


def _depth(params: Params) -> int:
    depth = params.integer("limit", 500)
    if depth not in _DEPTHS:
        raise Refused(-4021, f"{depth} is not a valid depth.")
    return depth
