"""Adapters against exchanges that refuse who opens too many websockets, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from perpbot.app.venues import make_venue
from perpbot.domain.events import Event
from perpbot.kernel.clock import MS
from perpbot.research.chaos.wires.life import wall_ns
from perpbot.research.chaos.wires.stage import WorldClock
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.virtual.fence import fenced
from perpbot.simulation.virtual.loop import new_loop
from perpbot.simulation.virtual.network import Network
from perpbot.simulation.wire.connects import Connects
from perpbot.simulation.wire.hyperliquid.session import Session as HyperliquidSession
from perpbot.simulation.wire.registry import server_class
from perpbot.simulation.wire.server import Client, start
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue
from perpbot.venues.wire.limits import Window
from tests.venues.sink import Sink

ADDRESS, PORT = "10.0.0.1", 443
AT_ONCE_NS = 100 * MS
"""More than a handshake takes here, and less than any wait for a turn."""
NO_LIMIT = Window(name="dials", limit=1_000_000, period_s=1.0)
SOCKETS = {"binance": 4, "hyperliquid": 2, "okx": 2}
"""What one node opens: quotes, marks, private news and orders at Binance; else public, private."""
STORMS = {"binance": 90, "hyperliquid": 20, "okx": 5}
"""So many cuts need more dials than the venue lets in within a period."""


class Hasty(random.Random):
    """Draws the shortest delays: all sockets that were cut ask at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Room:
    """One exchange that refuses, one adapter, and the network between them."""

    def __init__(self, venue: str, dials: Window | None = None) -> None:
        self.loop = new_loop(random.Random(1))
        self.clock = clock = WorldClock(self.loop)
        Network(self.loop).names[f"{venue}.test"] = ADDRESS
        kind = server_class(venue)
        self.exchange = Exchange(kind.profile(), kind.contracts(), clock.now_ns, Accountant())
        self.exchange.open_account(kind.account, {"USDT": Decimal(1_000), "USDC": Decimal(1_000)})
        self.server = kind(self.exchange, clock.now_ns, random.Random(7))
        self.server.connects = self.door = Connects(self.server.connect_limit)
        self.venue = venue
        self._dials = dials
        self.begun_ns = 0
        self._streams: list[asyncio.Task[None]] = []

    def play(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` beside the adapter's streams."""
        with fenced(self.loop, wall_ns(self.clock), random.Random(2)):
            self.loop.run_until_complete(self._play(work))
            self.loop.close()

    async def _play(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        serving = await start(self.server, host=ADDRESS, port=PORT, pump_interval_s=0.1)
        adapter = self._adapter()
        instruments = [
            one for one in await adapter.market_data.instruments() if one.asset == "BTC-PERP"
        ]
        await adapter.open(instruments)
        heard: list[Event] = []
        self.begun_ns = self.clock.now_ns()
        self._streams = [
            asyncio.create_task(adapter.market_data.run(instruments, Sink(self.venue))),
            asyncio.create_task(adapter.account.run(heard.append)),
        ]
        try:
            async with asyncio.timeout(3_600):
                await work()
        finally:
            await self.end_streams()
            await adapter.close()
            await serving.stop()

    def _adapter(self) -> Venue:
        place = f"//{self.venue}.test:{PORT}"
        connection = VenueConnection(
            rest_url="http:" + place, ws_url="ws:" + place, dials=self._dials
        )
        credentials = self.server.credentials()
        return make_venue(self.venue, connection, credentials, self.clock, Hasty(1), books=True)

    async def end_streams(self) -> None:
        """End what the adapter runs."""
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def all_up(self) -> list[Opened]:
        """Wait until every socket stands; return them in the order in which they came."""
        while len(self.server.clients) < SOCKETS[self.venue]:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # Subscriptions tell which are private.
        return [Opened(client.opened_ns, _is_private(client)) for client in self.server.clients]

    async def cut(self, *clients: Client) -> int:
        """Cut sockets as a network fault does; return when, UTC ns."""
        for client in clients:
            client.cut("a storm")
        while any(client in self.server.clients for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return self.clock.now_ns()


class Opened(NamedTuple):
    """A socket that stands."""

    at_ns: int
    private: bool

    def waited(self, since_ns: int) -> bool:
        """Whether it came later than a dial takes."""
        return self.at_ns - since_ns > AT_ONCE_NS


def _is_private(client: Client) -> bool:
    if isinstance(client, HyperliquidSession):
        return any("orderUpdates" in topic for topic in client._topics)
    return "private" in client.request.path or "ws-fapi" in client.request.path


@pytest.mark.parametrize("venue", SOCKETS)
def test_sockets_that_are_cut_together_come_back_unrefused(venue: str) -> None:
    """Again and again, until turns are scarce: private ones first. The start is not delayed."""
    room = Room(venue)

    async def storm() -> None:
        assert not any(one.waited(room.begun_ns) for one in await room.all_up())
        waits = 0
        for _ in range(STORMS[venue]):
            cut_ns = await room.cut(*room.server.clients)
            opened = await room.all_up()
            assert len(opened) == SOCKETS[venue]
            assert sum(one.private for one in opened) == SOCKETS[venue] / 2
            if any(one.waited(cut_ns) for one in opened):
                waits += 1
                last_private_ns = max(one.at_ns for one in opened if one.private)
                first_public_ns = min(one.at_ns for one in opened if not one.private)
                assert last_private_ns <= first_public_ns
        assert waits
        assert room.door.refused == 0

    room.play(storm)


def test_who_does_not_keep_to_it_is_refused() -> None:
    """Where the limit is lifted the same storm meets refusals; what was refused comes back."""
    room = Room("okx", NO_LIMIT)

    async def storm() -> None:
        await room.all_up()
        for _ in range(2):
            await room.cut(*room.server.clients)
            await room.all_up()
        assert room.door.refused

    room.play(storm)


@pytest.mark.parametrize("venue", SOCKETS)
def test_a_lone_reconnect_does_not_wait(venue: str) -> None:
    """One socket after the other is lost, and each is back at once."""
    room = Room(venue)

    async def one_by_one() -> None:
        await room.all_up()
        for _ in range(SOCKETS[venue]):
            await asyncio.sleep(1)
            cut_ns = await room.cut(next(iter(room.server.clients)))
            assert not (await room.all_up())[-1].waited(cut_ns)

    room.play(one_by_one)


@pytest.mark.parametrize("venue", SOCKETS)
def test_what_waits_is_gone_when_its_adapter_is(venue: str) -> None:
    """An adapter is ended while a socket waits for its turn: no dial comes after."""
    room = Room(venue)

    async def storm() -> None:
        await room.all_up()
        for _ in range(STORMS[venue]):
            await room.cut(*room.server.clients)
            await asyncio.sleep(0.1)
            if len(room.server.clients) < SOCKETS[venue]:
                break
        else:
            raise AssertionError("nothing waited")
        await room.end_streams()
        for _ in range(400):
            await asyncio.sleep(1)
            assert not room.server.clients

    room.play(storm)


def test_a_node_opens_two_of_hyperliquids_ten() -> None:
    """However much is watched: at most ten connections of one address may stand there."""
    room = Room("hyperliquid")

    async def count() -> None:
        for _ in range(5):
            assert len(await room.all_up()) == 2
            await room.cut(*room.server.clients)

    room.play(count)
