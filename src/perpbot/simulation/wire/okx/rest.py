"""OKX's REST interface: which path answers what, the checks of signed requests, the envelope.

Refusals are HTTP 200 with a code, except bad keys (401), throttling (429) and unreadable JSON
(400). Order endpoints wrap per-item results: code 0 all well, 1 all failed, 2 partly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from perpbot.simulation.wire.okx.auth import Denied, OkxKey, check_rest
from perpbot.simulation.wire.okx.desk import MAX_BATCH, Desk, Wrong, envelope_code
from perpbot.simulation.wire.okx.ledger import Ledger
from perpbot.simulation.wire.okx.market import Market, Query
from perpbot.simulation.wire.okx.rows import Row
from perpbot.simulation.wire.server import reply

PREFIX = "/api/v5/"
Reader = Callable[[Query], Sequence[Any]]
Writer = Callable[[Any, int], web.Response]


class Fault(msgspec.Struct, frozen=True):
    """An answer to give instead of the true one."""

    code: str
    text: str
    acted: bool
    """Whether the request takes effect all the same (50004: outcome unknown)."""


class Rest:
    """Answers HTTP requests."""

    def __init__(
        self,
        keys: Mapping[str, OkxKey],
        clock_ns: Callable[[], int],
        market: Market,
        ledger: Ledger,
        desk: Desk,
    ) -> None:
        self._keys = keys
        self._clock_ns = clock_ns
        self.faults: deque[Fault] = deque()
        """Consumed one a private request."""
        self._public = _public(market)
        self._reads = _reads(ledger)
        self._writes = self._writers(ledger, desk)

    def _writers(self, ledger: Ledger, desk: Desk) -> dict[str, Writer]:
        return {
            "account/set-leverage": _whole(ledger.set_leverage),
            "account/set-position-mode": _whole(ledger.set_position_mode),
            "trade/cancel-all-after": _whole(ledger.cancel_all_after),
            "trade/close-position": _whole(lambda row: [desk.close_position(row)]),
            "trade/order": self._one(desk.place),
            "trade/cancel-order": self._one(desk.cancel),
            "trade/amend-order": self._one(desk.amend),
            "trade/batch-orders": self._many(desk.place),
            "trade/cancel-batch-orders": self._many(desk.cancel),
            "trade/amend-batch-orders": self._many(desk.amend),
            "trade/order-algo": lambda row, _: self._results(
                [desk.place_algo(_row(row))], algo=True
            ),
            "trade/cancel-algos": lambda rows, _: self._results(
                [desk.cancel_algo(row) for row in _rows(rows)]
            ),
        }

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.read()
        name = request.path.removeprefix(PREFIX)
        try:
            if request.method == "GET" and name in self._public:
                return _answered(self._public[name](request.query))
            return self._private(request, name, body)
        except Denied as denied:
            return _failed(denied.code, denied.text, denied.status)
        except Wrong as wrong:
            return _failed(wrong.code, wrong.text)

    def _private(self, request: web.Request, name: str, body: bytes) -> web.Response:
        is_read = request.method == "GET" and name in self._reads
        if not is_read and not (request.method == "POST" and name in self._writes):
            return _failed("404", "Not Found", 404)
        check_rest(
            self._keys,
            request.headers,
            request.method,
            request.raw_path,
            body.decode("utf-8", "replace"),
            self._clock_ns(),
        )
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and not fault.acted:
            return _failed(fault.code, fault.text, 429 if fault.code == "50011" else 200)
        if is_read:
            done = _answered(self._reads[name](request.query))
        else:
            try:
                value = msgspec.json.decode(body)
            except msgspec.DecodeError:
                return _failed("50002", "JSON syntax error", 400)
            done = self._writes[name](value, _expiry_ns(request.headers.get("expTime", "")))
        return done if fault is None else _failed(fault.code, fault.text)

    def _one(self, act: Callable[..., Row]) -> Writer:
        return lambda row, expires_ns: self._results(
            [act(_row(row), by_code=False, expires_ns=expires_ns)]
        )

    def _many(self, act: Callable[..., Row]) -> Writer:
        return lambda rows, expires_ns: self._results(
            [act(row, by_code=False, expires_ns=expires_ns) for row in _rows(rows)]
        )

    def _results(self, results: list[Row], *, algo: bool = False) -> web.Response:
        # A refused algo order still comes in an envelope that says 0.
        code, text = ("0", "") if algo else envelope_code(results)
        now_us = str(self._clock_ns() // 1_000)
        return reply(
            {"code": code, "msg": text, "data": results, "inTime": now_us, "outTime": now_us}
        )


def _public(market: Market) -> dict[str, Reader]:
    return {
        "public/time": market.time,
        "public/instruments": market.instruments,
        "public/mark-price": market.mark_prices,
        "public/funding-rate": market.funding_rates,
        "public/funding-rate-history": market.funding_history,
        "market/books": market.books,
        "market/tickers": market.tickers,
        "market/ticker": lambda query: [market.ticker(market.contract(query))],
        "market/index-tickers": market.index_tickers,
        "market/trades": market.trades,
        "market/history-trades": market.trades,
        "market/candles": market.candles,
        "market/history-candles": market.candles,
        "system/status": lambda _: [],
    }


def _reads(ledger: Ledger) -> dict[str, Reader]:
    return {
        "account/balance": ledger.balance,
        "account/positions": ledger.positions,
        "account/config": ledger.config,
        "account/leverage-info": ledger.leverage_info,
        "account/trade-fee": ledger.trade_fee,
        "account/bills": ledger.bills,
        "account/bills-archive": ledger.bills,
        "trade/order": ledger.order,
        "trade/orders-pending": ledger.pending,
        "trade/orders-history": ledger.history,
        "trade/orders-history-archive": ledger.history,
        "trade/fills": ledger.fills,
        "trade/fills-history": ledger.fills,
        "trade/order-algo": ledger.algo,
        "trade/orders-algo-pending": ledger.algo_pending,
        "trade/orders-algo-history": ledger.algo_history,
    }


def _whole(act: Callable[[Row], list[Row]]) -> Writer:
    return lambda row, _: _answered(act(_row(row)))


def _row(value: Any) -> Row:
    if not isinstance(value, dict):
        raise Wrong("50002", "JSON syntax error: an object was expected")
    return value


def _rows(value: Any) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Wrong("50002", "JSON syntax error: an array of objects was expected")
    if not 1 <= len(value) <= MAX_BATCH:
        raise Wrong("51000", f"Parameter error: 1 to {MAX_BATCH} items were expected")
    return value


def _expiry_ns(text: str) -> int:
    if text and not text.isdigit():
        raise Wrong("51000", "Parameter expTime error")
    return int(text or 0) * 1_000_000


def _answered(data: Sequence[Any]) -> web.Response:
    return reply({"code": "0", "msg": "", "data": data})


def _failed(code: str, text: str, status: int = 200) -> web.Response:
    return reply({"code": code, "msg": text, "data": []}, status=status)
