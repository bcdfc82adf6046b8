"""Real frames and real payloads of OKX through the real adapter."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perpbot.domain.events import (
    BookChanged,
    BookUpdated,
    FundingRateUpdated,
    TradePrinted,
)
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import RealClock, VirtualTime
from perpbot.venues.okx.bookfeed import BookFeed
from perpbot.venues.okx.catalogue import Catalogue, InstrumentRow
from perpbot.venues.okx.codec import (
    BalanceRow,
    Frame,
    ItemResult,
    OrderRow,
    PositionRow,
    StopRow,
    decode_envelope,
    decode_frame,
    rows_of,
)
from perpbot.venues.okx.feed import MarketStream
from perpbot.venues.okx.reports import Reports
from perpbot.venues.okx.venue import OkxVenue
from perpbot.venues.options import VenueConnection
from tests.venues.okx.loopback import loopback_okx
from tests.venues.okx.support import BTC, START_NS
from tests.venues.sink import Sink
from tests.venues.waiting import until

# The instruments of the recording are a dated future, an inverse swap and a spot pair. The adapter
# trades none of them; a test gives them linear definitions, because the frames are the same.
RECORDED = {"BTC-USD-220527": "BTC", "UNI-USD-SWAP": "UNI", "BTC-USDT": "BTC"}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read a recording, record by record."""
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line)


def recorded_instruments() -> list[Instrument]:
    """Return linear definitions of what was recorded."""
    return [
        msgspec.structs.replace(BTC, symbol=symbol, base=base, asset=f"{base}-PERP")
        for symbol, base in RECORDED.items()
    ]


async def test_recorded_frames_pass_without_a_parse_error(shared: Path) -> None:
    """Every raw frame, as it is, over a loopback websocket: nothing is refused or lost."""
    records = list(lines(shared / "recordings/wire/cf_okx_3_20220513.jsonl.gz"))
    frames = [record["m"] for record in records if "k" not in record]
    async with loopback_okx() as server:
        venue = OkxVenue(
            settings=VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url),
            credentials=None,
            clock=RealClock(),
            rng=random.Random(1),
            books=True,
        )
        sink = Sink("okx")
        task = asyncio.ensure_future(venue.market_data.run(recorded_instruments(), sink))
        await until(lambda: server.said("subscribe"))
        await server.push("public", *frames)
        channel = venue.market_data.channel
        assert channel is not None
        confirmations = 5 * len(RECORDED)
        await until(lambda: channel.statistics().frames == len(frames) + confirmations)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await venue.close()

    by_channel = {"books": 0, "trades": 0}
    for frame in map(json.loads, frames):
        if "data" in frame and frame["arg"]["channel"] in by_channel:
            by_channel[frame["arg"]["channel"]] += len(frame["data"])
    assert not sink.refused
    assert not any(slot.invalid[1:] for slot in sink.slots.values())
    assert len(sink.of(TradePrinted)) == by_channel["trades"] > 50
    assert len(sink.of(BookUpdated)) == by_channel["books"] > 250
    assert len(sink.of(BookChanged)) == by_channel["books"] - len(RECORDED)


def test_recorded_books_never_cross_and_injected_gaps_are_noticed(shared: Path) -> None:
    """The books stay in order; with the sequence of today, each missing frame is a gap."""
    sequence = dict.fromkeys(RECORDED, 0)
    for lost in (None, 7, 50):
        sink = Sink("okx")
        books = BookFeed(
            recorded_instruments(),
            sink,
            rest=None,  # type: ignore[arg-type]  # not asked: there are snapshots
            clock=VirtualTime(START_NS),
            send=lambda _data: None,
            venue="okx",
        )
        stream = MarketStream(
            recorded_instruments(),
            sink,
            clock=VirtualTime(START_NS),
            books=books,
            reconnect=lambda _reason: None,
        )
        seen = dict.fromkeys(RECORDED, 0)
        for record in lines(shared / "recordings/wire/cf_okx_3_20220513.jsonl.gz"):
            frame = {} if "k" in record else json.loads(record["m"])
            if "data" not in frame or frame["arg"]["channel"] != "books":
                continue
            symbol = frame["arg"]["instId"]
            # What OKX has added since: seqId and prevSeqId.
            snapshot = frame["action"] == "snapshot"
            previous = -1 if snapshot else sequence[symbol]
            sequence[symbol] += 3
            frame["data"][0] |= {"prevSeqId": previous, "seqId": sequence[symbol], "checksum": 0}
            seen[symbol] += 1
            if seen[symbol] != lost:
                stream.read(memoryview(json.dumps(frame).encode()), 1)
        for event in sink.of(BookUpdated):
            assert event.bids[0][0] < event.asks[0][0]
        assert books.gaps == (0 if lost is None else len(RECORDED))
        assert sink.refused["book_gap"] == books.gaps


def test_recorded_instruments_of_2022_are_read(shared: Path) -> None:
    """All 25 recorded REST answers decode; linear swaps are taken, everything else is counted."""
    catalogue = Catalogue()
    taken: list[Instrument] = []
    refused = answers = 0
    for record in lines(shared / "recordings/wire/cf_okx_3_20220513.jsonl.gz"):
        if record.get("k") != "http":
            continue
        answers += 1
        envelope = decode_envelope(record["m"].encode())
        assert envelope.code == "0"
        rows = rows_of("okx", envelope.data, list[InstrumentRow])
        taken = list(catalogue.load(rows))
        refused += sum(catalogue.refused.values())
        assert not any("unreadable" in reason for reason in catalogue.refused)

    assert answers == 25
    swaps = [one for one in taken if one.symbol.endswith("-SWAP")]
    assert {"BTC-USDT-SWAP", "ETH-USDT-SWAP"} <= {one.symbol for one in swaps}
    assert all(one.settle in {"USDT", "USDC"} for one in taken)
    assert refused > 100


def payloads(shared: Path) -> dict[str, str]:
    """Return the payloads of OKX by name."""
    return {
        Path(record["file"]).stem: record["m"]
        for record in lines(shared / "recordings/payloads/nautilus_adapter_payloads.jsonl.gz")
        if record["venue"] == "okx"
    }


# Shapes of another project's parser tests that OKX does not send on what this adapter asks for.
NOT_ASKED = {
    "common_optional_string_to_u64",
    "ws_opt_summary",
    "http_balance_detail_new_fields",
    "http_balance_detail_old_fields",
    "http_place_order_response",
    "http_transaction_detail",
    "http_transaction_detail_empty_fee",
}


def test_payloads_of_others_have_our_outside(shared: Path) -> None:
    """Each REST answer is an envelope and each push a frame."""
    for name, text in payloads(shared).items():
        if name in NOT_ASKED:
            continue
        if name.startswith("http_"):
            assert decode_envelope(text.encode()).code == "0", name
        else:
            assert decode_frame(text.encode()).arg is not None, name


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("http_get_instruments_swap", InstrumentRow, 3),
        ("http_get_account_balance", BalanceRow, 1),
        ("http_get_positions", PositionRow, 1),
        ("http_get_orders_pending", OrderRow, 1),
        ("http_get_orders_history", OrderRow, 1),
        ("http_get_orders_algo_pending", StopRow, 1),
        ("http_get_orders_algo_pending_close_fraction", StopRow, 1),
        ("http_place_algo_order_response", ItemResult, 1),
        ("http_place_algo_order_rejected", ItemResult, 1),
        ("http_cancel_algo_order_response", ItemResult, 1),
    ],
)
def test_payloads_decode_as_our_rows(shared: Path, name: str, kind: type, count: int) -> None:
    """REST rows of every kind that we ask for."""
    envelope = decode_envelope(payloads(shared)[name].encode())

    assert len(rows_of("okx", envelope.data, list[kind])) >= count  # type: ignore[valid-type]


def test_order_pushes_of_others_become_reports(shared: Path) -> None:
    """Each row is an order, and a fill where it says so: liquidation, ADL, FOK, IOC, trigger."""
    reports = Reports(venue="okx", account="main")
    reasons = {}
    for name, text in payloads(shared).items():
        if not name.startswith("ws_orders") or name.startswith("ws_orders_algo"):
            continue
        frame: Frame = decode_frame(text.encode())
        for row in rows_of("okx", frame.data, list[OrderRow]):
            reasons[name] = reports.order(row, BTC).reason
            fill = reports.fill_of_order(row, BTC)
            assert (fill is not None) == bool(row.trade_id)
            if fill is not None:
                assert fill.quantity == Decimal(row.fill_sz) * BTC.contract_size

    assert reasons["ws_orders_liquidation"] == "full_liquidation"
    assert reasons["ws_orders_adl"] == "adl"
    assert reasons["ws_orders"] == ""


@pytest.mark.parametrize(
    "name", ["ws_bbo_tbt", "ws_books_snapshot", "ws_books_update", "ws_funding_rate", "ws_trades"]
)
def test_public_pushes_of_others_are_read(shared: Path, name: str) -> None:
    """Each public push of the channels we subscribe to, under the instrument it names."""
    text = payloads(shared)[name]
    symbol = json.loads(text)["arg"]["instId"]
    instruments = [msgspec.structs.replace(BTC, symbol=symbol)]
    sink = Sink("okx")
    stream = MarketStream(
        instruments,
        sink,
        clock=VirtualTime(START_NS),
        books=BookFeed(
            instruments,
            sink,
            rest=None,  # type: ignore[arg-type]  # no loop runs here
            clock=VirtualTime(START_NS),
            send=lambda _data: None,
            venue="okx",
        ),
        reconnect=lambda _reason: None,
    )

    stream.read(memoryview(text.encode()), 1)

    assert not sink.refused
    if name == "ws_bbo_tbt":
        assert sink.slots[symbol].quotes[0][:4] == (8476.97, 2.56, 8476.98, 4.15)
    if name == "ws_funding_rate":
        assert sink.of(FundingRateUpdated)[0].interval_s == 28_800
