"""A scripted Binance on loopback, instruments and orders of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.venues.binance.signing import BinanceCredentials
from tests.venues.orders import limit_buy

CLIENT_ID = "0123456789abcdef0123456789abcdef"
CREDENTIALS = BinanceCredentials("key-1", "secret-1")


class Request:
    """What a REST request said."""

    def __init__(self, method: str, path: str, query: str, key: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.key = key
        self.params = dict(parse_qsl(query))


Answer = Callable[[Request], Any] | Any


class StubBinance:
    """REST answers by (method, path), and sockets by route that send what a test puts in."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Answer] = {}
        self.requests: list[Request] = []
        self.headers: dict[str, str] = {}
        self.subscribed: dict[str, list[dict[str, Any]]] = {}
        self.frames: dict[str, asyncio.Queue[str | None]] = {}
        self.opened: list[str] = []
        self.port = 0
        self.api_answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        """Of the websocket API, by method: parameters to a reply, a text as it is, or None."""
        self.api_requests: list[dict[str, Any]] = []
        self.api_sockets: list[web.WebSocketResponse] = []

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def queue(self, route: str) -> asyncio.Queue[str | None]:
        """Frames for the next or present socket of a route; None closes it."""
        return self.frames.setdefault(route, asyncio.Queue())

    def sent(self, method: str, path: str) -> list[Request]:
        return [one for one in self.requests if (one.method, one.path) == (method, path)]

    async def rest(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        query = "&".join(part for part in (request.rel_url.raw_query_string, body) if part)
        seen = Request(
            request.method, request.path, query, request.headers.get("X-MBX-APIKEY", "")
        )
        self.requests.append(seen)
        answer = self.answers.get((request.method, request.path))
        if callable(answer):
            answer = answer(seen)
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return web.json_response({"code": -1121, "msg": "not scripted"}, status=400)
        return web.json_response(answer, headers=self.headers)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        route = request.match_info["route"]
        self.opened.append(str(request.rel_url))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        queue = self.queue(route)

        async def write() -> None:
            while (text := await queue.get()) is not None:
                await socket.send_str(text)
            await socket.close()

        writer = asyncio.create_task(write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    self.subscribed.setdefault(route, []).append(asked)
                    await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    async def api(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.api_sockets.append(socket)
        async for message in socket:
            asked = json.loads(message.data)
            self.api_requests.append(asked)
            reply = self.api_answers[asked["method"]](asked["params"])
            if isinstance(reply, str):
                await socket.send_str(reply)
            elif reply is not None:
                await socket.send_str(json.dumps({"id": asked["id"], "status": 200} | reply))
        return socket


def refusal(code: int, message: str = "no", status: int = 400, **headers: str) -> web.Response:
    """An error answer."""
    return web.json_response({"code": code, "msg": message}, status=status, headers=headers)


def make_instrument(symbol: str, bundle: int = 1, **changes: Any) -> Instrument:
    """An instrument with plain rules."""
    base = symbol.removesuffix("USDT").removeprefix("1000" if bundle > 1 else "")
    fields: dict[str, Any] = {
        "venue": "binance",
        "asset": f"{base}-PERP",
        "symbol": symbol,
        "base": base,
        "settle": "USDT",
        "tick_size": Decimal("0.1") / bundle,
        "quantity_step": Decimal("0.001") * bundle,
        "min_quantity": Decimal("0.001") * bundle,
        "contract_size": Decimal(bundle),
        "price_multiplier": Decimal(bundle),
    }
    return Instrument(**(fields | changes))


def make_order(**changes: Any) -> OrderRequest:
    """A limit buy of 0.01 BTC at 65000.1."""
    fields: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "venue": "binance",
        "symbol": "BTCUSDT",
        "quantity": Decimal("0.010"),
        "price": Decimal("65000.10"),
    }
    return limit_buy(**(fields | changes))


def order_row(**changes: Any) -> dict[str, Any]:
    """An order as REST answers it."""
    return {
        "orderId": 771,
        "symbol": "BTCUSDT",
        "status": "NEW",
        "clientOrderId": "pb" + CLIENT_ID,
        "price": "65000.10",
        "avgPrice": "0.00",
        "origQty": "0.010",
        "executedQty": "0.000",
        "side": "BUY",
        "positionSide": "BOTH",
        "reduceOnly": False,
        "updateTime": 1795225397704,
    } | changes
