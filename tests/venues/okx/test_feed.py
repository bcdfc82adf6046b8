"""What public frames of OKX become; nothing on the read path raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.events import FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.sides import Side
from perpbot.kernel.clock import VirtualTime
from perpbot.venues.okx.feed import MarketStream
from tests.venues.okx.support import BTC, ETH, START_NS
from tests.venues.sink import Sink


class Feed:
    """A stream of BTC and ETH into a fake sink."""

    def __init__(self) -> None:
        self.sink = Sink("okx")
        self.reconnects: list[str] = []
        self.stream = MarketStream(
            [BTC, ETH],
            self.sink,
            clock=VirtualTime(START_NS),
            books=None,
            reconnect=self.reconnects.append,
        )

    def read(self, frame: object, recv_ns: int = 7) -> None:
        text = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self.stream.read(memoryview(text), recv_ns)


def push(channel: str, data: list[Any], symbol: str = "BTC-USDT-SWAP") -> dict[str, Any]:
    """Return a push of a channel."""
    return {"arg": {"channel": channel, "instId": symbol}, "data": data}


def quote(asks: list[Any], bids: list[Any], ts: str = "1795225231208") -> dict[str, Any]:
    """Return a quote frame."""
    return push("bbo-tbt", [{"asks": asks, "bids": bids, "ts": ts, "seqId": 9001}])


def test_quote_goes_to_its_slot_in_base_coins() -> None:
    """Prices as they are, contracts as coins, venue time in ns, receive time untouched."""
    feed = Feed()

    feed.read(quote([["65001.1", "120", "0", "4"]], [["65001.0", "80.5", "0", "3"]]))

    assert feed.sink.slots["BTC-USDT-SWAP"].quotes == [
        (65001.0, 80.5 * 0.01, 65001.1, 120 * 0.01, 1_795_225_231_208_000_000, 7)
    ]
    assert not feed.sink.refused
    assert not feed.sink.events


def test_quote_finds_its_slot_by_name() -> None:
    """Each instrument has its own contract size."""
    feed = Feed()
    frame = quote([["3001", "10", "0", "1"]], [["3000", "20", "0", "1"]])
    frame["arg"]["instId"] = "ETH-USDT-SWAP"

    feed.read(frame)

    assert feed.sink.slots["ETH-USDT-SWAP"].quotes[0][:4] == (3000.0, 2.0, 3001.0, 1.0)
    assert not feed.sink.slots["BTC-USDT-SWAP"].quotes


def test_missing_side_is_zero() -> None:
    """An empty side is told as price 0 and size 0; the slot decides."""
    feed = Feed()

    feed.read(quote([], [["65001.0", "80", "0", "3"]]))

    assert feed.sink.slots["BTC-USDT-SWAP"].quotes[0][:4] == (65001.0, 0.8, 0.0, 0.0)


def test_key_order_does_not_matter() -> None:
    """A frame whose data comes first is read the same."""
    feed = Feed()
    frame = quote([["2", "1", "0", "1"]], [["1", "1", "0", "1"]])

    feed.read({"data": frame["data"], "arg": dict(reversed(frame["arg"].items()))})

    assert len(feed.sink.slots["BTC-USDT-SWAP"].quotes) == 1


def test_mark_price() -> None:
    """A mark is published with its venue time."""
    feed = Feed()
    row = {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP",
        "markPx": "65000.9",
        "ts": "1795225231208",
    }

    feed.read(push("mark-price", [row]))

    (mark,) = feed.sink.of(MarkUpdated)
    assert (mark.asset, mark.mark, mark.venue_ns) == (
        "BTC-PERP",
        65000.9,
        1_795_225_231_208 * 10**6,
    )


@pytest.mark.parametrize(
    ("following", "interval_s"),
    [("1795248000000", 14_400), ("", 28_800), ("1795233600000", 28_800)],
    ids=["four-hours", "not-told", "the-same"],
)
def test_funding_rate(following: str, interval_s: int) -> None:
    """The rate settles at fundingTime; the interval is the distance to the next one."""
    feed = Feed()
    row = {
        "instId": "BTC-USDT-SWAP",
        "fundingRate": "0.0001",
        "nextFundingRate": "",
        "fundingTime": "1795233600000",
        "nextFundingTime": following,
        "method": "current_period",
        "ts": "1795225231208",
    }

    feed.read(push("funding-rate", [row]))

    (rate,) = feed.sink.of(FundingRateUpdated)
    assert (rate.rate, rate.interval_s) == (0.0001, interval_s)
    assert rate.next_ns == 1_795_233_600_000 * 10**6


def test_trades() -> None:
    """Each element is one taker trade in base coins; an unknown side is refused by itself."""
    feed = Feed()
    row = {
        "instId": "BTC-USDT-SWAP",
        "tradeId": "130639474",
        "px": "65001.1",
        "sz": "3",
        "side": "buy",
        "ts": "1795225231208",
        "count": "2",
    }

    feed.read(push("trades", [row, {**row, "side": "both"}, {**row, "side": "sell"}]))

    first, second = feed.sink.of(TradePrinted)
    assert (first.trade_id, first.price, first.size) == ("130639474", 65001.1, 0.03)
    assert (first.side, second.side) == (Side.BUY, Side.SELL)
    assert feed.sink.refused == {"unknown_side": 1}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(b"", "unreadable_frame", id="empty"),
        pytest.param(b"{", "unreadable_frame", id="cut"),
        pytest.param(b"\xff\xfe", "unreadable_frame", id="not-utf8"),
        pytest.param(b"[" * 100_000, "unreadable_frame", id="deep"),
        pytest.param({}, "unknown_frame", id="nothing"),
        pytest.param(quote([["1", "x", "0", "1"]], []), "unreadable_quote", id="word-for-size"),
        pytest.param(quote([[]], []), "unreadable_quote", id="empty-level"),
        pytest.param(push("bbo-tbt", []), "unreadable_quote", id="no-data"),
        pytest.param(push("candle1m", [["1"]]), "unknown_channel", id="other-channel"),
        pytest.param(push("mark-price", [{"instId": 5}]), "unreadable_frame", id="wrong-type"),
        pytest.param(
            push("mark-price", [{"instId": "DOGE-USDT-SWAP", "markPx": "1"}]),
            "unknown_symbol",
            id="unknown-mark",
        ),
        pytest.param(
            push(
                "trades",
                [{"instId": "X", "tradeId": "1", "px": "1", "sz": "1", "side": "buy", "ts": "1"}],
            ),
            "unknown_symbol",
            id="unknown-trade",
        ),
        pytest.param(
            push("funding-rate", [{"instId": "X", "fundingRate": "0", "fundingTime": "1"}]),
            "unknown_symbol",
            id="unknown-funding",
        ),
        pytest.param(
            {"event": "error", "code": "60018", "msg": "Wrong URL or channel", "connId": "1"},
            "error_60018",
            id="error-event",
        ),
        pytest.param(
            {"event": "channel-conn-count-error", "channel": "orders", "connCount": "30"},
            "error_channel-conn-count-error",
            id="connection-count",
        ),
    ],
)
def test_bad_frames_are_refused_by_reason(frame: object, reason: str) -> None:
    """Whatever comes, it is counted and the stream goes on."""
    feed = Feed()

    feed.read(frame)
    feed.read(quote([["2", "1", "0", "1"]], [["1", "1", "0", "1"]]))

    assert feed.sink.refused == {reason: 1}
    assert len(feed.sink.slots["BTC-USDT-SWAP"].quotes) == 1


def test_quote_of_an_unknown_symbol_is_refused() -> None:
    """Nothing is guessed for what was not subscribed."""
    feed = Feed()
    frame = quote([["2", "1", "0", "1"]], [["1", "1", "0", "1"]])
    frame["arg"]["instId"] = "DOGE-USDT-SWAP"

    feed.read(frame)

    assert feed.sink.refused == {"unknown_symbol": 1}


@pytest.mark.parametrize(
    "frame",
    [
        b"pong",
        {"event": "subscribe", "arg": {"channel": "bbo-tbt", "instId": "BTC-USDT-SWAP"}},
        {"event": "channel-conn-count", "channel": "orders", "connCount": "2", "connId": "1"},
        {"event": "notice", "code": "1", "msg": "hello"},
        push("tickers", [{"instId": "BTC-USDT-SWAP"}]),
        push("books", [{"asks": [], "bids": [], "ts": "1"}]),
    ],
    ids=["pong", "subscribed", "count", "notice", "tickers", "books-not-wanted"],
)
def test_frames_that_mean_nothing_to_us(frame: object) -> None:
    """They are neither refused nor published."""
    feed = Feed()

    feed.read(frame)

    assert not feed.sink.refused
    assert not feed.sink.events
    assert not feed.reconnects


def test_service_notice_reconnects() -> None:
    """64008 says that the connection will be closed: better now than later."""
    feed = Feed()

    feed.read({"event": "notice", "code": "64008", "msg": "service upgrade", "connId": "1"})

    assert feed.reconnects == ["service notice 64008"]


def test_loss_invalidates_every_slot() -> None:
    """After a loss no last quote may open anything."""
    feed = Feed()

    feed.stream.invalidate("connection lost")

    assert {slot.invalid[0] for slot in feed.sink.slots.values()} == {"connection lost"}
    assert len(feed.sink.slots) == 2


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    """No input ends the read path."""
    Feed().read(data)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["bbo-tbt", "books", "trades", "mark-price", "funding-rate"]),
    st.sampled_from(["BTC-USDT-SWAP", "X"]),
    _json,
)
def test_arbitrary_data_never_raises(channel: str, symbol: str, data: object) -> None:
    """Data of any shape under a known channel is read or refused."""
    Feed().read({"arg": {"channel": channel, "instId": symbol}, "data": data})
