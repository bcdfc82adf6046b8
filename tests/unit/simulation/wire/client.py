"""What the clients of our servers share: a websocket by hand, and levels as text."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import aiohttp


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


def levels(text: str) -> list[tuple[Decimal, Decimal]]:
    """Read one side of a book, best first: `100.0x5 99.9x3`."""
    sides = (level.split("x") for level in text.split())
    return [(Decimal(price), Decimal(size)) for price, size in sides]
