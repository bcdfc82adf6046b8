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
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web

from perpbot.domain.errors import PerpbotError
from perpbot.domain.money import plain
from perpbot.simulation.model import Contract, ExchangeNews, ExchangeView, Profile
from perpbot.simulation.wire.connects import ConnectLimit, Connects
from perpbot.simulation.wire.meddling import meddling
from perpbot.simulation.wire.sockets import (
    STOP_TIMEOUT_S,
    Client,
    IdleClient,
    Meddler,
    Topics,
    encode,
)

LOOPBACK = "127.0.0.1"
PUMP_INTERVAL_S = 0.02

__all__ = [
    "LOOPBACK",
    "Client",
    "IdleClient",
    "PortInUse",
    "Serving",
    "Topics",
    "VenueServer",
    "encode",
    "reply",
    "serving",
    "start",
    "text_of",
]


class PortInUse(PerpbotError):
    """A server was asked to listen where something else already does."""

    def __init__(self, venue: str, host: str, port: int) -> None:
        super().__init__(
            f"{venue}: port {port} of {host} is in use; choose another --port-base or stop "
            f"what listens there"
        )


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


class VenueServer(abc.ABC):
    """One venue's protocol before one exchange, for one client account."""

    venue: ClassVar[str]
    account: ClassVar[str] = "client"
    connect_limit: ClassVar[ConnectLimit]
    """How many websockets the venue lets one address open."""

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
        self.clients: dict[Client, None] = {}
        """Open websockets, oldest first."""
        self.meddler: Meddler | None = None
        """Set it before `start`."""
        self.connects: Connects | None = None
        """Who may open a websocket: everybody, where it is not set."""
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
        """Serve a websocket until it ends; HTTP 429 where its address opens too many."""
        address = client.request.remote or ""
        if self.connects is not None and not self.connects.take(address, self.clock_ns()):
            raise web.HTTPTooManyRequests(text="too many connections were opened")
        self.clients[client] = None
        try:
            return await client.serve()
        finally:
            self.clients.pop(client, None)

    def close_idle(self) -> None:
        """Close the connections on which nothing was sent for too long."""
        now_ns = self.clock_ns()
        for client in list(self.clients):
            if isinstance(client, IdleClient):
                client.close_if_idle(now_ns)

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

    def __init__(
        self,
        server: VenueServer,
        runner: web.AppRunner,
        host: str,
        port: int,
        pump_interval_s: float = PUMP_INTERVAL_S,
    ) -> None:
        self.server = server
        self._pump_interval_s = pump_interval_s
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
            await asyncio.sleep(self._pump_interval_s)


async def start(
    server: VenueServer,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    pump_interval_s: float = PUMP_INTERVAL_S,
) -> Serving:
    """Listen; port 0 takes a free one. Raises `PortInUse`."""
    application = server.routes()
    if server.meddler is not None:
        application.middlewares.append(meddling(server.meddler))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(server.venue, host, port) from None
        raise
    return Serving(server, runner, host, runner.addresses[0][1], pump_interval_s)


@contextlib.asynccontextmanager
async def serving(server: VenueServer, *, port: int = 0) -> AsyncIterator[Serving]:
    """Serve on loopback while the block runs."""
    running = await start(server, port=port)
    try:
        yield running
    finally:
        await running.stop()
