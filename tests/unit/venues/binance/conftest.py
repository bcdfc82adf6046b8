"""A scripted Binance on loopback, a sink that writes down, and orders to send."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import WSMsgType, web

from perpbot.domain.events import Event
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.kernel.clock import RealClock
from perpbot.venues.binance.signing import BinanceCredentials
from perpbot.venues.binance.venue import BinanceVenue, create
from perpbot.venues.options import VenueConnection

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


class Slot:
    """Quotes of one instrument as they came."""

    def __init__(self) -> None:
        self.quotes: list[tuple[float, float, float, float, int, int]] = []
        self.invalid: list[str] = []
        self.heard_ns = 0

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        self.quotes.append((bid, bid_size, ask, ask_size, venue_ns, recv_ns))
        self.heard_ns = recv_ns

    def invalidate(self, reason: str) -> None:
        self.invalid.append(reason)


class Sink:
    """What a feed wrote."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}
        self.events: list[Event] = []
        self.refused: Counter[str] = Counter()

    def slot(self, instrument: Instrument) -> Slot:
        return self.slots.setdefault(instrument.symbol, Slot())

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def refuse(self, venue: str, reason: str) -> None:
        assert venue == "binance"
        self.refused[reason] += 1

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


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
        "account": "main",
        "asset": "BTC-PERP",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "quantity": Decimal("0.010"),
        "price": Decimal("65000.10"),
        "reference_price": Decimal(65000),
        "purpose": Purpose.OPEN,
        "position_side": PositionSide.NET,
    }
    return OrderRequest(**(fields | changes))


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


@pytest.fixture
async def stub() -> AsyncIterator[StubBinance]:
    """A running stub."""
    binance = StubBinance()
    app = web.Application()
    app.router.add_get("/ws-fapi/v1", binance.api)
    app.router.add_get("/{route}/ws", binance.socket)
    app.router.add_route("*", "/fapi/{rest:.*}", binance.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    binance.port = runner.addresses[0][1]
    binance.answers["GET", "/fapi/v1/time"] = {"serverTime": RealClock().now_ns() // 1_000_000}
    yield binance
    await runner.cleanup()


@pytest.fixture
async def venue(stub: StubBinance) -> AsyncIterator[BinanceVenue]:
    """The adapter with credentials, pointed at the stub."""
    settings = VenueConnection(rest_url=stub.rest_url, ws_url=stub.ws_url, request_timeout_s=0.5)
    made = create(
        settings=settings,
        credentials=CREDENTIALS,
        clock=RealClock(),
        rng=random.Random(3),
        books=True,
    )
    yield made
    await made.close()


@pytest.fixture
async def public_venue(stub: StubBinance) -> AsyncIterator[BinanceVenue]:
    """The adapter without credentials."""
    settings = VenueConnection(rest_url=stub.rest_url, ws_url=stub.ws_url)
    made = create(settings=settings, credentials=None, clock=RealClock(), rng=random.Random(3))
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` is true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - conditions are not only callbacks
            await asyncio.sleep(0.001)
