"""One-minute candles of what traded at this exchange, and longer ones made from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from perpbot.domain.sides import Side
from perpbot.simulation.model import PublicTrade
from perpbot.simulation.wire.binance.words import milliseconds, number

MINUTE_MS = 60_000
KEPT_MINUTES = 1_440
INTERVALS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1_440 * MINUTE_MS,
}


class Candle(msgspec.Struct, kw_only=True):
    """Prices and sums of one interval; times in milliseconds."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    taker_volume: Decimal
    """Of that, bought by takers."""
    taker_turnover: Decimal
    first_id: int
    last_id: int

    @property
    def trades(self) -> int:
        """How many trades."""
        return self.last_id - self.first_id + 1

    def row(self, length_ms: int) -> list[object]:
        """Return the candle as `GET /fapi/v1/klines` tells it."""
        return [
            self.open_ms,
            number(self.open),
            number(self.high),
            number(self.low),
            number(self.close),
            number(self.volume),
            self.open_ms + length_ms - 1,
            number(self.turnover),
            self.trades,
            number(self.taker_volume),
            number(self.taker_turnover),
            "0",
        ]


class Candles:
    """The candles of one symbol, for a day."""

    def __init__(self) -> None:
        self._minutes: deque[Candle] = deque(maxlen=KEPT_MINUTES)

    def add(self, trade: PublicTrade) -> None:
        """Take one trade; trades come in order."""
        now_ms = milliseconds(trade.ts_ns)
        minute_ms = now_ms - now_ms % MINUTE_MS
        turnover = trade.price * trade.quantity
        bought = trade.side is Side.BUY
        single = Candle(
            open_ms=minute_ms,
            open=trade.price,
            high=trade.price,
            low=trade.price,
            close=trade.price,
            volume=trade.quantity,
            turnover=turnover,
            taker_volume=trade.quantity if bought else Decimal(0),
            taker_turnover=turnover if bought else Decimal(0),
            first_id=trade.trade_id,
            last_id=trade.trade_id,
        )
        if self._minutes and self._minutes[-1].open_ms == minute_ms:
            _append(self._minutes[-1], single)
        else:
            self._minutes.append(single)

    def of_length(self, length_ms: int) -> list[Candle]:
        """Return candles of a length, oldest first; intervals without trades have none."""
        found: list[Candle] = []
        for minute in self._minutes:
            start_ms = minute.open_ms - minute.open_ms % length_ms
            if found and found[-1].open_ms == start_ms:
                _append(found[-1], minute)
            else:
                found.append(msgspec.structs.replace(minute, open_ms=start_ms))
        return found

    def day(self) -> Candle | None:
        """Everything kept as one candle; None when nothing traded."""
        return _joined(self._minutes)


def _joined(candles: Iterable[Candle]) -> Candle | None:
    whole: Candle | None = None
    for candle in candles:
        if whole is None:
            whole = msgspec.structs.replace(candle)
        else:
            _append(whole, candle)
    return whole


def _append(whole: Candle, later: Candle) -> None:
    whole.high = max(whole.high, later.high)
    whole.low = min(whole.low, later.low)
    whole.close = later.close
    whole.volume += later.volume
    whole.turnover += later.turnover
    whole.taker_volume += later.taker_volume
    whole.taker_turnover += later.taker_turnover
    whole.last_id = later.last_id
