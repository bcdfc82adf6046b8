"""Binance's server: public streams."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.binance.server import MAX_CONNECTION_NS, PING_EVERY_NS
from tests.unit.simulation.wire.binance.rig import ORDER
from tests.unit.simulation.wire.binance.world import SYMBOL, World


async def test_book_ticker_is_told_when_it_changes(world: World) -> None:
    """At once, with the update id of the book; deeper changes are silent."""
    async with world.socket("/public/ws") as socket:
        await socket.subscribe("btcusdt@bookTicker")
        world.quote("99998")
        frame = await socket.next()
        book = world.exchange.book(SYMBOL, 1)
        assert (frame["e"], frame["b"], frame["a"], frame["u"]) == (
            "bookTicker",
            "99998",
            "100001",
            book.sequence,
        )
        await world.ok("POST", ORDER, **world.limit())
        await socket.is_silent()
        world.exchange.quote(SYMBOL, [], [])
        await socket.is_silent()


async def test_depth_is_a_chain_that_meets_the_snapshot(world: World) -> None:
    """Each pu is the u before; the snapshot lies inside; applied, the books agree."""
    async with world.socket("/public/stream?streams=btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        frames: list[Any] = []
        for step in range(3):
            world.quote(str(99_990 + step), size=str(step + 1))
            world.quote(str(99_995 + step), size=str(step + 2))
            if step == 0:
                snapshot = await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
            world.now_ms += 100
            message = await socket.next()
            assert message["stream"] == "btcusdt@depth@100ms"
            frames.append(message["data"])
        first = frames[0]
        assert first["U"] <= snapshot["lastUpdateId"] <= first["u"]
        assert [frame["pu"] for frame in frames[1:]] == [frame["u"] for frame in frames[:-1]]
        assert all(frame["U"] <= frame["u"] for frame in frames)
        for side, name in (("b", "bids"), ("a", "asks")):
            book[side].update(dict(snapshot[name]))
            for frame in frames:
                book[side].update(dict(frame[side]))
        found = await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
        for side, name in (("b", "bids"), ("a", "asks")):
            assert {k: v for k, v in book[side].items() if v != "0"} == dict(found[name])


async def test_partial_depth_tells_the_best_levels(world: World) -> None:
    """Five levels, whole."""
    async with world.socket("/public/ws/btcusdt@depth5@500ms") as socket:
        await socket.is_silent()
        world.quote("99998")
        world.now_ms += 500
        frame = await socket.next()
        assert frame["b"] == [["99998", "5"], ["99988", "50"]]


async def test_lost_depth_frame_breaks_the_chain(world: World) -> None:
    """The fault that book keepers must notice."""
    async with world.socket("/public/ws/btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        world.quote("99990")
        world.now_ms += 100
        before = await socket.next()
        world.server.lose_depth(SYMBOL)
        world.quote("99991")
        world.now_ms += 100
        world.server.pump()
        world.quote("99992")
        world.now_ms += 100
        after = await socket.next()
        assert after["pu"] > before["u"]


async def test_trades_are_told_on_both_routes(world: World) -> None:
    """Single ones on /public, aggregated on /market; m says that the buyer was the maker."""
    async with (
        world.socket("/public/ws/btcusdt@trade") as public,
        world.socket("/market/ws/btcusdt@aggTrade") as market,
    ):
        await public.is_silent()
        await market.is_silent()
        world.outsider(Side.SELL, "1")
        trade, agg = await public.next(), await market.next()
        assert (trade["e"], trade["p"], trade["m"]) == ("trade", "99999", True)
        assert (agg["e"], agg["q"], agg["a"]) == ("aggTrade", "1", trade["t"])


async def test_streams_of_the_market_route(world: World) -> None:
    """Marks of one and of all, the day's ticker, candles: told by the clock."""
    world.outsider(Side.BUY, "1")
    names = ["btcusdt@markPrice@1s", "!markPrice@arr@1s", "btcusdt@ticker", "btcusdt@kline_1m"]
    async with world.socket("/market/stream") as socket:
        await socket.subscribe(*names)
        world.now_ms += 1_000
        told: dict[str, Any] = {}
        while len(told) < len(names):
            message = await socket.next()
            told[message["stream"]] = message["data"]
        assert told[names[0]]["r"] == "0.00010000"
        assert len(told[names[1]]) == 10
        assert told[names[2]]["c"] == "100001"
        assert told[names[3]]["k"]["n"] == 1


async def test_all_book_tickers(world: World) -> None:
    """One name for all symbols."""
    async with world.socket("/public/ws/!bookTicker") as socket:
        await socket.is_silent()
        world.exchange.quote(
            "ETHUSDT", [(Decimal(3000), Decimal(1))], [(Decimal(3001), Decimal(1))]
        )
        assert (await socket.next())["s"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("/market", "btcusdt@bookTicker"),
        ("/public", "btcusdt@markPrice@1s"),
        ("", "btcusdt@aggTrade"),
        ("/public", "nopeusdt@bookTicker"),
        ("/public", "btcusdt@nothing"),
        ("/market", "btcusdt@kline_7m"),
    ],
)
async def test_wrong_route_is_acknowledged_and_silent(world: World, route: str, name: str) -> None:
    """As the venue does since the split."""
    async with world.socket(f"{route}/ws") as socket:
        await socket.subscribe(name)
        world.quote("99990")
        world.outsider(Side.BUY, "1")
        world.now_ms += 5_000
        world.server.pump()
        reply = await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 5})
        assert reply == {"result": [name], "id": 5}


async def test_old_route_serves_public_streams(world: World) -> None:
    """Without a category."""
    async with world.socket("/ws/btcusdt@bookTicker") as socket:
        await socket.is_silent()
        world.quote("99990")
        assert (await socket.next())["b"] == "99990"


async def test_unsubscribe_ends_a_stream(world: World) -> None:
    """And the last listener ends its making."""
    async with world.socket("/public/ws") as socket:
        await socket.subscribe("btcusdt@depth@100ms", "btcusdt@bookTicker")
        reply = await socket.ask(
            {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 2}
        )
        assert reply == {"result": None, "id": 2}
        world.quote("99990")
        world.now_ms += 1_000
        world.server.pump()
        assert (await socket.next())["e"] == "bookTicker"
        await socket.is_silent()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ({"method": "SUBSCRIBE", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2),
        ({"method": "JUMP", "params": [], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [f"x{n}@trade" for n in range(1025)], "id": 1}, 4),
    ],
    ids=["not json", "not an object", "no params", "not names", "unknown method", "too many"],
)
async def test_bad_stream_requests(world: World, message: object, code: int) -> None:
    """An error reply; the connection lives."""
    async with world.socket("/public/ws") as socket:
        assert (await socket.ask(message))["error"]["code"] == code
        await socket.is_silent()


async def test_too_many_messages_end_the_connection(world: World) -> None:
    """Ten a second."""
    async with world.socket("/public/ws") as socket:
        for _ in range(10):
            await socket.is_silent()
        await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert (await socket.socket.receive()).type is not aiohttp.WSMsgType.TEXT


async def test_pings_and_the_24_hour_cut(world: World) -> None:
    """A ping every three minutes; after a day the connection ends."""
    url = world.serving.ws_url + "/public/ws"
    async with world.web.ws_connect(url, autoping=False) as socket:
        await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        await socket.receive()
        world.now_ms += PING_EVERY_NS // 1_000_000
        world.server.pump()
        assert (await socket.receive()).type is aiohttp.WSMsgType.PING
        world.now_ms += MAX_CONNECTION_NS // 1_000_000
        world.server.pump()
        assert (await socket.receive()).type in {
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        }


async def test_dead_stream_client_leaves_nothing(world: World) -> None:
    """News after its end meets nobody."""
    async with world.socket("/public/ws/btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        connection = socket.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        async with asyncio.timeout(20):
            while world.server.clients:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
    world.quote("99990")
    world.now_ms += 100
    world.server.pump()
