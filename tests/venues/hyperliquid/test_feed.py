"""The read path: frames into slots and events, and what it notices by itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from perpbot.domain.events import BookUpdated, FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.hyperliquid.feed import MarketStream
from perpbot.venues.hyperliquid.universe import Meta, Universe
from tests.venues.hyperliquid.loopback import META
from tests.venues.sink import Sink

T = 1_795_225_400_456


class Bench:
    """A stream over BTC and kPEPE in virtual time."""

    def __init__(self, *, books: bool = False) -> None:
        self.clock = VirtualTime(T * 1_000_000)
        self.sink = Sink("hyperliquid")
        tradable = Universe().replace(msgspec.convert(META, Meta))
        self.stream = MarketStream(
            [one for one in tradable if one.symbol in {"BTC", "kPEPE"}],
            self.sink,
            self.clock,
            books=books,
        )

    def tell(self, channel: str, data: Any) -> None:
        self.tell_text(json.dumps({"channel": channel, "data": data}).encode())

    def tell_text(self, payload: bytes) -> None:
        self.stream.read(memoryview(payload), self.clock.monotonic_ns())

    def quote(self, time_ms: int, coin: str = "BTC") -> None:
        sides = [level("65000.0", "1.2"), level("65001.0", "0.4")]
        self.tell("bbo", {"coin": coin, "time": time_ms, "bbo": sides})

    def quotes(self, coin: str = "BTC") -> list[tuple[float, ...]]:
        """Return the quotes that came, without the time at which we received them."""
        return [quote[:5] for quote in self.sink.slots[coin].quotes]

    def wait(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now_ns() + int(seconds * SECOND))


def level(price: str, size: str) -> dict[str, Any]:
    """Return a level as the wire writes it."""
    return {"px": price, "sz": size, "n": 3}


@pytest.fixture
def bench() -> Bench:
    """A stream over BTC and kPEPE."""
    return Bench()


def test_best_prices_go_into_the_slot(bench: Bench) -> None:
    """Both sides, in base coins, with the venue's time."""
    bench.quote(T)
    assert bench.quotes() == [(65000.0, 1.2, 65001.0, 0.4, T * 1_000_000)]


def test_missing_side_is_zero(bench: Bench) -> None:
    """A side without orders is 0.0, for the engine to refuse."""
    bench.tell("bbo", {"coin": "BTC", "time": T, "bbo": [None, level("65001", "1")]})
    bench.tell("bbo", {"coin": "BTC", "time": T, "bbo": [level("65000", "1"), None]})
    assert bench.quotes() == [
        (0.0, 0.0, 65001.0, 1.0, T * 1_000_000),
        (65000.0, 1.0, 0.0, 0.0, T * 1_000_000),
    ]


def test_thousands_are_scaled(bench: Bench) -> None:
    """A name in thousands comes out in coins everywhere."""
    sides = [level("0.012", "250"), level("0.013", "10")]
    bench.tell("bbo", {"coin": "kPEPE", "time": T, "bbo": sides})
    assert bench.sink.slots["kPEPE"].quotes[0][:4] == pytest.approx(
        (0.000012, 250_000, 0.000013, 10_000)
    )
    trade = {"coin": "kPEPE", "side": "A", "px": "0.012", "sz": "5", "time": T, "tid": 9}
    bench.tell("trades", [trade])
    (event,) = bench.sink.events
    assert isinstance(event, TradePrinted)
    assert event.asset == "PEPE-PERP"
    assert event.side is Side.SELL
    assert (event.price, event.size) == pytest.approx((0.000012, 5000))


def test_context_gives_mark_and_hourly_funding(bench: Bench) -> None:
    """Mark, oracle and the rate of the coming full hour."""
    context = {
        "funding": "0.0000125",
        "markPx": "65010.0",
        "oraclePx": "65005.0",
        "midPx": None,
        "openInterest": "1",
    }
    bench.tell("activeAssetCtx", {"coin": "BTC", "ctx": context})
    mark, funding = bench.sink.events
    assert isinstance(mark, MarkUpdated)
    assert (mark.mark, mark.index) == (65010.0, 65005.0)
    assert isinstance(funding, FundingRateUpdated)
    assert (funding.rate, funding.interval_s) == (0.0000125, 3600)
    assert funding.next_ns % (3600 * SECOND) == 0
    assert 0 < funding.next_ns - bench.clock.now_ns() <= 3600 * SECOND


def book(time_ms: int, bid: str = "64999.0") -> dict[str, Any]:
    """Return a full book of two bids and one ask."""
    levels = [[level(bid, "1"), level("64990", "2")], [level("65002.0", "3")]]
    return {"coin": "BTC", "time": time_ms, "levels": levels}


def test_book_is_published_in_full_and_quotes_when_newest(bench: Bench) -> None:
    """A book as new as the last best price is one; an older one is only depth."""
    bench.quote(T)
    bench.tell("l2Book", book(T - 1))
    bench.tell("l2Book", book(T + 1))
    assert [quote[0] for quote in bench.sink.slots["BTC"].quotes] == [65000.0, 64999.0]
    first, second = bench.sink.events
    assert isinstance(first, BookUpdated)
    assert isinstance(second, BookUpdated)
    assert second.bids == ((64999.0, 1.0), (64990.0, 2.0))
    assert second.asks == ((65002.0, 3.0),)
    assert not bench.sink.refused


def test_empty_book_has_no_sides(bench: Bench) -> None:
    """A book without levels gives a quote without sides."""
    bench.tell("l2Book", {"coin": "BTC", "time": T, "levels": [[], []]})
    assert bench.quotes() == [(0.0, 0.0, 0.0, 0.0, T * 1_000_000)]


def test_time_going_backwards_is_noticed(bench: Bench) -> None:
    """An older frame after a newer one is refused and counted, for quotes and books."""
    bench.quote(T)
    bench.quote(T - 1)
    bench.tell("l2Book", book(T + 5))
    bench.tell("l2Book", book(T + 4))
    assert len(bench.sink.slots["BTC"].quotes) == 2
    assert bench.sink.refused == {"time_backwards": 2}


def test_new_connection_is_compared_anew(bench: Bench) -> None:
    """Another server may be a little behind the last one."""
    bench.quote(T)
    bench.stream.connected()
    bench.quote(T - 50)
    assert len(bench.sink.slots["BTC"].quotes) == 2


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"Websocket connection established.", None),
        (b'{"channel":"pong"}', None),
        (
            (b'{"channel":"subscriptionResponse","data":{"method":"subscribe",'
            b'"subscription":{"type":"bbo","coin":"BTC"}}}'), None),
        (b"hello", "not_json"),
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"channel":"bbo","data":{"coin":"BTC"', "not_json"),
        (b'{"channel":"error","data":"Invalid subscription"}', "error_frame"),
        (b'{"channel":"candle","data":{}}', "unexpected_frame"),
        (b"[]", "unexpected_frame"),
        (b'{"channel":"bbo","data":{"coin":"BTC","time":"x","bbo":[null,null]}}',
         "unexpected_frame"),
        (b'{"channel":"bbo","data":{"coin":"BTC","time":1,"bbo":[{"px":"a","sz":"1"},null]}}',
         "unexpected_frame"),
        (b'{"channel":"bbo","data":{"coin":"DOGE","time":1,"bbo":[null,null]}}',
         "unknown_symbol"),
        (b'{"channel":"l2Book","data":{"coin":"DOGE","time":1,"levels":[[],[]]}}',
         "unknown_symbol"),
        ((b'{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[{"px":"NaN","sz":"1",'
         b'"n":1}],[{"px":"5","sz":"1","n":1}]]}}'), "impossible_level"),
        ((b'{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[{"px":"4","sz":"inf",'
         b'"n":1}],[{"px":"5","sz":"1","n":1}]]}}'), "impossible_level"),
        ((b'{"channel":"activeAssetCtx","data":{"coin":"DOGE","ctx":{"funding":"0","markPx":"1",'
         b'"oraclePx":"1"}}}'), "unknown_symbol"),
        ((b'{"channel":"trades","data":[{"coin":"DOGE","side":"A","px":"1","sz":"1","time":1,'
         b'"tid":1}]}'), "unknown_symbol"),
    ],
)  # fmt: skip
def test_odd_frames_are_counted_not_raised(
    bench: Bench, payload: bytes, reason: str | None
) -> None:
    """Greetings and replies are silent, everything unreadable has a reason, nothing raises."""
    bench.tell_text(payload)
    assert dict(bench.sink.refused) == ({} if reason is None else {reason: 1})
    assert not any(slot.quotes for slot in bench.sink.slots.values())


def test_silent_quotes_are_asked_for_then_invalidated(bench: Bench) -> None:
    """Four seconds without data ask again; when that changes nothing the quote is void."""
    bench.quote(T)
    bench.wait(3.9)
    bench.quote(T + 1, "kPEPE")
    assert bench.stream.silent() == []
    bench.wait(0.2)
    assert bench.stream.silent() == [("bbo", "BTC")]
    assert bench.stream.silent() == []
    assert bench.sink.slots["BTC"].invalid == []
    bench.wait(8)
    assert ("bbo", "BTC") in bench.stream.silent()
    assert bench.sink.slots["BTC"].invalid == ["bbo is silent"]
    assert bench.sink.refused["silent_bbo"] >= 2


def test_data_ends_a_silence(bench: Bench) -> None:
    """A fresh frame resets the wait, and an older clock is believed after a subscribe."""
    bench.quote(T)
    bench.wait(5)
    assert ("bbo", "BTC") in bench.stream.silent()
    bench.quote(T - 100)
    bench.wait(5)
    assert ("bbo", "BTC") in bench.stream.silent()
    assert bench.sink.slots["BTC"].invalid == []
    assert len(bench.sink.slots["BTC"].quotes) == 2


def test_books_and_contexts_are_watched_too() -> None:
    """Each subscription has its own silence; trades have none."""
    bench = Bench(books=True)
    assert ("l2Book", "BTC") in list(bench.stream.subscriptions())
    bench.wait(30)
    assert {kind for kind, _ in bench.stream.silent()} == {"bbo", "l2Book", "activeAssetCtx"}


def test_lost_connection_voids_every_quote(bench: Bench) -> None:
    """Nothing that was heard before may open anything."""
    bench.stream.lost("gone")
    assert [slot.invalid for slot in bench.sink.slots.values()] == [["gone"], ["gone"]]
