from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from perpbot.domain.errors import ConfigError
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import Contract, ExchangeNews, Profile
from perpbot.simulation.wire import sockets
from perpbot.simulation.wire.connects import ConnectLimit, Connects
from perpbot.simulation.wire.registry import server_class, venues
from perpbot.simulation.wire.server import (
    Client,
    PortInUse,
    Serving,
    Topics,
    VenueServer,
    encode,
    reply,
    serving,
    start,
    text_of,
)

CONTRACT = Contract(
    symbol="X",
    asset="X-PERP",
    base="X",
    settle="USD",
    tick_size=Decimal(1),
    quantity_step=Decimal(1),
    min_quantity=Decimal(1),
)


class EchoClient(Client):
    """Sends back what it hears; `break` makes it fail."""

    def on_open(self) -> None:
        self.send_value({"hello": True})

    def on_text(self, data: bytes) -> None:
        if data == b"break":
            raise RuntimeError(data)
        self.send(data)

    def on_closed(self) -> None:
        ended.append(self)


ended: list[Client] = []


class EchoServer(VenueServer):
    """The smallest server."""

    venue = "echo"
    pumps = 0
    fails = False

    @staticmethod
    def profile() -> Profile:
        return Profile(name="echo", maker_fee=Decimal(0), taker_fee=Decimal(0))

    @staticmethod
    def contracts() -> tuple[Contract, ...]:
        return (CONTRACT,)

    @staticmethod
    def make_credentials(rng: random.Random) -> dict[str, str]:
        return {"key": f"{rng.getrandbits(64):x}"}

    def routes(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/hello", self._hello)
        app.router.add_get("/ws", self._socket)
        return app

    async def _hello(self, request: web.Request) -> web.Response:
        return reply({"price": text_of(Decimal("1E+2"))}, status=201, headers={"X-Used": "1"})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        return await self.accept(EchoClient(self, request))

    def on_news(self, news: ExchangeNews) -> None:
        self.news = news

    def pump(self) -> None:
        self.pumps += 1
        if self.fails:
            raise RuntimeError("the pump broke")


def make_server(seed: int = 1) -> EchoServer:
    """Return a server on an exchange of its own."""
    ticks = count(1)
    exchange = Exchange(
        EchoServer.profile(), EchoServer.contracts(), lambda: next(ticks), Accountant()
    )
    return EchoServer(exchange, lambda: next(ticks), random.Random(seed))


@pytest.fixture
async def running() -> AsyncIterator[Serving]:
    """A server that answers."""
    ended.clear()
    async with serving(make_server()) as found:
        yield found


@pytest.fixture
async def web_client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def eventually(holds: Any) -> None:
    """Yield to the loop until `holds()`."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)  # whatever the loop does next may make it true


async def test_reply_is_json_with_status_and_headers(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """Decimals are written plainly."""
    async with web_client.get(running.rest_url + "/hello") as answer:
        assert answer.status == 201
        assert answer.headers["X-Used"] == "1"
        assert await answer.json() == {"price": "100"}


async def test_description_names_addresses_and_credentials(running: Serving) -> None:
    """It is the line that `perpbot simulate` prints."""
    found = running.description()
    assert found["venue"] == "echo"
    assert found["rest_url"] == f"http://127.0.0.1:{running.port}"
    assert found["ws_url"] == f"ws://127.0.0.1:{running.port}"
    assert found["credentials"] == running.server.credentials()


def test_credentials_come_from_the_seed() -> None:
    """One seed, one key; another seed, another key."""
    assert make_server(1).credentials() == make_server(1).credentials()
    assert make_server(1).credentials() != make_server(2).credentials()


async def test_used_port_is_refused_clearly(running: Serving) -> None:
    """The message names venue and port and what to do."""
    with pytest.raises(PortInUse, match=f"echo: port {running.port} .*--port-base"):
        await start(make_server(), port=running.port)


async def test_stop_closes_port_and_clients(web_client: aiohttp.ClientSession) -> None:
    """Clients get a goodbye, new ones find nobody; stopping twice is harmless."""
    found = await start(make_server())
    socket = await web_client.ws_connect(found.ws_url + "/ws")
    await socket.receive_json()
    waiting = asyncio.create_task(socket.receive())
    await found.stop()
    assert (await waiting).type is WSMsgType.CLOSE
    assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
    with pytest.raises(aiohttp.ClientConnectorError):
        await web_client.get(found.rest_url + "/hello")
    await found.stop()


async def test_stopped_server_hears_no_news() -> None:
    """The exchange forgets it."""
    server = make_server()
    found = await start(server)
    await found.stop()
    server.exchange.quote("X", [(Decimal(1), Decimal(1))], [])
    assert not hasattr(server, "news")


async def test_websocket_echoes_in_order(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """on_open comes first, then each message."""
    async with web_client.ws_connect(running.ws_url + "/ws") as socket:
        assert await socket.receive_json() == {"hello": True}
        for text in ("a", "b"):
            await socket.send_str(text)
        assert [await socket.receive_str() for _ in range(2)] == ["a", "b"]
    await eventually(lambda: not running.server.clients)
    assert len(ended) == 1


async def test_binary_and_huge_messages_do_no_harm(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """Binary is passed over; beyond the limit the connection ends, the server lives."""
    async with web_client.ws_connect(running.ws_url + "/ws") as socket:
        await socket.receive_json()
        await socket.send_bytes(b"x")
        await socket.send_str("y")
        assert await socket.receive_str() == "y"
        await socket.send_str("z" * (sockets.MAX_REQUEST_BYTES + 1))
        await socket.receive()
        assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    async with web_client.get(running.rest_url + "/hello") as answer:
        assert answer.status == 201


async def test_dead_client_is_forgotten(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """A client that vanishes without a goodbye leaves nothing behind."""
    socket = await web_client.ws_connect(running.ws_url + "/ws")
    await socket.receive_json()
    connection = socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    await eventually(lambda: not running.server.clients)
    assert ended


async def test_slow_client_is_cut_and_others_go_on(
    running: Serving, web_client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a client is bounded; beyond that it is cut at once."""
    monkeypatch.setattr(sockets, "MAX_WAITING_BYTES", 1_000)
    async with web_client.ws_connect(running.ws_url + "/ws") as slow:
        await slow.receive_json()
        [client] = running.server.clients
        async with web_client.ws_connect(running.ws_url + "/ws") as good:
            await good.receive_json()
            # Nothing is written between these: the loop does not run.
            for _ in range(4):
                client.send(b"x" * 300)
            assert "slow client" in client.cut_because
            client.send(b"into the void")
            assert client.waiting_bytes == 0
            assert (await slow.receive()).type in {WSMsgType.CLOSED, WSMsgType.ERROR}
            await good.send_str("still here")
            assert await good.receive_str() == "still here"


async def test_refuses_too_many_websockets_only_where_told_to(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """With HTTP 429 at the handshake; by default whoever tests may open what he likes."""
    path = running.rest_url + "/ws"
    free = [await web_client.ws_connect(path) for _ in range(5)]
    running.server.connects = Connects(ConnectLimit(1, 60.0))
    first = await web_client.ws_connect(path)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await web_client.ws_connect(path)

    assert refusal.value.status == 429
    assert running.server.connects.refused == 1
    assert len(running.server.clients) == len([*free, first])
    for socket in (*free, first):
        await socket.close()


async def test_cut_clients_drops_all(running: Serving, web_client: aiohttp.ClientSession) -> None:
    """As a network fault does."""
    async with web_client.ws_connect(running.ws_url + "/ws") as socket:
        await socket.receive_json()
        assert running.server.cut_clients("fault") == 1
        await socket.receive()
        assert socket.closed


async def test_ping_reaches_the_client(
    running: Serving, web_client: aiohttp.ClientSession
) -> None:
    """Protocol pings."""
    async with web_client.ws_connect(running.ws_url + "/ws", autoping=False) as socket:
        await socket.receive_json()
        next(iter(running.server.clients)).ping()
        assert (await socket.receive()).type is WSMsgType.PING


async def test_failing_handler_ends_only_its_connection(
    running: Serving, web_client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged with its traceback."""
    async with web_client.ws_connect(running.ws_url + "/ws") as socket:
        await socket.receive_json()
        await socket.send_str("break")
        await socket.receive()
        assert socket.closed
    assert "RuntimeError" in caplog.text
    async with web_client.get(running.rest_url + "/hello") as answer:
        assert answer.status == 201


async def test_failing_pump_is_told_by_wait() -> None:
    """Nothing is swallowed."""
    server = make_server()
    server.fails = True
    found = await start(server)
    with pytest.raises(RuntimeError, match="the pump broke"):
        await found.wait()
    await found.stop()


async def test_pump_runs_again_and_again(running: Serving) -> None:
    """On its own timer."""
    server = running.server
    assert isinstance(server, EchoServer)
    await eventually(lambda: server.pumps >= 2)


async def test_topics_fan_out_once_per_client() -> None:
    """Joining twice is joining once; leaving the last one ends the topic."""
    sent: list[tuple[str, bytes]] = []

    class Listener:
        def __init__(self, name: str) -> None:
            self.name = name

        def send(self, data: bytes) -> None:
            sent.append((self.name, data))

    first: Any = Listener("first")
    second: Any = Listener("second")
    topics = Topics()
    for listener in (first, first, second):
        topics.join("book", listener)
    topics.join("trades", first)
    topics.send("book", b"1")
    topics.send("nothing", b"2")
    assert sent == [("first", b"1"), ("second", b"1")]
    assert topics.listeners("book") == (first, second)
    assert set(topics.topics()) == {"book", "trades"}
    topics.leave_all(first)
    assert "trades" not in topics
    assert "book" in topics
    topics.leave("book", second)
    topics.leave("book", second)
    assert "book" not in topics


def test_encode_is_compact_json() -> None:
    """As venues send it."""
    assert (
        encode({"a": [1, "x", None, True]})
        == json.dumps({"a": [1, "x", None, True]}, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize("venue", venues())
def test_every_venue_has_a_server(venue: str) -> None:
    """With a profile of its name and contracts of its settle currency."""
    found = server_class(venue)
    assert found.venue == found.profile().name == venue
    assert {contract.settle for contract in found.contracts()} == {found.profile().settle}


def test_unknown_venue_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(ConfigError, match="venue was 'nowhere', one of binance, "):
        server_class("nowhere")
