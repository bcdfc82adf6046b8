"""Websockets of clients: a bounded queue each, and topics that fan one frame out to many."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

MAX_REQUEST_BYTES = 1 << 20
MAX_WAITING_BYTES = 8 << 20
"""What may wait for a websocket client before it is cut."""
STOP_TIMEOUT_S = 1.0


class Meddler(Protocol):
    """What stands between (`meddling.py`). One that passes everything on changes nothing."""

    def said(self, client: Client, frame: bytes) -> Sequence[bytes]:
        """Return the frames that go out in the place of one of the server's."""

    def heard(self, client: Client, data: bytes) -> bool:
        """Whether the server gets to hear a message."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request (an upgrade to a websocket too), as a rule by asking `handler`."""


class HasClock(Protocol):
    """What a client needs of its server."""

    def clock_ns(self) -> int:
        """UTC nanoseconds."""

    @property
    def meddler(self) -> Meddler | None:
        """Who may change what is said and heard."""


def encode(value: Any) -> bytes:
    """Return `value` as JSON. Pass decimals through `text_of` first."""
    return _ENCODER.encode(value)


_ENCODER = msgspec.json.Encoder()


class Client:
    """One websocket of a client. Venues override `on_open`, `on_text` and `on_closed`.

    `send` never waits: frames queue, and a client with more than `MAX_WAITING_BYTES` waiting is
    cut at once (the venue would do the same).
    """

    def __init__(self, server: HasClock, request: web.Request) -> None:
        self.request = request
        self.opened_ns = self.heard_ns = server.clock_ns()
        self.cut_because = ""
        self._clock_ns = server.clock_ns
        self._meddler = server.meddler
        self._socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=MAX_REQUEST_BYTES,
            decode_text=False,
            timeout=STOP_TIMEOUT_S,
        )
        self._waiting: deque[tuple[bytes, WSMsgType]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()

    def on_open(self) -> None:
        """Called once, when the handshake is done and before the first message."""

    def on_text(self, data: bytes) -> None:
        """Called with each text message."""

    def on_closed(self) -> None:
        """Called once, when the connection is gone."""

    def send(self, frame: bytes) -> None:
        """Queue a text frame."""
        frames: Sequence[bytes] = (frame,)
        if self._meddler is not None:
            frames = self._meddler.said(self, frame)
        for one in frames:
            self._put(one, WSMsgType.TEXT)

    def send_value(self, value: Any) -> None:
        """Encode and queue."""
        self.send(encode(value))

    def ping(self) -> None:
        """Queue a ping frame."""
        self._put(b"", WSMsgType.PING)

    def cut(self, because: str) -> None:
        """Drop the connection without a goodbye, as a broken network does."""
        self.cut_because = self.cut_because or because
        self._waiting.clear()
        self._waiting_bytes = 0
        transport = self.request.transport
        if transport is not None:
            transport.abort()

    async def close(self, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        """Say goodbye and wait for the other side, at most `STOP_TIMEOUT_S`."""
        await self._socket.close(code=code, message=reason.encode())

    @property
    def waiting_bytes(self) -> int:
        """What is queued and not yet handed to the socket."""
        return self._waiting_bytes

    def _put(self, frame: bytes, kind: WSMsgType) -> None:
        if self.cut_because:
            return
        self._waiting.append((frame, kind))
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self.cut(f"slow client: {self._waiting_bytes} bytes waiting")
            return
        self._wake.set()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):  # the reader sees the same and ends the client
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    frame, kind = self._waiting.popleft()
                    self._waiting_bytes -= len(frame)
                    await self._socket.send_frame(frame, kind)

    async def serve(self) -> web.WebSocketResponse:
        """Shake hands, then read until either side ends."""
        await self._socket.prepare(self.request)
        writer = asyncio.create_task(self._write())
        try:
            self.on_open()
            async for message in self._socket:
                self.heard_ns = self._clock_ns()
                if message.type is WSMsgType.TEXT and (
                    self._meddler is None or self._meddler.heard(self, message.data)
                ):
                    self.on_text(message.data)
        finally:
            self.cut_because = self.cut_because or "closed"
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.on_closed()
        return self._socket


class IdleClient(Client):
    """One of a venue that closes connections on which nothing was sent for a while."""

    idle_ns: ClassVar[int]
    goodbye: ClassVar[tuple[int, str]]
    """Code and reason of the close."""

    def __init__(self, server: HasClock, request: web.Request) -> None:
        super().__init__(server, request)
        self._sent_ns = self.opened_ns
        self._closing: asyncio.Task[None] | None = None

    def send(self, frame: bytes) -> None:
        """Queue a text frame and note when: a pong counts."""
        self._sent_ns = self._clock_ns()
        super().send(frame)

    def close_if_idle(self, now_ns: int) -> None:
        """Close where nothing was sent for too long."""
        if now_ns - self._sent_ns > self.idle_ns and self._closing is None:
            self._closing = asyncio.create_task(self.close(*self.goodbye))


class Topics:
    """Who listens to what. A frame is encoded once, and only for topics that have listeners."""

    def __init__(self) -> None:
        self._clients: dict[str, dict[Client, None]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._clients

    def join(self, topic: str, client: Client) -> None:
        """Listen; joining twice is joining once."""
        self._clients.setdefault(topic, {})[client] = None

    def leave(self, topic: str, client: Client) -> None:
        """Stop listening; the unknown is ignored."""
        clients = self._clients.get(topic)
        if clients is not None:
            clients.pop(client, None)
            if not clients:
                del self._clients[topic]

    def leave_all(self, client: Client) -> None:
        """Stop listening to anything."""
        for topic in [name for name, clients in self._clients.items() if client in clients]:
            self.leave(topic, client)

    def listeners(self, topic: str) -> Iterable[Client]:
        """Clients of a topic, in the order in which they joined."""
        return tuple(self._clients.get(topic, ()))

    def topics(self) -> Iterable[str]:
        """Topics with at least one listener."""
        return tuple(self._clients)

    def send(self, topic: str, frame: bytes) -> None:
        """Queue `frame` for each listener of `topic`."""
        for client in tuple(self._clients.get(topic, ())):
            client.send(frame)
