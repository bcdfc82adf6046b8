"""A line to an exchange that can be cut: passes bytes both ways, and drops every connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class _End(asyncio.Protocol):
    """One end of a connection that passes; what it hears goes to the other end."""

    def __init__(self, ends: set[_End], other: _End | None = None) -> None:
        self._ends = ends
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._waiting = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ends.add(self)
        if self._waiting:
            transport.write(bytes(self._waiting))
            self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is None:
            self._waiting += data
        else:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()
        self.other = None

    def cut(self, *, reset: bool) -> None:
        if self.transport is None:
            return
        if reset:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()


class Cutter:
    """Stands before one server; use it with `async with`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._ends: set[_End] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self.accepted = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._near, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut(reset=True)
        await self._server.wait_closed()

    def address(self, url: str) -> str:
        """Return an address of the server as one that leads through here."""
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(urlsplit(url)._replace(netloc=f"127.0.0.1:{port}"))

    def cut(self, *, reset: bool) -> int:
        """Drop every connection, with a reset or in order; return how many stood."""
        standing = [end for end in self._ends if isinstance(end, _Near)]
        for end in tuple(self._ends):
            end.cut(reset=reset)
        return len(standing)

    def _near(self) -> _End:
        self.accepted += 1
        near = _Near(self._ends)
        far = _End(self._ends, near)
        near.other = far
        task = asyncio.get_running_loop().create_task(self._dial(near, far))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return near

    async def _dial(self, near: _End, far: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, *self._target)
        except OSError:
            near.cut(reset=True)


class _Near(_End):
    """The end that the node connected to."""


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0
