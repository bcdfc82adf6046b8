"""OKX's server: the public websocket."""

from __future__ import annotations

import aiohttp
import pytest

from perpbot.domain.sides import Side
from tests.unit.simulation.wire.okx.rig import BTC, SECOND, D, Rig


async def test_ping_and_unreadable_frames(rig: Rig) -> None:
    """Text pong; a bad frame comes back inside an error 60012."""
    sock = await rig.socket()
    await sock.settled()
    for frame in ("{nope", "[]", '{"op":"subscribe"}', '{"op":"fly","args":[{}]}'):
        error = await sock.ask(frame)
        assert (error["event"], error["code"]) == ("error", "60012")
        assert frame in error["msg"]
    error = await sock.ask({"id": "5", "op": "subscribe", "args": ["books"]})
    assert (error["code"], error["id"]) == ("60012", "5")


@pytest.mark.parametrize(
    "arg",
    [
        {"channel": "dreams", "instId": BTC},
        {"channel": "books", "instId": "NOPE"},
        {"channel": "instruments", "instType": "SPOT"},
        {"channel": "orders", "instType": "SWAP"},
    ],
    ids=["channel", "instrument", "kind", "private"],
)
async def test_what_does_not_exist_is_60018(rig: Rig, arg: dict[str, str]) -> None:
    """Unknown channels and instruments, and private channels on the public path."""
    sock = await rig.socket()
    error = await sock.ask({"id": "1", "op": "subscribe", "args": [arg]})
    assert (error["event"], error["code"], error["id"]) == ("error", "60018", "1")


async def test_bbo_is_told_when_the_best_changes_at_most_each_10_ms(rig: Rig) -> None:
    """Snapshot first; depth behind the best is silent; a burst becomes one frame."""
    sock = await rig.socket()
    answer = await sock.subscribe("bbo-tbt", instId=BTC)
    assert answer["arg"] == {"channel": "bbo-tbt", "instId": BTC}
    first = await sock.next()
    assert first["arg"] == answer["arg"]
    assert first["data"][0]["bids"] == [["100", "500", "0", "1"]]
    rig.quote("100.0x5 99.8x3", "100.1x4 100.2x6")
    await sock.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await sock.next())["data"][0]["bids"][0][1] == "600"
    rig.quote("100.0x7", "100.1x4")
    rig.quote("100.0x8", "100.1x4")
    await sock.settled()
    rig.now_ns += 10_000_000
    assert (await sock.next())["data"][0]["bids"][0][1] == "800"
    await sock.send({"op": "unsubscribe", "args": [{"channel": "bbo-tbt", "instId": BTC}]})
    assert (await sock.next())["event"] == "unsubscribe"
    assert list(rig.server.topics.topics()) == []


async def test_books_start_with_a_snapshot_and_chain(rig: Rig) -> None:
    """Each prevSeqId is the last seqId through merged updates; checksum 0; then a keep-alive."""
    sock = await rig.socket()
    await sock.subscribe("books", instId=BTC)
    snapshot = await sock.next()
    assert (snapshot["action"], snapshot["data"][0]["prevSeqId"]) == ("snapshot", -1)
    sequence = snapshot["data"][0]["seqId"]
    rig.quote("100.0x6", "100.1x4 100.2x6")
    update = await sock.next()
    row = update["data"][0]
    assert (update["action"], row["prevSeqId"], row["checksum"]) == ("update", sequence, 0)
    assert row["bids"] == [["100", "600", "0", "1"], ["99.9", "0", "0", "0"]]
    sequence = row["seqId"]
    rig.quote("100.0x7", "100.1x4 100.2x6")
    rig.quote("100.0x7", "100.1x4 100.3x6")
    await sock.settled()
    rig.now_ns += 100_000_000
    row = (await sock.next())["data"][0]
    assert (row["prevSeqId"], row["seqId"]) == (sequence, sequence + 2)
    assert [level[0] for level in row["asks"]] == ["100.2", "100.3"]
    rig.now_ns += 60 * SECOND
    row = (await sock.next())["data"][0]
    assert (row["bids"], row["asks"], row["prevSeqId"]) == ([], [], row["seqId"])


async def test_a_second_book_client_stands_where_the_first_does(rig: Rig) -> None:
    """What waits is sent to the first before the second gets its snapshot."""
    first = await rig.socket()
    await first.subscribe("books", instId=BTC)
    await first.next()
    rig.quote("100.0x6", "100.1x4")
    await first.next()
    rig.quote("100.0x7", "100.1x4")
    second = await rig.socket()
    await second.subscribe("books", instId=BTC)
    snapshot = (await second.next())["data"][0]
    assert (await first.next())["data"][0]["seqId"] == snapshot["seqId"]
    rig.now_ns += 100_000_000
    rig.quote("100.0x8", "100.1x4")
    ends = [(await sock.next())["data"][0]["prevSeqId"] for sock in (first, second)]
    assert ends == [snapshot["seqId"]] * 2


async def test_books_without_snapshot_and_with_a_gap(bare_rig: Rig) -> None:
    """The switch leaves the snapshot out; a lost update shows as a broken chain."""
    sock = await bare_rig.socket()
    await sock.subscribe("books", instId=BTC)
    await sock.settled()
    bare_rig.quote("100.0x6", "100.1x4")
    first = await sock.next()
    assert first["action"] == "update"
    bare_rig.server.streams.lose_update(BTC)
    for size in ("7", "8"):
        bare_rig.now_ns += 100_000_000
        bare_rig.quote(f"100.0x{size}", "100.1x4")
    assert (await sock.next())["data"][0]["prevSeqId"] != first["data"][0]["seqId"]


async def test_other_public_channels(rig: Rig) -> None:
    """books5, tickers, trades, mark-price, funding-rate, index-tickers and instruments."""
    sock = await rig.socket()
    await sock.subscribe("instruments", instType="SWAP")
    assert len((await sock.next())["data"]) == 10
    await sock.subscribe("books5", instId=BTC)
    assert len((await sock.next())["data"][0]["bids"]) == 2
    await sock.subscribe("trades", instId=BTC)
    rig.exchange.take(BTC, Side.SELL, D("0.02"))
    frames = [await sock.next(), await sock.next()]
    by_channel = {frame["arg"]["channel"]: frame["data"][0] for frame in frames}
    assert (by_channel["trades"]["sz"], by_channel["trades"]["side"]) == ("2", "sell")
    assert by_channel["books5"]["bids"][0] == ["100", "498", "0", "1"]
    for channel, name in (
        ("tickers", BTC),
        ("mark-price", BTC),
        ("funding-rate", BTC),
        ("index-tickers", "BTC-USDT"),
    ):
        await sock.subscribe(channel, instId=name)
        assert (await sock.next())["arg"] == {"channel": channel, "instId": name}
    rig.mark("101", rate="0.0007")
    frames = [await sock.next() for _ in range(3)]
    by_channel = {frame["arg"]["channel"]: frame["data"][0] for frame in frames}
    assert by_channel["mark-price"]["markPx"] == "101"
    assert by_channel["funding-rate"]["fundingRate"] == "0.0007"
    assert by_channel["index-tickers"]["idxPx"] == "101"


async def test_a_silent_connection_is_closed_after_30_s(rig: Rig) -> None:
    """A pong counts as a push."""
    sock = await rig.socket()
    rig.now_ns += 29 * SECOND
    await sock.settled()
    rig.now_ns += 29 * SECOND
    await sock.settled()
    rig.now_ns += 31 * SECOND
    message = await sock.raw()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4004)


async def test_an_upgrade_is_announced(rig: Rig) -> None:
    """Notice 64008 before the venue closes."""
    sock = await rig.socket()
    await sock.settled()
    rig.server.notify_upgrade()
    notice = await sock.next()
    assert (notice["event"], notice["code"]) == ("notice", "64008")


async def test_a_dead_client_leaves_the_others_alone(rig: Rig) -> None:
    """A client that vanishes is forgotten; the others keep their stream."""
    dead, alive = await rig.socket(), await rig.socket()
    for sock in (dead, alive):
        await sock.subscribe("bbo-tbt", instId=BTC)
        await sock.next()
    assert dead.socket._response.connection is not None
    assert dead.socket._response.connection.transport is not None
    dead.socket._response.connection.transport.abort()
    for _ in range(100):
        if len(rig.server.clients) == 1:
            break
        await alive.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await alive.next())["data"][0]["bids"][0][1] == "600"
    assert len(list(rig.server.topics.listeners(f"bbo-tbt:{BTC}"))) == 1
