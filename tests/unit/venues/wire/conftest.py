"""Servers on loopback that break on purpose, and a channel that writes down what it hears."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, Self

import pytest

from perpbot.kernel.clock import RealClock
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.limits import Window
from perpbot.venues.wire.websocket import Connection, WebSocketChannel
from tests.venues.waiting import ended_by_hand

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Serve(Protocol):
    async def __call__(self, script: Script, *, port: int = 0) -> int: ...


@pytest.fixture
def patience_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """End the patience of everything that waits for an answer."""
    return ended_by_hand(monkeypatch)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start raw TCP servers; returns their port. Every connection runs the script."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(script: Script, *, port: int = 0) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", port)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the upgrade request of RFC 6455 by hand."""
    head = await reader.readuntil(b"\r\n\r\n")
    key = next(
        line.split(b":", 1)[1].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    await writer.drain()


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """Write one server frame."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + b"\x7e" + len(payload).to_bytes(2, "big") + payload


class Heard:
    """A channel on a port, and everything that it called back."""

    def __init__(self, port: int, **options: Any) -> None:
        self.texts: list[bytes] = []
        self.downs: list[str] = []
        self.opened = 0
        self.first: bytes | None = b"hello"
        self.clock = RealClock()

        async def url() -> str:
            return f"ws://127.0.0.1:{port}/ws"

        settings: dict[str, Any] = {
            "on_open": self.on_open,
            "on_text": self.on_text,
            "rng": random.Random(7),
            "dials": Dials(Window("dials", 10_000, 1.0), clock=self.clock),
            "backoff_base_s": 0.001,
            "backoff_cap_s": 0.002,
            "url": url,
            **options,
        }
        self.channel = WebSocketChannel(
            venue="venue", name="public", on_down=self.on_down, clock=self.clock, **settings
        )
        self.task: asyncio.Task[None] | None = None

    async def on_open(self, connection: Connection) -> None:
        self.opened += 1
        if self.first is not None:
            connection.send(self.first)

    def on_text(self, payload: memoryview, recv_ns: int) -> None:
        assert 0 < recv_ns <= self.clock.monotonic_ns()
        self.texts.append(bytes(payload))

    def on_down(self, reason: str) -> None:
        self.downs.append(reason)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until `condition` is true."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - conditions are not only callbacks
                await asyncio.sleep(0.001)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.channel.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
def listen() -> type[Heard]:
    """The class of channels under test."""
    return Heard


@pytest.fixture
def websocket_frame() -> Callable[..., bytes]:
    """Write server frames by hand."""
    return frame


@pytest.fixture
def upgrade() -> Script:
    """Answer an upgrade request by hand."""
    return handshake
