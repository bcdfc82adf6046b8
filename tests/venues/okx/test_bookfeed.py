"""Books as they are published, and what a gap sets off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import BookChanged, BookUpdated
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.okx import bookfeed
from perpbot.venues.okx.bookfeed import BookFeed
from perpbot.venues.okx.codec import BookRow, Level
from tests.venues.okx.support import BTC, START_NS
from tests.venues.sink import Sink
from tests.venues.waiting import until

SYMBOL = "BTC-USDT-SWAP"


class FakeRest:
    """Hands out prepared snapshots; None is a failure."""

    def __init__(self, *snapshots: BookRow | None) -> None:
        self.snapshots = list(snapshots)
        self.asked = 0

    async def read(self, *_args: Any, **_options: Any) -> list[BookRow]:
        self.asked += 1
        snapshot = self.snapshots.pop(0)
        if snapshot is None:
            raise Unavailable("okx", "down")
        return [snapshot]


def row(previous: int | None, sequence: int, bid: float, size: float = 2.0) -> BookRow:
    """Return a row of one or two sides."""
    return BookRow(
        asks=[Level(110.0, 1.0)],
        bids=[Level(bid, size)],
        ts=5,
        seq_id=sequence,
        prev_seq_id=previous,
    )


class Room:
    """A book feed with its surroundings."""

    def __init__(self, *snapshots: BookRow | None) -> None:
        self.sink = Sink("okx")
        self.clock = VirtualTime(START_NS)
        self.sent: list[dict[str, Any]] = []
        self.down = False
        self.rest = FakeRest(*snapshots)
        self.feed = BookFeed(
            [BTC],
            self.sink,
            rest=self.rest,  # type: ignore[arg-type]
            clock=self.clock,
            send=self.send,
            venue="okx",
        )

    def send(self, data: bytes) -> None:
        if self.down:
            raise Unavailable("okx", "down")
        self.sent.append(json.loads(data))

    def bests(self) -> list[tuple[float, float]]:
        return [event.bids[0] for event in self.sink.of(BookUpdated)]


def test_snapshot_and_update_are_published_in_base_coins() -> None:
    """The top in full after each row, and each delta with its sequence."""
    room = Room()

    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 100.0))
    room.feed.take(SYMBOL, "update", row(10, 12, 101.0, 3.0))

    assert room.bests() == [(100.0, 0.02), (101.0, 0.03)]
    (change,) = room.sink.of(BookChanged)
    assert (change.bids, change.asks, change.sequence) == (((101.0, 0.03),), ((110.0, 0.01),), 12)


def test_gap_starts_a_new_object_and_subscribes_anew() -> None:
    """The old object is left as it was; the slot is invalidated; the refusal is counted."""
    room = Room()
    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 100.0))
    spoiled = room.feed.book(SYMBOL)

    room.feed.take(SYMBOL, "update", row(11, 12, 101.0))

    assert room.feed.book(SYMBOL) is not spoiled
    assert room.sink.slots[SYMBOL].invalid == ["book_gap"]
    assert room.sink.refused == {"book_gap": 1}
    argument = [{"channel": "books", "instId": SYMBOL}]
    assert room.sent == [
        {"op": "unsubscribe", "args": argument},
        {"op": "subscribe", "args": argument},
    ]
    room.feed.take(SYMBOL, "snapshot", row(-1, 20, 99.0))
    assert room.bests() == [(100.0, 0.02), (99.0, 0.02)]


def test_gaps_in_a_row_do_not_use_up_the_subscriptions() -> None:
    """A second gap within the pause starts from REST instead; a later one subscribes again."""
    room = Room()
    for number in range(2):
        room.feed.take(SYMBOL, "snapshot", row(-1, 10 * number, 100.0))
        room.feed.take(SYMBOL, "update", row(77, 78, 101.0))

    assert len(room.sent) == 2
    room.clock.run_until(START_NS + 31 * SECOND)
    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 100.0))
    room.feed.take(SYMBOL, "update", row(77, 78, 101.0))
    assert len(room.sent) == 4
    assert room.feed.gaps == 3


def test_gap_while_the_socket_is_down_waits_for_the_reconnect() -> None:
    """There is nothing to unsubscribe from."""
    room = Room()
    room.down = True
    room.feed.take(SYMBOL, "snapshot", row(-1, 10, 100.0))

    room.feed.take(SYMBOL, "update", row(11, 12, 101.0))

    assert room.feed.gaps == 1


async def test_rest_aligns_a_book_without_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed answer and a too old one are asked for again."""
    monkeypatch.setattr(bookfeed, "SNAPSHOT_PAUSE_S", 0.0)
    room = Room(None, row(None, 5, 90.0), row(None, 21, 95.0))
    task = asyncio.ensure_future(room.feed.run())
    room.feed.take(SYMBOL, "update", row(19, 20, 100.0))
    room.feed.take(SYMBOL, "update", row(20, 22, 101.0))

    await until(lambda: room.sink.of(BookUpdated))

    assert room.rest.asked == 3
    assert room.bests() == [(101.0, 0.02)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_book_that_cannot_be_aligned_is_subscribed_anew() -> None:
    """After the attempts the object is thrown away, with its reason."""
    room = Room(row(None, 25, 95.0))
    task = asyncio.ensure_future(room.feed.run())
    room.feed.take(SYMBOL, "update", row(19, 20, 100.0))
    room.feed.take(SYMBOL, "update", row(30, 31, 101.0))

    await until(lambda: room.sink.refused)

    assert room.sink.refused == {"book_not_aligned": 1}
    assert len(room.sent) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_answer_for_a_forgotten_book_is_dropped() -> None:
    """A reconnect made new objects: a snapshot that was under way aligns nothing."""
    room = Room(row(None, 21, 95.0))
    room.feed.take(SYMBOL, "update", row(19, 20, 100.0))
    room.feed.reset()
    task = asyncio.ensure_future(room.feed.run())

    await until(lambda: room.rest.asked)
    await asyncio.sleep(0)

    assert not room.sink.events
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
