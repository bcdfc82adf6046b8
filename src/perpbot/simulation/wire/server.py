"""The frame that every venue's server stands in: ports, websockets, clean ends.

A venue's server is a subclass of `VenueServer`: it hands over an aiohttp application, translates
requests into calls of the exchange, and the exchange's news into frames. It is single threaded and
never awaits while it handles a message, so that replies and news keep the exchange's order.

What the frame promises: one send queue a websocket, bounded in bytes; a client that does not read
is cut and never delays the others; `Serving.stop` leaves no task and no open port behind.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import errno
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from perpbot.domain.errors import PerpbotError
from perpbot.domain.money import plain
from perpbot.simulation.model import Contract, ExchangeNews, ExchangeView, Profile

LOOPBACK = "127.0.0.1"
MAX_REQUEST_BYTES = 1 << 20
MAX_WAITING_BYTES = 8 << 20
"""What may wait for a websocket client before it is cut."""
PUMP_INTERVAL_S = 0.02
STOP_TIMEOUT_S = 1.0


class PortInUse(PerpbotError):
    """A server was asked to listen where something else already does."""

    def __init__(self, venue: str, host: str, port: int) -> None:
        super().__init__(
            f"{venue}: port {port} of {host} is in use; choose another --port-base or stop "
            f"what listens there"
        )


def encode(value: Any) -> bytes:
    """Return `value` as JSON. Pass decimals through `text_of` first."""
    return _ENCODER.encode(value)


_ENCODER = msgspec.json.Encoder()


def text_of(value: Decimal) -> str:
    """Return a decimal as venues write it: no exponent, no trailing zeros."""
    return plain(value)


def reply(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an HTTP reply with a JSON body."""
    return web.Response(
        body=encode(value), status=status, headers=headers, content_type="application/json"
    )


class Client:
    """One websocket of a client. Venues override `on_open`, `on_text` and `on_closed`.

    `send` never waits: frames queue, and a client with more than `MAX_WAITING_BYTES` waiting is
    cut at once (the venue would do the same).
    """

    def __init__(self, server: VenueServer, request: web.Request) -> None:
        self.request = request
        self.opened_ns = self.heard_ns = server.clock_ns()
        self.cut_because = ""
        self._clock_ns = server.clock_ns
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
        self._put(frame, WSMsgType.TEXT)

    def send_value(self, value: Any) -> None:
        """Encode and queue."""
        self._put(encode(value), WSMsgType.TEXT)

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
                if message.type is WSMsgType.TEXT:
                    self.on_text(message.data)
        finally:
            self.cut_because = self.cut_because or "closed"
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.on_closed()
        return self._socket


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


class VenueServer(abc.ABC):
    """One venue's protocol before one exchange, for one client account."""

    venue: ClassVar[str]
    account: ClassVar[str] = "client"

    def __init__(
        self,
        exchange: ExchangeView,
        clock_ns: Callable[[], int],
        rng: random.Random,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """`credentials` in the venue's words; made from `rng` when absent."""
        self.exchange = exchange
        self.clock_ns = clock_ns
        self.rng = rng
        self.clients: set[Client] = set()
        self._credentials = dict(credentials or self.make_credentials(rng))
        self._stop_listening = exchange.listen(self.on_news)

    @staticmethod
    @abc.abstractmethod
    def profile() -> Profile:
        """How this venue's exchange matches and what it charges."""

    @staticmethod
    @abc.abstractmethod
    def contracts() -> tuple[Contract, ...]:
        """What this venue lists, in its own spelling and steps."""

    @staticmethod
    @abc.abstractmethod
    def make_credentials(rng: random.Random) -> dict[str, str]:
        """Return new credentials of the account in the venue's words."""

    @abc.abstractmethod
    def routes(self) -> web.Application:
        """Return the application that answers; called once."""

    @abc.abstractmethod
    def on_news(self, news: ExchangeNews) -> None:
        """Turn a piece of news into frames; called by the exchange as it happens."""

    def credentials(self) -> dict[str, str]:
        """Return what a client needs, in the venue's words."""
        return dict(self._credentials)

    @abc.abstractmethod
    def pump(self) -> None:
        """Do what is due by the clock: batched streams, pings, expiries. Called every 20 ms."""

    async def accept(self, client: Client) -> web.WebSocketResponse:
        """Serve a websocket until it ends."""
        self.clients.add(client)
        try:
            return await client.serve()
        finally:
            self.clients.discard(client)

    def cut_clients(self, because: str) -> int:
        """Drop all websockets at once, as a network fault does; returns how many."""
        clients = list(self.clients)
        for client in clients:
            client.cut(because)
        return len(clients)

    def detach(self) -> None:
        """Stop listening to the exchange."""
        self._stop_listening()


class Serving:
    """A venue server on its port. Made by `start`."""

    def __init__(self, server: VenueServer, runner: web.AppRunner, host: str, port: int) -> None:
        self.server = server
        self.host = host
        self.port = port
        self._runner = runner
        self._pump = asyncio.create_task(self._keep_pumping(), name=f"pump {server.venue}")

    @property
    def rest_url(self) -> str:
        """Base address of requests; clients add the venue's paths."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Base address of websockets; clients add the venue's paths."""
        return f"ws://{self.host}:{self.port}"

    def description(self) -> dict[str, Any]:
        """Return the line that `perpbot simulate` prints."""
        return {
            "venue": self.server.venue,
            "rest_url": self.rest_url,
            "ws_url": self.ws_url,
            "credentials": self.server.credentials(),
        }

    async def wait(self) -> None:
        """Wait until the server fails; raises what it failed with. Cancelling is harmless."""
        await asyncio.shield(self._pump)

    async def stop(self) -> None:
        """Close all websockets and the port; may be called twice."""
        self.server.detach()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await asyncio.gather(
            *(client.close(reason="server stops") for client in list(self.server.clients)),
            return_exceptions=True,
        )
        await self._runner.cleanup()

    async def _keep_pumping(self) -> None:
        while True:
            self.server.pump()
            await asyncio.sleep(PUMP_INTERVAL_S)


async def start(server: VenueServer, *, host: str = LOOPBACK, port: int = 0) -> Serving:
    """Listen; port 0 takes a free one. Raises `PortInUse`."""
    runner = web.AppRunner(server.routes(), access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(server.venue, host, port) from None
        raise
    return Serving(server, runner, host, runner.addresses[0][1])


@contextlib.asynccontextmanager
async def serving(server: VenueServer, *, port: int = 0) -> AsyncIterator[Serving]:
    """Serve on loopback while the block runs."""
    running = await start(server, port=port)
    try:
        yield running
    finally:
        await running.stop()
