"""The public stream over a real socket: recordings, losses, silence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import BookUpdated, TradePrinted, VenueConnectionChanged
from perpbot.venues.wire.limits import Lane
from tests.venues.hyperliquid.loopback import JumpingClock, adapter, at_once, running, serving
from tests.venues.sink import Sink
from tests.venues.waiting import until

BBO = {
    "channel": "bbo",
    "data": {
        "coin": "BTC",
        "time": 1,
        "bbo": [{"px": "65000.0", "sz": "1", "n": 1}, {"px": "65001.0", "sz": "1", "n": 1}],
    },
}


async def test_recorded_frames_pass_without_a_parse_error(shared: Path) -> None:
    """Real frames, as they were, through socket, adapter and slot."""
    path = shared / "recordings/wire/hyperliquid_BTC_20250126.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        frames = [json.loads(line)["m"] for line in lines]
    sink = Sink("hyperliquid")
    async with serving() as loopback, adapter(loopback, keys=False, books=True) as venue:
        loopback.greeting = "Websocket connection established."
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments[:1], sink)):
            await until(lambda: len(loopback.frames) == 4)
            for frame in frames:
                await loopback.send(frame)
            books = [json.loads(frame)["data"] for frame in frames if "l2Book" in frame]
            await until(
                lambda: sum(isinstance(one, BookUpdated) for one in sink.events) == len(books)
            )
    assert not sink.refused
    trades = sum(len(json.loads(frame)["data"]) for frame in frames if '"trades"' in frame)
    assert sum(isinstance(one, TradePrinted) for one in sink.events) == trades
    quotes = sink.slots["BTC"].quotes
    assert len(quotes) == len(books)
    best = books[-1]["levels"]
    assert quotes[-1][0] == float(best[0][0]["px"])
    assert quotes[-1][2] == float(best[1][0]["px"])
    assert quotes[-1][4] == books[-1]["time"] * 1_000_000


async def test_recorded_gap_in_time_is_noticed(shared: Path) -> None:
    """The same frames with one of them late: it is refused, the rest is taken."""
    path = shared / "recordings/wire/hyperliquid_BTC_20250126.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        frames = [json.loads(line)["m"] for line in lines]
    books = [frame for frame in frames if "l2Book" in frame]
    books.append(books.pop(10))
    sink = Sink("hyperliquid")
    async with serving() as loopback, adapter(loopback, keys=False, books=True) as venue:
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments[:1], sink)):
            await until(lambda: len(loopback.frames) == 4)
            for frame in books:
                await loopback.send(frame)
            await until(lambda: sink.refused["time_backwards"])
    assert len(sink.slots["BTC"].quotes) == len(books) - 1


async def test_subscribes_to_every_channel_of_every_coin() -> None:
    """One connection, and no keys needed."""
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments, Sink("hyperliquid"))):
            await until(lambda: len(loopback.frames) == 9)
            assert set(loopback.subscribed()) == {
                (kind, coin)
                for kind in ("bbo", "activeAssetCtx", "trades")
                for coin in ("BTC", "ETH", "kPEPE")
            }


async def test_reconnects_and_subscribes_anew() -> None:
    """A lost connection voids the quotes and comes back by itself."""
    sink = Sink("hyperliquid")
    async with serving() as loopback, adapter(loopback, keys=False, trades=False) as venue:
        at_once(venue)
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments[:1], sink)):
            await until(lambda: loopback.subscribed()[("bbo", "BTC")] == 1)
            await loopback.send(BBO)
            await until(lambda: sink.slots["BTC"].quotes)
            await loopback.drop()
            await until(lambda: loopback.subscribed()[("bbo", "BTC")] == 2)
            assert len(sink.slots["BTC"].invalid) == 1
            told = [one for one in sink.events if isinstance(one, VenueConnectionChanged)]
            assert [one.state.value for one in told] == ["live", "down", "live"]
            await loopback.send(BBO)
            await until(lambda: len(sink.slots["BTC"].quotes) == 2)


async def test_silent_stream_is_subscribed_to_again_then_made_anew() -> None:
    """The socket lives and answers, the data does not come: subscribe, then reconnect."""
    clock = JumpingClock()
    sink = Sink("hyperliquid")
    async with (
        serving() as loopback,
        adapter(loopback, keys=False, trades=False, clock=clock) as venue,
    ):
        venue.market_data._watch_interval_s = 0.001
        at_once(venue)
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments[:1], sink)):
            await until(lambda: len(loopback.frames) == 2)
            clock.jump(4.5)
            await until(lambda: loopback.subscribed("unsubscribe")[("bbo", "BTC")] == 1)
            await until(lambda: loopback.subscribed()[("bbo", "BTC")] == 2)
            assert sink.refused == {"silent_bbo": 1}
            channel = venue.market_data.channel
            assert channel is not None
            assert channel.statistics().connects == 1
            clock.jump(16)
            await until(lambda: channel.statistics().connects == 2)
            assert sink.slots["BTC"].invalid


async def test_quotes_by_rest_for_display() -> None:
    """The book of each coin, in base coins; one that fails is unavailable."""
    levels = [[{"px": "0.012", "sz": "250", "n": 1}], []]
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        loopback.info["l2Book"] = lambda asked: {
            "coin": asked["coin"],
            "time": 7,
            "levels": levels,
        }
        instruments = await venue.market_data.instruments()
        btc, _, pepe = await venue.market_data.poll_quotes(instruments)
        assert btc.bids == ((0.012, 250.0),)
        assert btc.asks == ()
        assert btc.venue_ns == 7_000_000
        assert pepe.bids[0] == pytest.approx((0.000012, 250_000))
        loopback.info["l2Book"] = None
        with pytest.raises(Unavailable, match="l2Book"):
            await venue.market_data.poll_quotes(instruments)


async def test_instruments_that_cannot_be_read_are_unavailable() -> None:
    """Errors, nonsense and impossible entries are never an empty list."""
    odd = {"universe": [{"name": "X", "szDecimals": 30, "maxLeverage": 1}]}
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        for answer in (500, "nonsense", {}, odd):
            loopback.info["meta"] = answer
            with pytest.raises(Unavailable, match="meta"):
                await venue.market_data.instruments()
    with pytest.raises(Unavailable, match="closed"):
        await venue.market_data.instruments()


async def test_refused_for_rate_makes_the_budget_wait() -> None:
    """A 429 is unavailable, and nothing is asked before its time."""
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        loopback.info["meta"] = 429
        with pytest.raises(Unavailable, match="HTTP 429"):
            await venue.market_data.instruments()
        assert venue.budget.statistics().penalties == 1
        assert not venue.budget.try_acquire(Lane.REDUCE, {"weight": 1})
