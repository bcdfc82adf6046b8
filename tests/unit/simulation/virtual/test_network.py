from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from perpbot.simulation.virtual.fence import fenced
from perpbot.simulation.virtual.hosts import HOST
from perpbot.simulation.virtual.loop import VirtualLoop, new_loop
from perpbot.simulation.virtual.network import Network
from perpbot.simulation.virtual.pipes import HIGH_WATER, MS, CalmWeather, Carriage, Link, Meeting
from perpbot.simulation.virtual.sockets import VirtualSocket

NAME, ADDRESS, PORT = "okx.test", "10.0.0.1", 443


class Weather(CalmWeather):
    """Weather that a test sets."""

    def __init__(self) -> None:
        self.known = True
        self.meeting = Meeting.ACCEPT
        self.up = Carriage()
        self.down = Carriage()

    def resolves(self, name: str) -> bool:
        return self.known

    def meets(self, name: str, port: int) -> Meeting:
        return self.meeting

    def carry(self, link: Link, size: int, *, up: bool) -> Carriage:
        return self.up if up else self.down


class Ear(asyncio.Protocol):
    """Hears everything, with the time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.data: list[tuple[float, bytes]] = []
        self.events: list[str] = []
        self.lost: list[Exception | None] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data.append((self.loop.time() - 1_000, data))

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    @property
    def heard(self) -> bytes:
        return b"".join(data for _, data in self.data)


class Room:
    """A loop, a network, a listener of one venue, one connection to it."""

    def __init__(self) -> None:
        self.loop: VirtualLoop = new_loop(random.Random(1))
        self.weather = Weather()
        self.network = Network(self.loop, self.weather)
        self.network.names[NAME] = ADDRESS
        self.servers: list[Ear] = []

    def run(self, work: Callable[[Room], Coroutine[Any, Any, Any]]) -> Any:
        async def all_of_it() -> Any:
            await self.loop.create_server(self.accept, ADDRESS, PORT)
            return await work(self)

        result = self.loop.run_until_complete(all_of_it())
        assert self.loop.errors == []
        return result

    def accept(self) -> Ear:
        self.servers.append(Ear())
        return self.servers[-1]

    async def connect(self) -> Ear:
        _, ear = await self.loop.create_connection(Ear, NAME, PORT)
        await asyncio.sleep(0.001)
        assert isinstance(ear, Ear)
        return ear


def test_bytes_arrive_in_order_after_their_latency() -> None:
    """Both ways, and the end after them."""

    async def work(room: Room) -> None:
        room.weather.up = Carriage(delay_ns=10 * MS)
        client = await room.connect()
        server = room.servers[0]
        began = room.loop.time()
        client.transport.write(b"one")
        room.weather.up = Carriage(delay_ns=MS)
        client.transport.writelines([b"t", b"wo"])
        client.transport.close()
        client.transport.write(b"ignored")
        await asyncio.sleep(0.1)
        assert server.heard == b"onetwo"
        assert server.data[0][0] == pytest.approx(began - 1_000 + 0.01)
        assert (server.events, server.lost, client.lost) == (["eof"], [None], [None])
        assert room.network.links == {}
        assert client.transport.is_closing()

    Room().run(work)


def test_pieces_are_spread() -> None:
    """Fragments come one after the other and make the whole."""

    async def work(room: Room) -> None:
        client = await room.connect()
        room.weather.up = Carriage(pieces=4, spread_ns=30 * MS)
        client.transport.write(b"0123456789")
        room.weather.up = Carriage(delay_ns=0)
        client.transport.write(b"after")
        await asyncio.sleep(0.1)
        assert [data for _, data in room.servers[0].data[:4]] == [b"012", b"345", b"678", b"9"]
        assert room.servers[0].heard == b"0123456789after"

    Room().run(work)


def test_a_reset_in_the_middle_tells_both() -> None:
    """Some bytes arrive, then the connection is gone on both sides."""

    async def work(room: Room) -> None:
        client = await room.connect()
        room.weather.up = Carriage(reset_after=4)
        client.transport.write(b"0123456789")
        room.weather.up = Carriage()
        client.transport.write(b"after the hole")
        await asyncio.sleep(0.1)
        assert room.servers[0].heard == b"0123"
        assert isinstance(room.servers[0].lost[0], ConnectionResetError)
        assert isinstance(client.lost[0], ConnectionResetError)

    Room().run(work)


def test_a_half_open_connection_tells_nobody() -> None:
    """Bytes vanish for good, the end too; what is not taken presses on the sender."""

    async def work(room: Room) -> None:
        client = await room.connect()
        room.weather.up = Carriage(lost=True)
        client.transport.write(b"lost")
        room.weather.up = Carriage()
        client.transport.write(b"x" * (HIGH_WATER + 1))
        await asyncio.sleep(60)
        assert room.servers[0].heard == b""
        assert client.events == ["pause"]
        assert client.transport.get_write_buffer_size() == HIGH_WATER + 5
        client.transport.close()
        room.servers[0].transport.write(b"still talking")
        await asyncio.sleep(60)
        assert room.servers[0].lost == []
        assert client.heard == b""

    Room().run(work)


def test_who_does_not_read_slows_the_sender() -> None:
    """Back-pressure begins above the high water and ends below the low one."""

    async def work(room: Room) -> None:
        client = await room.connect()
        server = room.servers[0]
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(b"x" * (2 * HIGH_WATER))
        await asyncio.sleep(1)
        assert client.events == ["pause"]
        server.transport.resume_reading()
        server.transport.resume_reading()
        await asyncio.sleep(1)
        assert client.events == ["pause", "resume"]
        assert len(server.heard) == 2 * HIGH_WATER
        assert client.transport.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)

    Room().run(work)


def test_an_abort_resets_the_other_side() -> None:
    """The peer hears a reset, we hear an end."""

    async def work(room: Room) -> None:
        client = await room.connect()
        client.transport.abort()
        client.transport.abort()
        await asyncio.sleep(0.1)
        assert client.lost == [None]
        assert isinstance(room.servers[0].lost[0], ConnectionResetError)

    Room().run(work)


@pytest.mark.parametrize(
    ("known", "meeting", "error"),
    [
        (False, Meeting.ACCEPT, socket.gaierror),
        (True, Meeting.REFUSE, ConnectionRefusedError),
        (True, Meeting.BAD_CERTIFICATE, ssl.SSLCertVerificationError),
        (True, Meeting.HANG, TimeoutError),
    ],
    ids=["no name", "refused", "certificate", "no answer"],
)
def test_attempts_fail_as_the_weather_wants(
    *, known: bool, meeting: Meeting, error: type[Exception]
) -> None:
    """Each way to fail raises what the real one does."""

    async def work(room: Room) -> None:
        room.weather.known, room.weather.meeting = known, meeting
        with pytest.raises(error):
            async with asyncio.timeout(5):
                await room.connect()

    Room().run(work)


def test_unknown_names_and_closed_ports_are_refused() -> None:
    """Nobody is there."""

    async def work(room: Room) -> None:
        with pytest.raises(socket.gaierror):
            await room.loop.getaddrinfo("nobody.test", 80)
        with pytest.raises(ConnectionRefusedError):
            await room.loop.create_connection(Ear, NAME, 1)
        with pytest.raises(OSError, match="in use"):
            await room.loop.create_server(Ear, ADDRESS, PORT)
        server = room.network.listeners[ADDRESS, PORT]
        assert server.is_serving()
        sock = VirtualSocket()
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
        await room.loop.sock_connect(sock, (ADDRESS, PORT))
        await server.start_serving()
        server.close()
        await server.wait_closed()
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await room.loop.create_connection(Ear, sock=sock)
        assert server.get_loop() is room.loop

    Room().run(work)


def test_the_sockets_of_a_dead_host_are_reset() -> None:
    """Its peers hear of it, it hears nothing; its listeners are gone."""

    async def work(room: Room) -> None:
        host = room.loop.new_host("node")
        client = await host.run(room.connect())
        await host.run(room.loop.create_server(Ear, "10.0.0.2", 1))
        client.transport.write(b"on its way")
        host.die()
        room.network.drop_host(host)
        client.transport.write(b"never")
        await asyncio.sleep(1)
        assert room.servers[0].heard == b"on its way"
        assert isinstance(room.servers[0].lost[0], ConnectionResetError)
        assert client.lost == []
        assert list(room.network.listeners) == [(ADDRESS, PORT)]

    Room().run(work)


def test_callbacks_belong_to_the_host_of_their_end() -> None:
    """The client's to who connected, the server's to who listens."""
    seen: dict[str, str] = {}

    class Teller(Ear):
        def data_received(self, data: bytes) -> None:
            host = HOST.get()
            seen[data.decode()] = host.name if host is not None else "outside"
            self.transport.write(b"answer")

    async def work(room: Room) -> None:
        venue, node = room.loop.new_host("venue"), room.loop.new_host("node")
        await venue.run(room.loop.create_server(Teller, "10.0.0.2", 1))
        room.network.names["b.test"] = "10.0.0.2"

        async def talk() -> None:
            _, client = await room.loop.create_connection(Teller, "b.test", 1)
            client.transport.write(b"question")
            await asyncio.sleep(0.004)
            client.transport.abort()

        await node.run(talk())

    Room().run(work)
    assert seen == {"question": "venue", "answer": "node"}


def test_aiohttp_runs_inside() -> None:
    """A real client and a real server, by name, over virtual sockets."""
    loop = new_loop(random.Random(1))
    network = Network(loop)
    network.names[NAME] = ADDRESS

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {await request.text()}")

    async def work() -> str:
        app = web.Application()
        app.router.add_post("/", hello)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, ADDRESS, PORT).start()
        async with aiohttp.ClientSession() as session:
            reply = await session.post(f"http://{NAME}:{PORT}/", data=b"world")
            text = await reply.text()
        await runner.cleanup()
        return text

    with fenced(loop, lambda: 1_780_000_000 * 10**9, random.Random(1)):
        assert loop.run_until_complete(work()) == "hello world"
    assert loop.errors == []
