"""Books and quotes that were not what the market was, and traded on.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

from perpbot.domain.events import BookUpdated
from perpbot.venues.binance.books import DepthSnapshot
from tests.unit.market.floor import BTC, Floor
from tests.venues.binance.test_books import _Desk, _update
from tests.venues.okx.test_bookfeed import SYMBOL, Room, row


def test_ccxt_29210_the_snapshot_after_a_reconnect_is_not_merged() -> None:
    """Levels of the old book are gone with it: no ghost stays behind on either venue."""
    room = Room()
    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 105.0))
    room.feed.reset()
    room.feed.take(SYMBOL, "snapshot", row(-1, 90, 100.0))
    assert room.sink.of(BookUpdated)[-1].bids == ((100.0, 0.02),)

    desk = _Desk()
    desk.book.delta(_update(5, 12, 4, (10.5, 7.0)))
    desk.book.snapshot(DepthSnapshot(last_update_id=10, bids=[(10.0, 1.0)], asks=[(11.0, 3.0)]))
    assert desk.book.top()[0][0] == (10.5, 7.0)
    desk.book.reset("reconnected")
    assert not desk.book.is_ready
    desk.book.delta(_update(50, 52, 49))
    desk.book.snapshot(DepthSnapshot(last_update_id=51, bids=[(9.0, 1.0)], asks=[(11.0, 3.0)]))
    assert desk.book.top()[0] == ((9.0, 1.0),)


def test_ccxt_29492_a_delta_of_before_the_snapshot_changes_nothing() -> None:
    """What is older than the snapshot is in it already."""
    desk = _Desk()
    desk.book.delta(_update(5, 8, 4, (10.0, 9.0)))
    desk.book.snapshot(DepthSnapshot(last_update_id=10, bids=[(10.0, 1.0)], asks=[(11.0, 3.0)]))
    desk.book.delta(_update(9, 9, 8, (10.0, 0.0)))
    assert desk.book.top()[0] == ((10.0, 1.0),)


def test_kucoin_44_deltas_wait_for_their_snapshot() -> None:
    """Deltas that come before the snapshot are kept and applied in order, not thrown away."""
    desk = _Desk()
    for first in (9, 11, 13):
        desk.book.delta(_update(first, first + 1, first - 1, (float(first), 1.0)))
    desk.book.snapshot(DepthSnapshot(last_update_id=10, bids=[(1.0, 1.0)], asks=[(20.0, 3.0)]))
    assert [price for price, _ in desk.book.top()[0]] == [13.0, 11.0, 9.0, 1.0]


def test_coinbasepro_212_a_missing_message_is_noticed() -> None:
    """One delta is lost: the book is not patched but built anew, and the slot is told."""
    room = Room()
    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 100.0))
    room.feed.take(SYMBOL, "update", row(12, 13, 101.0))
    assert room.sink.slots[SYMBOL].invalid == ["book_gap"]
    assert room.sink.of(BookUpdated)[-1].bids == ((100.0, 0.02),)


def test_coinbasepro_365_an_answer_for_the_old_book_is_not_used_for_the_new() -> None:
    """The stream broke while the snapshot was under way: it says nothing of the new stream."""
    desk = _Desk()
    desk.book.delta(_update(5, 8, 4))
    desk.book.reset("gone")
    desk.book.snapshot(DepthSnapshot(last_update_id=7, bids=[(10.0, 1.0)], asks=[(11.0, 3.0)]))
    assert not desk.book.is_ready


def test_xchange_stream_284_a_top_that_does_not_move_is_stale() -> None:
    """The channel is silent beyond its declared interval: nothing may open on the last price."""
    floor = Floor()
    assert floor.quote(95_000.0, 95_001.0)
    assert floor.engine.usable("okx", BTC)
    floor.wait(5.1)
    assert not floor.engine.usable("okx", BTC)


def test_bitfinex_9_a_crossed_book_is_no_market() -> None:
    """Bid above ask: refused, and it takes the use of the quote before it away."""
    floor = Floor()
    floor.quote(95_000.0, 95_001.0)
    assert not floor.quote(95_002.0, 95_001.0)
    assert not floor.engine.usable("okx", BTC)
    assert floor.refused() == {"crossed": 1}


def test_cryptofeed_426_a_consumer_that_falls_behind_is_seen_by_the_venues_time() -> None:
    """Each quote has just arrived and is seconds old: receipt alone would call it fresh."""
    floor = Floor()
    for _ in range(20):
        assert floor.quote(95_000.0, 95_001.0, transit_ms=5.0)
        floor.wait(0.1)
    assert not floor.quote(95_000.0, 95_001.0, transit_ms=4_000.0)
    assert not floor.engine.usable("okx", BTC)
    assert floor.refused() == {"lagging": 1}
