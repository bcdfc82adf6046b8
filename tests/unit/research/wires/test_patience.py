from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from perpbot.research.chaos.wires.patience import Patience
from perpbot.simulation.virtual.loop import new_loop
from perpbot.simulation.virtual.network import Network
from perpbot.simulation.virtual.pipes import MS, CalmWeather, Carriage, Link

NAME, ADDRESS, PORT = "okx.test", "10.0.0.1", 443
ORDER = "POST /order"
PAUSE_NS = 1_000 * MS


class Weather(CalmWeather):
    """Ten milliseconds each way, unless a test says otherwise."""

    def __init__(self) -> None:
        self.up = Carriage(delay_ns=10 * MS)
        self.down = Carriage(delay_ns=10 * MS)

    def carry(self, link: Link, size: int, *, up: bool) -> Carriage:
        return self.up if up else self.down


class Shop:
    """A venue that checks every call, and refuses where it is told to."""

    def __init__(self) -> None:
        self.loop = new_loop(random.Random(1))
        self.weather = Weather()
        self.network = Network(self.loop, self.weather)
        self.network.names[NAME] = ADDRESS
        self.violations: list[str] = []
        self.patience = Patience("okx", self.loop.now_ns, self.violations.append)
        self.refuses = False

    def run(self, work: Callable[[Shop], Coroutine[Any, Any, None]]) -> list[str]:
        """Run a test's work; return what was violated."""

        async def all_of_it() -> None:
            await self.loop.create_server(lambda: Counter(self), ADDRESS, PORT)
            await work(self)

        self.loop.run_until_complete(all_of_it())
        assert self.loop.errors == []
        return self.violations

    async def connect(self) -> asyncio.Transport:
        """Return the node's end of a connection."""
        transport, _ = await self.loop.create_connection(asyncio.Protocol, NAME, PORT)
        assert isinstance(transport, asyncio.Transport)
        return transport


class Counter(asyncio.Protocol):
    """Takes calls: their words are what they ask for."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        link = self.transport.link
        self.shop.patience.called(data.decode(), link)
        if self.shop.refuses:
            self.shop.patience.refused(data.decode(), self.shop.loop.now_ns() + PAUSE_NS, link)
        self.transport.write(b"429")


async def refused(shop: Shop) -> asyncio.Transport:
    """Ask, and be refused; return the connection after the answer had its time."""
    transport = await shop.connect()
    shop.refuses = True
    transport.write(ORDER.encode())
    await asyncio.sleep(0.1)
    shop.refuses = False
    shop.weather.down = Carriage(delay_ns=10 * MS)
    return transport


def test_who_heard_a_refusal_waits() -> None:
    """A call that leaves before the time is a violation, and says by how much."""

    async def work(shop: Shop) -> None:
        transport = await refused(shop)
        transport.write(ORDER.encode())
        await asyncio.sleep(2)
        transport.write(ORDER.encode())
        await asyncio.sleep(0.1)

    # Refused after 10 ms on the way, called 100 ms after the first call left.
    assert Shop().run(work) == ["B9 okx was called 910 ms before Retry-After was over"]


@pytest.mark.parametrize(
    "down",
    [Carriage(lost=True), Carriage(reset_after=1), Carriage(delay_ns=200 * MS)],
    ids=["lost", "cut off", "on its way"],
)
def test_a_refusal_that_nobody_heard_binds_nobody(down: Carriage) -> None:
    """The answer was lost, or is not there yet: the node asks again, and may."""

    async def work(shop: Shop) -> None:
        shop.weather.down = down
        await refused(shop)
        again = await shop.connect()
        again.write(ORDER.encode())
        await asyncio.sleep(0.05)

    assert Shop().run(work) == []


def test_who_hung_up_heard_nothing() -> None:
    """The node gave up waiting before the answer came."""

    async def work(shop: Shop) -> None:
        shop.weather.down = Carriage(delay_ns=80 * MS)
        transport = await shop.connect()
        shop.refuses = True
        transport.write(ORDER.encode())
        await asyncio.sleep(0.05)
        transport.close()
        shop.refuses = False
        await asyncio.sleep(0.1)
        again = await shop.connect()
        again.write(ORDER.encode())
        await asyncio.sleep(0.1)

    assert Shop().run(work) == []


def test_a_call_counts_from_when_it_left() -> None:
    """However long it was on its way, and however soon the refusal arrived meanwhile."""

    async def work(shop: Shop) -> None:
        other = await shop.connect()
        shop.weather.up = Carriage(delay_ns=500 * MS)
        other.write(ORDER.encode())
        shop.weather.up = Carriage(delay_ns=10 * MS)
        await refused(shop)
        await asyncio.sleep(0.6)

    assert Shop().run(work) == []


def test_a_refusal_in_pieces_is_heard_with_the_last() -> None:
    """What leaves between the first and the last piece is no violation."""

    async def work(shop: Shop) -> None:
        shop.weather.down = Carriage(delay_ns=10 * MS, pieces=3, spread_ns=400 * MS)
        transport = await refused(shop)
        other = await shop.connect()
        other.write(ORDER.encode())
        await asyncio.sleep(0.5)
        assert shop.violations == []
        transport.write(ORDER.encode())
        await asyncio.sleep(0.1)
        assert len(shop.violations) == 1

    Shop().run(work)


def test_a_shorter_refusal_does_not_open_what_a_longer_one_closed() -> None:
    """The latest time that was heard holds; other paths and other nodes are free."""

    async def work(shop: Shop) -> None:
        transport = await refused(shop)
        link = transport.link  # type: ignore[attr-defined]
        shop.patience.refused(ORDER, shop.loop.now_ns() + MS, link)
        link.server.write(b"429")
        await asyncio.sleep(0.1)
        transport.write(b"GET /order")
        await asyncio.sleep(0.1)
        assert shop.violations == []
        transport.write(ORDER.encode())
        await asyncio.sleep(0.1)
        assert len(shop.violations) == 1
        shop.patience.forget()
        transport.write(ORDER.encode())
        await asyncio.sleep(0.1)
        assert len(shop.violations) == 1

    Shop().run(work)
