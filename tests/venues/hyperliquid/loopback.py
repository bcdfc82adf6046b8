"""A scripted Hyperliquid on loopback, and what its tests share. It checks no signatures."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Purpose, TimeInForce
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.kernel.ids import IdMaker
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.venue import Hyperliquid, create
from perpbot.venues.options import VenueConnection
from tests.venues.orders import limit_buy
from tests.venues.waiting import PATIENCE_S

KEY = "0x" + "0123456789" * 6 + "0123"
SIGNER = "0x14791697260e4c9a71f18484c9f997b308e59325"
MASTER = "0x" + "ab" * 20

META: dict[str, Any] = {
    "universe": [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25, "isDelisted": None},
        {"name": "GONE", "szDecimals": 1, "maxLeverage": 3, "isDelisted": True},
        {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10, "onlyIsolated": True},
    ]
}
IDS = IdMaker(epoch=7)


def client_id() -> str:
    """Return a fresh canonical id."""
    return IDS.order_id(account="main", strategy="test", purpose=Purpose.OPEN, leg=0, attempt=0)


def order_request(**changes: Any) -> OrderRequest:
    """Return an order for 0.01 BTC at 65000, with changes."""
    fields: dict[str, Any] = {
        "client_id": client_id(),
        "venue": "hyperliquid",
        "symbol": "BTC",
        "time_in_force": TimeInForce.IOC,
    }
    return limit_buy(**(fields | changes))


class JumpingClock(RealClock):
    """The real clock, moved ahead by hand."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return RealClock.now_ns() + self.ahead_ns

    def monotonic_ns(self) -> int:
        return RealClock.monotonic_ns() + self.ahead_ns

    def jump(self, seconds: float) -> None:
        self.ahead_ns += int(seconds * SECOND)


DROP = "drop"
"""As the answer to a question: the connection is closed instead."""

Answer = Callable[[dict[str, Any]], Any]


def resting(_request: dict[str, Any]) -> Any:
    """Acknowledge every order."""
    return ok("order", {"statuses": [{"resting": {"oid": 77}}]})


def ok(kind: str, data: Any = None) -> dict[str, Any]:
    """Return an answer of the exchange that says ok."""
    return {"status": "ok", "response": {"type": kind} | ({"data": data} if data else {})}


def refused(sentence: str) -> Answer:
    """Refuse the one item of an action."""
    return lambda _request: ok("order", {"statuses": [{"error": sentence}]})


class Loopback:
    """Answers by script; remembers what it was told.

    `exchange` answers actions: a value for JSON, None for silence, an int for that HTTP status
    (a post error by websocket), a str for a body that is sent as it is.
    """

    def __init__(self) -> None:
        self.info: dict[str, Any] = {"meta": META}
        self.questions: list[dict[str, Any]] = []
        self.exchange: Answer = resting
        self.requests: list[dict[str, Any]] = []
        self.by: list[str] = []
        self.frames: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.confirm = True
        self.greeting = ""
        self.rest_url = ""
        self.ws_url = ""

    def subscribed(self, method: str = "subscribe") -> Counter[tuple[str, str]]:
        """Return how often each channel and coin (or user) was asked for."""
        asked = (one["subscription"] for one in self.frames if one["method"] == method)
        return Counter((one["type"], one.get("coin", one.get("user", ""))) for one in asked)

    async def send(self, frame: Any) -> None:
        """Send a frame on every open socket."""
        text = frame if isinstance(frame, str) else json.dumps(frame)
        for socket in self.sockets:
            await socket.send_str(text)

    async def drop(self) -> None:
        """Close every socket from this side."""
        for socket in list(self.sockets):
            await socket.close()

    async def on_info(self, request: web.Request) -> web.Response:
        question = json.loads(await request.read())
        self.questions.append(question)
        answer = self.info.get(question["type"], 500)
        answer = answer(question) if callable(answer) else answer
        if answer is DROP:
            assert request.transport is not None
            request.transport.close()
        return _response(answer)

    async def on_exchange(self, request: web.Request) -> web.Response:
        action = json.loads(await request.read())
        self.requests.append(action)
        self.by.append("rest")
        answer = self.exchange(action)
        if answer is None:
            assert request.transport is not None
            request.transport.close()
        return _response(answer)

    async def on_ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        if self.greeting:
            await socket.send_str(self.greeting)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(socket, json.loads(message.data))
        finally:
            self.sockets.remove(socket)
        return socket

    async def _heard(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        if frame["method"] == "ping":
            await socket.send_str('{"channel":"pong"}')
        elif frame["method"] == "post":
            await self._posted(socket, frame)
        else:
            self.frames.append(frame)
            if self.confirm:
                await socket.send_json({"channel": "subscriptionResponse", "data": frame})

    async def _posted(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        action = frame["request"]["payload"]
        self.requests.append(action)
        self.by.append("ws")
        answer = self.exchange(action)
        if answer is None:
            return
        kind, payload = "action", answer
        if isinstance(answer, int):
            kind, payload = "error", f"{answer} told by the script"
        data = {"id": frame["id"], "response": {"type": kind, "payload": payload}}
        await socket.send_json({"channel": "post", "data": data})


def _response(answer: Any) -> web.Response:
    if isinstance(answer, int):
        return web.Response(status=answer, text="told by the script")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return web.Response(text=text, content_type="application/json")


@asynccontextmanager
async def serving() -> AsyncIterator[Loopback]:
    """Serve a loopback exchange."""
    loopback = Loopback()
    app = web.Application()
    app.router.add_post("/info", loopback.on_info)
    app.router.add_post("/exchange", loopback.on_exchange)
    app.router.add_get("/ws", loopback.on_ws)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    loopback.rest_url = f"http://{host}:{port}"
    loopback.ws_url = f"ws://{host}:{port}"
    try:
        yield loopback
    finally:
        await loopback.drop()
        await runner.cleanup()


@asynccontextmanager
async def adapter(
    loopback: Loopback,
    *,
    keys: bool = True,
    clock: RealClock | None = None,
    testnet: bool = False,
    **options: Any,
) -> AsyncIterator[Hyperliquid]:
    """Yield the real adapter pointed at `loopback`, its universe read."""
    venue = create(
        settings=VenueConnection(
            rest_url=loopback.rest_url,
            ws_url=loopback.ws_url,
            request_timeout_s=PATIENCE_S,
            testnet=testnet,
        ),
        credentials=(
            HyperliquidCredentials(private_key=KEY, account_address=MASTER) if keys else None
        ),
        clock=clock or RealClock(),
        rng=random.Random(1),
        **options,
    )
    try:
        await venue.market_data.instruments()
        yield venue
    finally:
        await venue.close()


def at_once(venue: Hyperliquid) -> None:
    """Reconnect without delay."""

    class NoDelay(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return 0.0

    delays = NoDelay()
    venue.market_data._rng = delays
    if venue.account._socket is not None:
        venue.account._socket._channel._backoff._rng = delays


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine beside the test and cancel it at the end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome
