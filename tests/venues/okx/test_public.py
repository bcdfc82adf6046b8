"""Instruments, quotes and books of the adapter on a scripted server."""

from __future__ import annotations

from typing import Any

import pytest

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import BookUpdated, ConnectionState, MarkUpdated, VenueConnectionChanged
from perpbot.venues.okx.venue import OkxVenue
from tests.venues.okx.loopback import LoopbackOkx
from tests.venues.okx.rig import INSTRUMENTS, feeding, make_venue
from tests.venues.okx.support import BTC, ETH, INSTRUMENT_ROW
from tests.venues.waiting import until


async def test_instruments_are_read_and_inverse_ones_counted(server: LoopbackOkx) -> None:
    """Public data needs no keys and carries no signature."""
    server.rest[INSTRUMENTS] = [INSTRUMENT_ROW, {**INSTRUMENT_ROW, "ctType": "inverse"}]
    venue = make_venue(server, credentials=None)

    assert list(await venue.market_data.instruments()) == [BTC]

    assert venue.catalogue.refused == {"instrument inverse": 1}
    ((_, path, headers, _body),) = server.asked(INSTRUMENTS)
    assert path.endswith("?instType=SWAP")
    assert "OK-ACCESS-KEY" not in headers
    await venue.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="empty"),
        pytest.param((200, "<html>"), id="not-json"),
        pytest.param((503, "busy"), id="503"),
        pytest.param((200, '{"code":"50011","msg":"slow down"}'), id="rate"),
        pytest.param([{"instId": 5}], id="wrong-type"),
        pytest.param(ConnectionError(), id="reset"),
    ],
)
async def test_instruments_that_cannot_be_read_are_unavailable(
    server: LoopbackOkx, answer: Any
) -> None:
    """No answer is ever an empty list."""
    server.rest[INSTRUMENTS] = answer
    venue = make_venue(server)

    with pytest.raises(Unavailable):
        await venue.market_data.instruments()
    await venue.close()


async def test_feed_subscribes_and_reconnects(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A loss invalidates the slot and is told; the next connection subscribes again."""
    async with feeding(venue) as sink:
        await until(lambda: server.said("subscribe"))
        await server.push("public", QUOTE)
        await until(lambda: sink.slots["BTC-USDT-SWAP"].quotes)
        await server.sockets["public"][-1].close()
        await until(lambda: len(server.said("subscribe")) == 2)
        await server.push("public", QUOTE, MARK)
        await until(lambda: sink.of(MarkUpdated))

    subscribed = server.said("subscribe")
    assert [argument["channel"] for argument in subscribed[0]["args"]] == [
        "bbo-tbt",
        "mark-price",
        "funding-rate",
        "trades",
    ]
    assert subscribed[0] == subscribed[1]
    assert len(sink.slots["BTC-USDT-SWAP"].invalid) >= 1
    told = [event.state for event in sink.of(VenueConnectionChanged)]
    assert told[:3] == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]


async def test_polled_quotes(server: LoopbackOkx, venue: OkxVenue) -> None:
    """One request for all; an instrument that is not listed is left out, nonsense is no answer."""
    row = {"instId": "BTC-USDT-SWAP", "bidPx": "10", "bidSz": "3", "askPx": "", "askSz": ""}
    server.rest["/api/v5/market/tickers"] = [{**row, "ts": "5"}]
    (found,) = await venue.market_data.poll_quotes([BTC, ETH])

    assert (found.bids, found.asks, found.venue_ns) == (((10.0, 0.03),), (), 5_000_000)
    server.rest["/api/v5/market/tickers"] = [{**row, "bidPx": "x"}]
    with pytest.raises(Unavailable):
        await venue.market_data.poll_quotes([BTC])


async def test_service_notice_opens_a_new_connection(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Notice 64008 is followed before the venue closes."""
    async with feeding(venue):
        await until(lambda: server.said("subscribe"))
        await server.push("public", {"event": "notice", "code": "64008", "msg": "upgrade"})
        await until(lambda: len(server.said("subscribe")) == 2)


@pytest.mark.parametrize("with_snapshot", [True, False], ids=["socket", "rest"])
async def test_books_in_both_modes(server: LoopbackOkx, *, with_snapshot: bool) -> None:
    """With a snapshot on the socket or without one, the book is the venue's."""
    server.rest["/api/v5/market/books"] = [
        {"asks": [["11", "2", "0", "1"]], "bids": [["10", "1", "0", "1"]], "ts": "1", "seqId": 5}
    ]
    venue = make_venue(server, books=True, credentials=None)
    async with feeding(venue) as sink:
        await until(lambda: server.said("subscribe"))
        if with_snapshot:
            await server.push("public", book("snapshot", -1, 5, "10", "1"))
        await server.push("public", book("update", 4 if not with_snapshot else 5, 5, "10", "1"))
        await server.push("public", book("update", 5, 6, "10.5", "3"))
        await until(lambda: sink.of(BookUpdated))
        await until(lambda: sink.of(BookUpdated)[-1].bids[0] == (10.5, 0.03))

        assert sink.of(BookUpdated)[-1].bids == ((10.5, 0.03), (10.0, 0.01))
        assert bool(server.asked("/api/v5/market/books")) is not with_snapshot
        await server.push("public", book("update", 8, 9, "10.5", "3"))
        await until(lambda: server.said("unsubscribe"))
        assert sink.slots["BTC-USDT-SWAP"].invalid == ["book_gap"]
    await venue.close()


QUOTE = (
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["65001.1","120","0",'
    '"4"]],"bids":[["65001.0","80","0","3"]],"ts":"1795225231208","seqId":9001}]}'
)
MARK = {
    "arg": {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
    "data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "65000", "ts": "1"}],
}


def book(action: str, previous: int, sequence: int, price: str, size: str) -> dict[str, Any]:
    """Return a frame of channel books."""
    row = {"asks": [], "bids": [[price, size, "0", "1"]], "ts": "1", "checksum": 0}
    return {
        "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"},
        "action": action,
        "data": [{**row, "prevSeqId": previous, "seqId": sequence}],
    }
