"""A Binance server over real loopback, with a clock by hand and a client that signs by itself."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp

from perpbot.domain.sides import Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.binance.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.binance.server import BinanceServer
from perpbot.simulation.wire.server import Serving, serving
from tests.unit.simulation.wire.client import ClientSocket

START_MS = 1_700_000_040_000
SYMBOL = "BTCUSDT"
D = Decimal


class Socket(ClientSocket):
    """One websocket of the client under test."""

    async def subscribe(self, *names: str) -> None:
        """Subscribe; the acknowledgement must be the next message."""
        reply = await self.ask({"method": "SUBSCRIBE", "params": names, "id": 1})
        assert reply == {"result": None, "id": 1}

    async def is_silent(self) -> None:
        """Fail unless the answer to a request is the next message."""
        reply = await self.ask({"method": "LIST_SUBSCRIPTIONS", "id": 99})
        assert reply.get("id") == 99, reply


class World:
    """An exchange, its server, and a signing client."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.exchange = Exchange(PROFILE, CONTRACTS, self.clock_ns, Accountant())
        self.exchange.open_account("client", {"USDT": D(100_000)})
        self.server = BinanceServer(self.exchange, self.clock_ns, random.Random(1))
        self.keys = self.server.credentials()
        self.mark("100000")
        self.quote()
        self.headers: dict[str, str] = {}
        self.web: aiohttp.ClientSession
        self.serving: Serving

    def clock_ns(self) -> int:
        """The time, set by hand."""
        return self.now_ms * 1_000_000

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Serve."""
        async with serving(self.server) as self.serving, aiohttp.ClientSession() as self.web:
            yield self

    # --- the market ------------------------------------------------------------------------------

    def quote(self, bid: str = "99999", ask: str = "100001", size: str = "5") -> None:
        """Quote one level a side, and one far behind."""
        self.exchange.quote(
            SYMBOL,
            [(D(bid), D(size)), (D(bid) - 10, D(50))],
            [(D(ask), D(size)), (D(ask) + 10, D(50))],
        )

    def mark(self, price: str, *, rate: str = "0.0001", next_ms: int = START_MS + 1_000) -> None:
        """Tell the mark of BTC."""
        self.exchange.set_mark(SYMBOL, D(price), D(price), D(rate), next_ms * 1_000_000)

    def outsider(self, side: Side, quantity: str) -> None:
        """Somebody takes."""
        self.exchange.take(SYMBOL, side, D(quantity), None)

    # --- requests --------------------------------------------------------------------------------

    async def raw(
        self, method: str, path: str, *, query: str = "", body: str = "", key: str | None = None
    ) -> tuple[int, Any]:
        """Send exactly this; remember the reply's headers."""
        headers = {"X-MBX-APIKEY": self.keys["api_key"] if key is None else key}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        target = f"{self.serving.rest_url}{path}" + (f"?{query}" if query else "")
        from yarl import URL  # noqa: PLC0415 - only here is a URL sent as it is spelled

        async with self.web.request(
            method, URL(target, encoded=True), data=body or None, headers=headers
        ) as answer:
            self.headers = dict(answer.headers)
            return answer.status, await answer.json()

    def sign(self, payload: str, secret: str = "") -> str:
        """HMAC-SHA256, hexadecimal."""
        key = (secret or self.keys["api_secret"]).encode()
        return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()

    async def signed(self, method: str, path: str, **params: object) -> tuple[int, Any]:
        """Send signed parameters in the query."""
        params = {"timestamp": self.now_ms, **params}
        query = urlencode(params)
        return await self.raw(method, path, query=f"{query}&signature={self.sign(query)}")

    async def ok(self, method: str, path: str, **params: object) -> Any:
        """Send and expect success."""
        status, value = await self.signed(method, path, **params)
        assert status == 200, value
        return value

    async def code(self, method: str, path: str, **params: object) -> int:
        """Send and expect a refusal; return its code."""
        status, value = await self.signed(method, path, **params)
        assert status != 200, value
        found: int = value["code"]
        return found

    async def get(self, path: str, query: str = "") -> Any:
        """A public request that succeeds."""
        status, value = await self.raw("GET", path, query=query, key="")
        assert status == 200, value
        return value

    def limit(self, side: str = "BUY", price: str = "99000", **more: object) -> dict[str, object]:
        """Parameters of a limit order that rests."""
        return {
            "symbol": SYMBOL,
            "side": side,
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "0.01",
            "price": price,
            **more,
        }

    def market(
        self, side: str = "BUY", quantity: str = "0.01", **more: object
    ) -> dict[str, object]:
        """Parameters of a market order."""
        return {"symbol": SYMBOL, "side": side, "type": "MARKET", "quantity": quantity, **more}

    # --- websockets ------------------------------------------------------------------------------

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Socket]:
        """Connect."""
        async with self.web.ws_connect(self.serving.ws_url + path) as socket:
            yield Socket(socket)

    @asynccontextmanager
    async def user_stream(self) -> AsyncIterator[Socket]:
        """Connect with a listen key, and be sure to listen."""
        _, reply = await self.raw("POST", "/fapi/v1/listenKey")
        async with self.socket(f"/private/ws?listenKey={reply['listenKey']}") as socket:
            await socket.is_silent()
            yield socket
