"""Venues count the websockets that one address opens; each adapter keeps to it on all of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from functools import partial

import aiohttp
import pytest

from perpbot.app.venues import make_venue
from perpbot.domain.events import Event
from perpbot.kernel.clock import SECOND, RealClock, VirtualTime
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.registry import server_class
from perpbot.simulation.wire.server import VenueServer, serving
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.websocket import Connection, WebSocketChannel
from tests.venues.sink import Sink
from tests.venues.waiting import until

CHANNELS = 5


def served(venue: str, now_ns: Callable[[], int]) -> VenueServer:
    """Return a server with an account of 1000 USDT and USDC."""
    kind = server_class(venue)
    exchange = Exchange(kind.profile(), kind.contracts(), now_ns, Accountant())
    exchange.open_account("client", {"USDT": Decimal(1_000), "USDC": Decimal(1_000)})
    return kind(exchange, now_ns, random.Random(7))


@contextlib.asynccontextmanager
async def channels(url: str, dials: Dials | None) -> AsyncIterator[Sequence[WebSocketChannel]]:
    """Run channels of one address that dial again almost at once."""

    async def address() -> str:
        return url

    async def opened(_connection: Connection) -> None:
        return None

    made = [
        WebSocketChannel(
            venue="okx",
            name=f"channel {number}",
            url=address,
            on_open=opened,
            on_text=lambda _data, _at: None,
            on_down=lambda _reason: None,
            clock=RealClock(),
            rng=random.Random(number),
            silence_s=60.0,
            backoff_base_s=0.001,
            backoff_cap_s=0.005,
            dials=dials,
        )
        for number in range(CHANNELS)
    ]
    tasks = [asyncio.create_task(channel.run()) for channel in made]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _have_lost(made: Sequence[WebSocketChannel], times: int) -> bool:
    return sum(channel.statistics().losses for channel in made) == times


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
async def test_a_storm_of_all_channels_comes_back(*, keeps: bool) -> None:
    """Cut again and again, all stand again; none was refused, unless nobody kept the limit."""
    time = VirtualTime()
    server = served("okx", time.now_ns)
    dials = Dials(3, 1.0, clock=time, timers=time) if keeps else None
    lost = 0
    async with (
        serving(server) as running,
        channels(f"{running.ws_url}/ws/v5/public", dials) as made,
    ):
        for storm in range(1, 5):
            # As many as fit into one window, and while time stands still no more.
            await until(lambda: sum(channel.is_up for channel in made) == 3)
            await until(lambda: keeps or server.connects.refused)
            time.run_until(time.monotonic_ns() + 2 * SECOND)
            await until(lambda: all(channel.is_up for channel in made))
            assert [channel.statistics().connects for channel in made] == [storm] * CHANNELS
            time.run_until(time.monotonic_ns() + 2 * SECOND)
            lost += server.cut_clients("a storm")
            await until(partial(_have_lost, made, lost))

    assert (server.connects.refused == 0) is keeps


async def test_okx_refuses_the_fourth_within_a_second() -> None:
    """With HTTP 429 at the handshake, whatever the path; a second later there is room again."""
    now_ns = 1_795_000_000_000_000_000
    server = served("okx", lambda: now_ns)
    async with serving(server) as running, aiohttp.ClientSession() as session:
        paths = [f"{running.ws_url}/ws/v5/{kind}" for kind in ("public", "private", "business")]
        let_in = [await session.ws_connect(path) for path in paths]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(paths[0])
        assert refusal.value.status == 429
        assert len(server.clients) == len(let_in)
        now_ns += 1_000_000_000
        let_in.append(await session.ws_connect(paths[0]))
        assert len(server.clients) == len(let_in)
        for socket in let_in:
            await socket.close()


@pytest.mark.parametrize(("venue", "sockets"), [("binance", 4), ("hyperliquid", 2), ("okx", 2)])
async def test_every_socket_asks_the_same_leave(
    venue: str, sockets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public or private: one count for the address, as the venue has it."""
    asked: list[Dials] = []
    leave = Dials.leave

    async def noted(dials: Dials) -> None:
        asked.append(dials)
        await leave(dials)

    monkeypatch.setattr(Dials, "leave", noted)
    server = served(venue, RealClock().now_ns)
    heard: list[Event] = []
    async with serving(server) as running:
        adapter = make_venue(
            venue,
            VenueConnection(rest_url=running.rest_url, ws_url=running.ws_url),
            server.credentials(),
            RealClock(),
            random.Random(1),
        )
        instruments = list(await adapter.market_data.instruments())[:1]
        await adapter.open(instruments)
        tasks = [
            asyncio.create_task(adapter.market_data.run(instruments, Sink(venue))),
            asyncio.create_task(adapter.account.run(heard.append)),
        ]
        await until(lambda: len(server.clients) == sockets)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await adapter.close()

    assert len(asked) == sockets
    assert len(set(map(id, asked))) == 1
