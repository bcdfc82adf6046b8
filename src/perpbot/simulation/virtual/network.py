"""Names, listeners and connections between hosts of a `VirtualLoop`; see `pipes` for the bytes."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from perpbot.simulation.virtual.hosts import HOST, Host
from perpbot.simulation.virtual.loop import VirtualLoop
from perpbot.simulation.virtual.pipes import CalmWeather, Link, Meeting, Pipe, Weather
from perpbot.simulation.virtual.sockets import VirtualSocket

FIRST_PORT = 40_000


class VirtualServer(asyncio.AbstractServer):
    """A listener."""

    def __init__(
        self, network: Network, address: tuple[str, int], factory: Any, context: Context
    ) -> None:
        self._network = network
        self._address = address
        self.factory = factory
        self.context = context
        listening = VirtualSocket()
        listening.own = address
        self.sockets: Sequence[Any] = (listening,)

    def close(self) -> None:
        """Listen no longer; connections stay."""
        self._network.listeners.pop(self._address, None)
        self.sockets = ()

    def is_serving(self) -> bool:
        """Whether it listens."""
        return bool(self.sockets)

    async def wait_closed(self) -> None:
        """Nothing to wait for."""

    async def start_serving(self) -> None:
        """It does already."""

    async def serve_forever(self) -> None:
        """Until cancelled."""
        await self._network.loop.create_future()

    def get_loop(self) -> VirtualLoop:
        """The loop that it runs on."""
        return self._network.loop


class Network:
    """See the module. `names` maps host names to addresses such as 10.0.0.1."""

    def __init__(self, loop: VirtualLoop, weather: Weather | None = None) -> None:
        self.loop = loop
        self.weather: Weather = weather or CalmWeather()
        self.names: dict[str, str] = {}
        self.listeners: dict[tuple[str, int], VirtualServer] = {}
        self.links: dict[int, Link] = {}
        """Those that stand, by number."""
        self.opened = 0
        self._infrastructure = loop.outside.context()
        loop.network = self

    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something that belongs to no host."""
        self.loop.call_at_ns(self.loop.now_ns() + delay_ns, act, context=self._infrastructure)

    def forget(self, link: Link) -> None:
        """An end of a link is gone; when both are, so is the link."""
        if not link.open:
            self.links.pop(link.number, None)

    def drop_host(self, host: Host) -> None:
        """A host died: the kernel of its machine resets what it had open."""
        for link in list(self.links.values()):
            for pipe in (link.client, link.server):
                if pipe.context.get(HOST) is host:
                    pipe.abort()
        for server in list(self.listeners.values()):
            if server.context.get(HOST) is host:
                server.close()

    # --- names -----------------------------------------------------------------------------------

    def _name_of(self, address: str) -> str:
        return next((name for name, known in self.names.items() if known == address), address)

    async def _delay(self) -> None:
        await asyncio.sleep(0.001)

    async def getaddrinfo(self, host: Any, port: Any, **_hints: Any) -> list[Any]:
        """Look a name up; raises `socket.gaierror`."""
        name = host.decode() if isinstance(host, bytes) else str(host)
        await self._delay()
        known = self.names.get(name, name if name in self.names.values() else None)
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not self.weather.resolves(self._name_of(known)):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known, int(port)))]

    # --- connections -----------------------------------------------------------------------------

    async def sock_connect(self, sock: VirtualSocket, address: tuple[str, int]) -> None:
        """Meet the other side; raises `OSError`."""
        host, port = address[:2]
        name = self._name_of(host)
        meeting = self.weather.meets(name, port)
        if meeting is Meeting.HANG:
            await self.loop.create_future()
        await self._delay()
        await self._delay()
        if meeting is Meeting.BAD_CERTIFICATE:
            raise ssl.SSLCertVerificationError(1, "certificate verify failed: it has expired")
        if meeting is Meeting.REFUSE or (host, port) not in self.listeners:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"connect to {name}:{port} failed")
        self.opened += 1
        sock.own = ("10.9.9.9", FIRST_PORT + self.opened)
        sock.peer = (host, port)

    async def create_connection(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: VirtualSocket | None = None,
        **_options: Any,
    ) -> tuple[Pipe, asyncio.BaseProtocol]:
        """Connect to a listener, or take over a connected socket. Raises `OSError`."""
        if sock is None:
            infos = await self.getaddrinfo(host, port)
            sock = VirtualSocket()
            await self.sock_connect(sock, infos[0][4])
        server = self.listeners.get(sock.getpeername())
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens any more")
        return self._join(sock, server, factory)

    def _join(
        self, sock: VirtualSocket, server: VirtualServer, factory: Callable[[], Any]
    ) -> tuple[Pipe, asyncio.BaseProtocol]:
        link = Link(self._name_of(sock.getpeername()[0]), self.opened)
        theirs = VirtualSocket()
        theirs.own, theirs.peer = sock.getpeername(), sock.getsockname()
        host = HOST.get() or self.loop.outside
        client = Pipe(self, link, sock, host.context(), up=True)
        served = Pipe(self, link, theirs, server.context.copy(), up=False)
        client.peer, served.peer = served, client
        link.client, link.server = client, served
        self.links[link.number] = link
        # The server's side first: the client may die over its first bytes.
        served_protocol = served.context.copy().run(server.factory)
        self.loop.call_soon(served.start, served_protocol, context=served.context)
        protocol = factory()
        client.start(protocol)
        return client, protocol

    def create_server(self, factory: Any, host: str, port: int, **_options: Any) -> VirtualServer:
        """Listen; raises `OSError` where something listens already."""
        address = (host, port)
        if address in self.listeners:
            raise OSError(errno.EADDRINUSE, "address already in use")
        owner = HOST.get() or self.loop.outside
        server = VirtualServer(self, address, factory, owner.context())
        self.listeners[address] = server
        return server
