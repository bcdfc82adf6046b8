"""Hyperliquid's server: the websocket."""

from __future__ import annotations

import random
from typing import Any

import aiohttp
import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.hyperliquid import Server
from perpbot.simulation.wire.hyperliquid.signing import address_of_secret
from tests.unit.simulation.wire.hyperliquid.rig import SECOND, D, Rig, tif, wire


async def test_ping_greeting_and_unreadable_frames(rig: Rig, old_rig: Rig) -> None:
    """A pong; a line of plain text from old servers; errors for what cannot be read."""
    sock = await rig.socket()
    await sock.settled()
    for frame in ("{nope", "[]", '{"method":"fly"}', '{"method":"post","id":"x"}'):
        error = await sock.ask(frame)
        assert error["channel"] == "error"
        assert frame in error["data"]
    old = await old_rig.socket()
    assert (await old.raw()).data == "Websocket connection established."
    await old.settled()


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        {"type": "dreams"},
        {"type": "bbo", "coin": "NOPE"},
        {"type": "bbo"},
        {"type": "orderUpdates"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 3},
    ],
)
async def test_what_does_not_exist_cannot_be_subscribed(rig: Rig, wanted: Any) -> None:
    """An error on its own channel; the connection stays."""
    sock = await rig.socket()
    error = await sock.ask({"method": "subscribe", "subscription": wanted})
    assert error["channel"] == "error"
    assert error["data"].startswith("Invalid subscription")
    await sock.settled()


async def test_subscribing_twice_is_an_error(rig: Rig) -> None:
    """And so is unsubscribing from what one does not listen to."""
    sock = await rig.socket()
    wanted = {"type": "trades", "coin": "BTC"}
    await sock.subscribe("trades", coin="BTC")
    assert (await sock.next())["data"] == []
    again = await sock.ask({"method": "subscribe", "subscription": wanted})
    assert again["data"].startswith("Already subscribed")
    answer = await sock.ask({"method": "unsubscribe", "subscription": wanted})
    assert answer["channel"] == "subscriptionResponse"
    assert list(rig.server.topics.topics()) == []
    again = await sock.ask({"method": "unsubscribe", "subscription": wanted})
    assert again["data"].startswith("Already unsubscribed")


async def test_bbo_is_told_when_the_best_changes(rig: Rig) -> None:
    """The present value first; then changes of the best, merged; an empty side is null."""
    sock = await rig.socket()
    await sock.subscribe("bbo", coin="BTC")
    first = await sock.next()
    assert first["data"]["bbo"] == [
        {"px": "100.0", "sz": "5.0", "n": 1},
        {"px": "100.1", "sz": "4.0", "n": 1},
    ]
    rig.quote("100.0x5 99.8x3", "100.1x4 100.2x6")
    await sock.settled()
    rig.quote("100.0x6", "")
    second = await sock.next()
    assert (second["data"]["bbo"][0]["sz"], second["data"]["bbo"][1]) == ("6.0", None)
    rig.quote("100.0x7", "")
    rig.quote("100.0x8", "")
    other = await rig.socket()
    await other.subscribe("bbo", coin="BTC")
    assert (await other.next())["data"] == (await sock.next())["data"]


async def test_l2book_comes_whole_and_at_most_each_half_second(rig: Rig) -> None:
    """No deltas; a stalled stream is silent while the connection lives."""
    sock = await rig.socket()
    await sock.subscribe("l2Book", coin="BTC")
    assert len((await sock.next())["data"]["levels"][0]) == 2
    rig.quote("100.0x6", "100.1x4")
    assert (await sock.next())["data"]["levels"][0] == [{"px": "100.0", "sz": "6.0", "n": 1}]
    rig.quote("100.0x7", "100.1x4")
    rig.now_ns += 400_000_000
    await sock.settled()
    rig.now_ns += 100_000_000
    assert (await sock.next())["data"]["levels"][0][0]["sz"] == "7.0"
    rig.server.streams.stall("l2Book", "BTC")
    rig.now_ns += SECOND
    rig.quote("100.0x8", "100.1x4")
    await sock.settled()
    rig.server.streams.stall("l2Book", "BTC", stalled=False)
    rig.quote("100.0x9", "100.1x4")
    assert (await sock.next())["data"]["levels"][0][0]["sz"] == "9.0"


async def test_other_market_channels(rig: Rig) -> None:
    """Trades with a snapshot, middles, context, candle."""
    rig.exchange.take("BTC", Side.BUY, D(1))
    sock = await rig.socket()
    await sock.subscribe("trades", coin="BTC")
    assert [row["side"] for row in (await sock.next())["data"]] == ["B"]
    await sock.subscribe("candle", coin="BTC", interval="1m")
    assert (await sock.next())["data"]["n"] == 1
    rig.exchange.take("BTC", Side.SELL, D(1))
    frames = {f["channel"]: f["data"] for f in [await sock.next(), await sock.next()]}
    assert (frames["trades"][0]["side"], frames["candle"]["n"]) == ("A", 2)
    await sock.subscribe("allMids")
    assert (await sock.next())["data"] == {"mids": {"BTC": "100.05"}}
    await sock.subscribe("activeAssetCtx", coin="BTC")
    await sock.next()
    rig.mark("101", rate="0.0007")
    context = (await sock.next())["data"]
    assert (context["coin"], context["ctx"]["funding"], context["ctx"]["markPx"]) == (
        "BTC",
        "0.0007",
        "101.0",
    )


async def test_private_channels_tell_orders_fills_and_funding(rig: Rig) -> None:
    """Snapshots where there are some; the fill comes before the answer that caused it."""
    sock = await rig.socket()
    await sock.subscribe("userFills", user=rig.user)
    snapshot = (await sock.next())["data"]
    assert (snapshot["isSnapshot"], snapshot["fills"]) == (True, [])
    await sock.subscribe("orderUpdates", user=rig.user)
    await sock.subscribe("userEvents", user=rig.user)
    action = {"type": "order", "orders": [wire(p="100.1", **tif("Ioc"))], "grouping": "na"}
    post = {"type": "action", "payload": rig.signed(action)}
    await sock.send({"method": "post", "id": 5, "request": post})
    frames = [await sock.next() for _ in range(5)]
    assert [f["channel"] for f in frames] == [
        "orderUpdates",
        "userFills",
        "user",
        "orderUpdates",
        "post",
    ]
    assert "isSnapshot" not in frames[1]["data"]
    assert frames[2]["data"]["fills"] == frames[1]["data"]["fills"]
    row = frames[3]["data"][0]
    assert (row["status"], row["order"]["sz"], row["order"]["origSz"]) == ("filled", "0.0", "1.0")
    answer = frames[4]["data"]
    assert (answer["id"], answer["response"]["type"]) == (5, "action")
    assert answer["response"]["payload"]["status"] == "ok"
    await sock.subscribe("userFundings", user=rig.user)
    assert (await sock.next())["data"]["fundings"] == []
    rig.mark("100", rate="0.001")
    rig.exchange.settle_funding("BTC")
    frames = [await sock.next(), await sock.next()]
    assert frames[0]["data"]["funding"]["usdc"] == "-0.1"
    assert frames[1]["data"]["fundings"][0]["szi"] == "1.0"


async def test_state_channels_follow_the_account(rig: Rig) -> None:
    """clearinghouseState, openOrders, activeAssetData, webData2 and the empty spot state."""
    sock = await rig.socket()
    for kind in ("clearinghouseState", "openOrders", "webData2", "spotState"):
        await sock.subscribe(kind, user=rig.user)
        assert (await sock.next())["channel"] == kind
    await sock.subscribe("activeAssetData", user=rig.user, coin="BTC")
    data = (await sock.next())["data"]
    assert (data["leverage"]["value"], data["availableToTrade"][0]) == (10, "10000.0")
    await rig.place(wire(p="100.1", **tif("Ioc")), wire())
    seen: dict[str, Any] = {}
    while len(seen) < 4:
        frame = await sock.next()
        seen[frame["channel"]] = frame["data"]
        rig.now_ns += 200_000_000
    assert sorted(seen) == ["activeAssetData", "clearinghouseState", "openOrders", "webData2"]
    positions = seen["clearinghouseState"]["clearinghouseState"]["assetPositions"]
    assert positions[0]["position"]["szi"] == "1.0"


async def test_posts_answer_queries_and_errors(rig: Rig) -> None:
    """An info has its type inside; what cannot be read is an error with the id."""
    sock = await rig.socket()
    request: Any = {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}
    answer = (await sock.ask({"method": "post", "id": 1, "request": request}))["data"]
    assert (answer["id"], answer["response"]["type"]) == (1, "info")
    assert answer["response"]["payload"]["type"] == "l2Book"
    assert answer["response"]["payload"]["data"]["coin"] == "BTC"
    for request in (None, {"type": "x"}, {"type": "action", "payload": {}}, {"type": "info"}):
        answer = (await sock.ask({"method": "post", "id": 2, "request": request}))["data"]
        assert (answer["id"], answer["response"]["type"]) == (2, "error")


async def test_a_silent_connection_is_closed_after_60_s(rig: Rig) -> None:
    """A pong counts as a message."""
    sock = await rig.socket()
    rig.now_ns += 59 * SECOND
    await sock.settled()
    rig.now_ns += 59 * SECOND
    await sock.settled()
    rig.now_ns += 61 * SECOND
    assert (await sock.raw()).type is aiohttp.WSMsgType.CLOSE


async def test_a_dead_client_leaves_the_others_alone(rig: Rig) -> None:
    """A client that vanishes is forgotten; the others keep their stream."""
    dead, alive = await rig.socket(), await rig.socket()
    for sock in (dead, alive):
        await sock.subscribe("bbo", coin="BTC")
        await sock.next()
    connection = dead.socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    for _ in range(100):
        if len(rig.server.clients) == 1:
            break
        await alive.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await alive.next())["data"]["bbo"][0]["sz"] == "6.0"
    assert len(list(rig.server.topics.listeners("bbo|BTC"))) == 1


def test_credentials_are_made_from_the_seed() -> None:
    """A master's address and another key, that of its agent; the same seed gives the same."""
    made = [Server.make_credentials(random.Random(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert sorted(made[0]) == ["account_address", "private_key"]
    assert address_of_secret(made[0]["private_key"]) != made[0]["account_address"]
    assert len(Server.contracts()) == 10
    assert Server.profile().name == Server.venue == "hyperliquid"
