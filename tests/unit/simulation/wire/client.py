"""What the clients of our servers share: a websocket by hand, and levels as text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Generic, Self, TypeVar

import aiohttp

from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.server import VenueServer, serving


class ClientSocket:
    """One websocket of the client under test."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, value: Any) -> None:
        """Send JSON, or text as it is."""
        await self.socket.send_str(value if isinstance(value, str) else json.dumps(value))

    async def raw(self) -> aiohttp.WSMessage:
        """The next message, of any kind."""
        return await self.socket.receive(timeout=5)

    async def next(self) -> Any:
        """The next message, which must be text."""
        message = await self.raw()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def ask(self, value: Any) -> Any:
        """Send and wait for the next message."""
        await self.send(value)
        return await self.next()


SocketT = TypeVar("SocketT", bound=ClientSocket)


class ServedRig(Generic[SocketT]):
    """A server under test with one book, and the client's side of it."""

    def __init__(self, exchange: Exchange, server: VenueServer, symbol: str) -> None:
        self.exchange = exchange
        self._server = server
        self._symbol = symbol
        self.url = ""
        self.http: aiohttp.ClientSession
        self.sockets: list[SocketT] = []
        self.quote("100.0x5 99.9x3", "100.1x4 100.2x6")

    def quote(self, bids: str, asks: str, symbol: str = "") -> None:
        """Quote both sides, best first: `100.0x5 99.9x3`."""
        self.exchange.quote(symbol or self._symbol, levels(bids), levels(asks))

    def mark(self, price: str, *, rate: str = "0.0001", next_s: int = 1_795_003_600) -> None:
        """Tell mark, index and the coming funding."""
        marked = Decimal(price)
        next_ns = next_s * 1_000_000_000
        self.exchange.set_mark(self._symbol, marked, marked, Decimal(rate), next_ns)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Self]:
        """Serve; close what the client opened."""
        async with serving(self._server) as address, aiohttp.ClientSession() as self.http:
            self.url = address.rest_url
            yield self
            for sock in self.sockets:
                await sock.socket.close()


def levels(text: str) -> list[tuple[Decimal, Decimal]]:
    """Read one side of a book, best first: `100.0x5 99.9x3`."""
    sides = (level.split("x") for level in text.split())
    return [(Decimal(price), Decimal(size)) for price, size in sides]
