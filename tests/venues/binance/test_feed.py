from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perpbot.domain.errors import ProtocolViolation, Unavailable
from perpbot.domain.events import (
    BookChanged,
    BookUpdated,
    ConnectionState,
    FundingRateUpdated,
    MarkUpdated,
    TradePrinted,
    VenueConnectionChanged,
)
from perpbot.domain.sides import Side
from perpbot.kernel.clock import RealClock
from perpbot.venues.binance.feed import FrameReader
from perpbot.venues.binance.venue import BinanceVenue, create
from perpbot.venues.options import VenueConnection
from tests.venues.binance.stub import StubBinance, make_instrument, refusal
from tests.venues.sink import Sink
from tests.venues.waiting import until

TICKER = {
    "e": "bookTicker",
    "u": 4009002,
    "E": 1795225397704,
    "T": 1795225397701,
    "s": "BTCUSDT",
    "b": "65000.10",
    "B": "3.2",
    "a": "65000.20",
    "A": "1.1",
    "ps": "BTCUSDT",
    "st": 1,
}


def _reader() -> tuple[FrameReader, Sink]:
    sink = Sink("binance")
    instruments = [make_instrument("BTCUSDT"), make_instrument("1000PEPEUSDT", 1000)]
    return FrameReader(instruments, sink, lambda _book: None), sink


def _frame(message: Any) -> memoryview:
    return memoryview(json.dumps(message, separators=(",", ":")).encode())


@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "combined"])
def test_book_ticker_becomes_a_quote(*, wrapped: bool) -> None:
    """Both endpoint forms give the same quote, with venue and receive time."""
    reader, sink = _reader()

    reader.on_text(_frame({"stream": "x", "data": TICKER} if wrapped else TICKER), 77)

    assert sink.slots["BTCUSDT"].quotes == [
        (65000.10, 3.2, 65000.20, 1.1, 1795225397701 * 1_000_000, 77)
    ]
    assert not sink.refused


def test_bundled_symbol_is_quoted_in_base_coins() -> None:
    """1000PEPE at 0.0123 is PEPE at 0.0000123, and 5 of it are 5000."""
    reader, sink = _reader()
    ticker = TICKER | {"s": "1000PEPEUSDT", "b": "0.0123", "B": "5", "a": "0.0124", "A": "6"}

    reader.on_text(_frame(ticker), 1)

    bid, bid_size, ask, ask_size, *_ = sink.slots["1000PEPEUSDT"].quotes[0]
    assert (bid, ask) == pytest.approx((0.0000123, 0.0000124), rel=1e-15)
    assert (bid_size, ask_size) == (5000.0, 6000.0)


def test_marks_funding_and_trades() -> None:
    """The /market messages become events in base coins."""
    reader, sink = _reader()
    reader.on_text(
        _frame(
            {
                "e": "markPriceUpdate",
                "E": 7,
                "s": "BTCUSDT",
                "p": "65001.5",
                "i": "65000.5",
                "P": "65000",
                "r": "0.00010000",
                "T": 9,
            }
        ),
        1,
    )
    trade = {"e": "aggTrade", "E": 8, "a": 31, "s": "1000PEPEUSDT", "p": "2", "q": "3", "T": 8}
    reader.on_text(_frame(trade | {"m": True, "nq": "3"}), 2)
    reader.on_text(
        _frame(
            {
                "e": "trade",
                "E": 8,
                "T": 8,
                "s": "BTCUSDT",
                "t": 5,
                "p": "1",
                "q": "2",
                "X": "MARKET",
                "m": False,
            }
        ),
        3,
    )
    reader.on_text(
        _frame(
            {
                "e": "trade",
                "E": 8,
                "T": 8,
                "s": "BTCUSDT",
                "t": 6,
                "p": "1",
                "q": "2",
                "X": "INSURANCE_FUND",
                "m": False,
            }
        ),
        3,
    )

    mark = sink.of(MarkUpdated)[0]
    assert (mark.mark, mark.index, mark.venue_ns) == (65001.5, 65000.5, 7_000_000)
    rate = sink.of(FundingRateUpdated)[0]
    assert (rate.rate, rate.interval_s, rate.next_ns) == (0.0001, 28_800, 9_000_000)
    first, second = sink.of(TradePrinted)
    assert (first.trade_id, first.price, first.size, first.side) == (
        "31",
        0.002,
        3000.0,
        Side.SELL,
    )
    assert (second.trade_id, second.side) == ("5", Side.BUY)
    assert not sink.refused


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "unreadable frame"),
        (b"\xff\xfe", "unreadable frame"),
        (b"{", "unreadable frame"),
        (b"[1,2,3]", "unreadable frame"),
        (b'{"arg":' * 5_000, "unreadable frame"),
        (b'{"e":"kline","s":"BTCUSDT"}', "unreadable kline"),
        (b'{"stream":"x","data":{"e":"kline"}}', "unreadable kline"),
        (b'{"e":"bookTicker","s":"BTCUSDT"}', "unreadable bookTicker"),
        (
            b'{"e":"bookTicker","s":"BTCUSDT","b":"many","B":"1","a":"1","A":"1"}',
            "unreadable bookTicker",
        ),
        (
            b'{"e":"bookTicker","s":"XXXUSDT","b":"1","B":"1","a":"1","A":"1"}',
            "unknown symbol",
        ),
        (
            b'{"e":"markPriceUpdate","E":1,"s":"BTCUSDT","p":"1","r":"soon","T":1}',
            "unreadable funding rate",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_reason(payload: bytes, reason: str) -> None:
    """Nothing is raised out of the read path, nothing becomes a quote."""
    reader, sink = _reader()

    reader.on_text(memoryview(payload), 1)

    assert sink.refused == {reason: 1}
    assert all(not slot.quotes for slot in sink.slots.values())


def test_subscription_replies() -> None:
    """An acknowledgement is quiet; a refusal breaks the connection loudly."""
    reader, sink = _reader()
    reader.on_text(_frame({"result": None, "id": 1}), 1)
    assert not sink.refused

    with pytest.raises(ProtocolViolation, match="Invalid"):
        reader.on_text(_frame({"error": {"code": 2, "msg": "Invalid request"}, "id": 1}), 1)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_run_subscribes_each_category_on_its_own_socket(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Quotes and depth on /public, marks and trades on /market; a loss invalidates."""
    sink = Sink("binance")
    one = make_instrument("BTCUSDT")
    task = asyncio.create_task(venue.market_data.run([one], sink))
    await until(lambda: {"public", "market"} <= stub.subscribed.keys())
    assert stub.subscribed["public"][0]["params"] == ["btcusdt@bookTicker", "btcusdt@depth@100ms"]
    assert stub.subscribed["market"][0]["params"] == ["btcusdt@markPrice@1s", "btcusdt@aggTrade"]

    stub.queue("public").put_nowait(json.dumps(TICKER))
    await until(lambda: bool(sink.slot(one).quotes))
    stub.queue("public").put_nowait(None)
    await until(lambda: bool(sink.slot(one).invalid))
    await _stop(task)

    states = [event.state for event in sink.of(VenueConnectionChanged)]
    assert states[:2] == [ConnectionState.LIVE, ConnectionState.DOWN]
    assert venue.market_data.statistics()[0].frames >= 2


async def test_depth_recovers_through_rest_failures(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """The first snapshot is refused; the next delta asks again."""
    answers = [
        refusal(-1000, status=500),
        {"lastUpdateId": 30, "E": 1, "T": 1, "bids": [["10", "1"]], "asks": [["11", "1"]]},
    ]
    stub.answers["GET", "/fapi/v1/depth"] = lambda _request: answers.pop(0)
    sink = Sink("binance")
    task = asyncio.create_task(venue.market_data.run([make_instrument("BTCUSDT")], sink))
    await until(lambda: "public" in stub.subscribed)
    delta = {"e": "depthUpdate", "s": "BTCUSDT", "E": 1, "T": 1, "b": [["10", "2"]], "a": []}

    stub.queue("public").put_nowait(json.dumps(delta | {"U": 10, "u": 20, "pu": 9}))
    await until(lambda: len(answers) == 1)
    number = 20
    while not sink.of(BookUpdated):
        stub.queue("public").put_nowait(
            json.dumps(delta | {"U": number + 1, "u": number + 10, "pu": number})
        )
        number += 10
        await asyncio.sleep(0.02)
    await _stop(task)

    assert sink.of(BookUpdated)[-1].bids[0] == (10.0, 2.0)


_INFO = {
    "rateLimits": [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 9},
    ],
    "symbols": [
        {
            "symbol": symbol,
            "contractType": kind,
            "status": status,
            "baseAsset": symbol[:3],
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "9"},
            ],
        }
        for symbol, kind, status in (
            ("BTCUSDT", "PERPETUAL", "TRADING"),
            ("ETHUSDT", "PERPETUAL", "SETTLING"),
            ("BTCUSDT_260327", "CURRENT_QUARTER", "TRADING"),
        )
    ],
}


async def test_instruments(stub: StubBinance, public_venue: BinanceVenue) -> None:
    """Trading perpetuals only, with their own funding interval; no key is sent."""
    stub.answers["GET", "/fapi/v1/exchangeInfo"] = _INFO
    stub.answers["GET", "/fapi/v1/fundingInfo"] = [
        {"symbol": "BTCUSDT", "fundingIntervalHours": 4, "adjustedFundingRateCap": "0.02"}
    ]

    found = await public_venue.market_data.instruments()

    assert [one.symbol for one in found] == ["BTCUSDT"]
    assert found[0].funding_interval_s == 14_400
    assert {one.key for one in stub.requests} == {""}
    assert public_venue.rest.budget.statistics().limits["orders_10s"] == 50


async def test_instruments_raise_unavailable(
    stub: StubBinance, public_venue: BinanceVenue
) -> None:
    """No answer is no instruments, said so."""
    with pytest.raises(Unavailable):
        await public_venue.market_data.instruments()


async def test_polled_quotes_are_books_for_display(
    stub: StubBinance, public_venue: BinanceVenue
) -> None:
    """Only the wanted symbols, in base coins."""
    row = {"bidPrice": "2", "bidQty": "3", "askPrice": "4", "askQty": "5", "time": 6}
    stub.answers["GET", "/fapi/v1/ticker/bookTicker"] = [
        {"symbol": "1000PEPEUSDT"} | row,
        {"symbol": "XUSDT"} | row,
    ]

    books = await public_venue.market_data.poll_quotes([make_instrument("1000PEPEUSDT", 1000)])

    assert [(one.bids, one.asks) for one in books] == [(((0.002, 3000.0),), ((0.004, 5000.0),))]

    stub.answers["GET", "/fapi/v1/ticker/bookTicker"] = {"not": "rows"}
    with pytest.raises(Unavailable):
        await public_venue.market_data.poll_quotes([])


# --- real frames over a real socket --------------------------------------------------------------


def _server_frame(text: str) -> bytes:
    payload = text.encode()
    if len(payload) < 126:
        return b"\x81" + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload
    return b"\x81\x7f" + len(payload).to_bytes(8, "big") + payload


class Recording:
    """The frames of one recorded symbol, split where its REST snapshot was taken."""

    def __init__(self, path: Path) -> None:
        self.snapshot = ""
        self.before = bytearray()
        self.after = bytearray()
        self.tickers: dict[int, tuple[float, float, float, float]] = {}
        self.depths: list[int] = []
        self.count = 0
        with gzip.open(path, "rb") as lines:
            for line in lines:
                record = json.loads(line)
                text = record["m"]
                if record.get("k") == "http":
                    self.snapshot = text
                    continue
                self.count += 1
                part = self.after if self.snapshot else self.before
                part += _server_frame(text)
                data = json.loads(text)["data"]
                if data["e"] == "bookTicker":
                    self.tickers[data["u"]] = (
                        float(data["b"]),
                        float(data["B"]),
                        float(data["a"]),
                        float(data["A"]),
                    )
                elif data["e"] == "depthUpdate":
                    self.depths.append(data["u"])


async def _play(
    recording: Recording, ready: Callable[[], bool], opened: list[str]
) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + magic, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        route = head.split(b" ", 2)[1].decode()
        opened.append(route)
        if route.startswith("/public"):
            writer.write(bytes(recording.before))
            await writer.drain()
            while not ready():  # noqa: ASYNC110 - the book starts with its snapshot
                await asyncio.sleep(0.001)
            writer.write(bytes(recording.after))
            await writer.drain()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.read(-1)
        writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


class _TapeSink(Sink):
    """Keeps the top of the book by update id instead of every event."""

    def __init__(self) -> None:
        super().__init__("binance")
        self.tops: dict[int, tuple[float, float, float, float]] = {}
        self.trades = 0
        self._sequence = 0

    def publish(self, event: Any) -> None:
        if isinstance(event, BookChanged):
            self._sequence = event.sequence
        elif isinstance(event, BookUpdated):
            (bid, bid_size), (ask, ask_size) = event.bids[0], event.asks[0]
            self.tops[self._sequence] = (bid, bid_size, ask, ask_size)
        elif isinstance(event, TradePrinted):
            self.trades += 1
        else:
            super().publish(event)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
async def test_real_frames_pass_and_the_book_agrees_with_the_ticker(
    shared: Path, stub: StubBinance, symbol: str
) -> None:
    """Every recorded frame through the real feed: none refused, no gap, same tops."""
    recording = await asyncio.to_thread(
        Recording, shared / f"recordings/wire/binance_usdm_{symbol}_20240808.jsonl.gz"
    )
    stub.answers["GET", "/fapi/v1/depth"] = json.loads(recording.snapshot)
    sink = _TapeSink()
    one = make_instrument(symbol)
    opened: list[str] = []
    server = await _play(recording, lambda: bool(sink.tops), opened)
    port = server.sockets[0].getsockname()[1]
    venue = create(
        settings=VenueConnection(rest_url=stub.rest_url, ws_url=f"ws://127.0.0.1:{port}"),
        credentials=None,
        clock=RealClock(),
        rng=random.Random(1),
        books=True,
    )
    task = asyncio.create_task(venue.market_data.run([one], sink))
    try:
        await until(lambda: recording.depths[-1] in sink.tops or bool(sink.refused))
        public = next(s for s in venue.market_data.statistics() if s.frames)
        await until(lambda: public.frames >= recording.count)
    finally:
        await _stop(task)
        await venue.close()
        server.close()

    assert sink.refused == {}
    assert len(sink.slot(one).quotes) > 50_000
    assert sink.trades > 10_000
    assert opened.count("/public/ws") == 1
    both = sink.tops.keys() & recording.tickers.keys()
    assert len(both) > 100
    assert {u for u in both if sink.tops[u] != recording.tickers[u]} == set()
