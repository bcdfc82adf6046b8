from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import BookChanged, BookUpdated
from perpbot.venues.binance.books import BookSync, DepthSnapshot, DepthUpdate
from perpbot.venues.wire.ladder import Level
from tests.venues.binance.stub import make_instrument
from tests.venues.sink import Sink


def _update(
    first: int, last: int, before: int, *bids: Level, asks: tuple[Level, ...] = ()
) -> DepthUpdate:
    return DepthUpdate(s="BTCUSDT", U=first, u=last, pu=before, b=list(bids), a=list(asks), T=last)


class _Desk:
    """A book under test, its sink, and how often it asked for a snapshot."""

    def __init__(self, bundle: int = 1) -> None:
        self.sink = Sink("binance")
        self.asked = 0
        self.instrument = make_instrument("BTCUSDT", bundle)
        self.book = BookSync(self.instrument, self.sink, self._ask)

    def _ask(self, book: BookSync) -> None:
        self.asked += 1

    @property
    def invalid(self) -> list[str]:
        return self.sink.slots["BTCUSDT"].invalid


def _snapshot(last: int) -> DepthSnapshot:
    return DepthSnapshot(last_update_id=last, bids=[(10.0, 1.0), (9.0, 2.0)], asks=[(11.0, 3.0)])


def test_chain_after_a_snapshot() -> None:
    """Old deltas are dropped, the bridging one is applied, then each follows the last."""
    desk = _Desk()
    desk.book.delta(_update(1, 4, 0, (8.0, 9.0)))
    desk.book.delta(_update(5, 12, 4, (10.0, 0.0)))
    assert desk.asked == 1

    desk.book.snapshot(_snapshot(10))
    desk.book.delta(_update(13, 14, 12, (9.5, 4.0), asks=((11.0, 0.0), (12.0, 1.0))))

    assert desk.book.top() == (((9.5, 4.0), (9.0, 2.0)), ((12.0, 1.0),))
    assert desk.book.last_update_id == 14
    assert [one.sequence for one in desk.sink.of(BookChanged)] == [12, 14]
    assert desk.sink.of(BookUpdated)[-1].bids == ((9.5, 4.0), (9.0, 2.0))
    assert desk.invalid == []


def test_gap_throws_the_book_away_and_asks_again() -> None:
    """A broken chain invalidates the slot at once and starts from a new snapshot."""
    desk = _Desk()
    desk.book.delta(_update(5, 12, 4))
    desk.book.snapshot(_snapshot(10))
    published = len(desk.sink.events)

    desk.book.delta(_update(20, 22, 19, (10.0, 5.0)))

    assert not desk.book.is_ready
    assert desk.asked == 2
    assert desk.book.gaps == 1
    assert "19" in desk.invalid[0]
    assert desk.sink.refused == {"depth gap": 1}
    assert len(desk.sink.events) == published

    desk.book.snapshot(_snapshot(21))
    assert desk.book.top()[0][0] == (10.0, 5.0)
    assert desk.book.last_update_id == 22


def test_snapshot_older_than_the_stream_is_asked_again() -> None:
    """The first delta starts after the snapshot ends: something lies between."""
    desk = _Desk()
    desk.book.delta(_update(15, 18, 14))
    desk.book.snapshot(_snapshot(10))

    assert not desk.book.is_ready
    assert desk.asked == 2


def test_failed_snapshot_is_asked_again_with_the_next_delta() -> None:
    """A REST failure does not leave the book waiting for ever."""
    desk = _Desk()
    desk.book.delta(_update(5, 12, 4))
    desk.book.snapshot_failed()
    desk.book.delta(_update(13, 14, 12))
    assert desk.asked == 2
    desk.book.snapshot(_snapshot(13))

    assert desk.book.is_ready


def test_lost_stream_resets_and_ignores_the_late_snapshot() -> None:
    """A snapshot of before the loss does not meet deltas of after it."""
    desk = _Desk()
    desk.book.delta(_update(5, 12, 4))
    desk.book.snapshot(_snapshot(10))
    desk.book.reset("socket lost")
    assert desk.invalid == ["socket lost"]
    desk.book.snapshot(_snapshot(30))
    assert not desk.book.is_ready

    desk.book.delta(_update(40, 41, 39))
    assert desk.asked == 2


def test_bundled_coins_are_published_in_base_coins() -> None:
    """Prices shrink and sizes grow by the bundle."""
    desk = _Desk(1000)
    desk.book.delta(_update(5, 12, 4, (10.0, 2.0)))
    desk.book.snapshot(_snapshot(10))

    assert desk.sink.of(BookChanged)[0].bids == ((0.01, 2000.0),)
    assert desk.sink.of(BookUpdated)[-1].asks == ((0.011, 3000.0),)


def test_an_impossible_level_throws_the_book_away() -> None:
    """The delta that carries it is not tried again; the next one asks for a snapshot."""
    desk = _Desk()
    desk.book.delta(_update(5, 12, 4))
    desk.book.snapshot(_snapshot(10))
    desk.book.delta(_update(13, 14, 12, (float("nan"), 1.0)))

    assert not desk.book.is_ready
    assert desk.sink.refused == {"depth level": 1}
    assert "level was nan" in desk.invalid[0]
    desk.book.delta(_update(15, 16, 14))
    assert desk.asked == 2


def test_a_snapshot_with_an_impossible_level_is_no_book() -> None:
    """The caller hears of it and waits before it asks again."""
    desk = _Desk()
    desk.book.delta(_update(5, 12, 4))
    with pytest.raises(InvalidValue, match="level was"):
        desk.book.snapshot(DepthSnapshot(last_update_id=10, bids=[(-1.0, 1.0)], asks=[]))
    desk.book.snapshot_failed()

    assert not desk.book.is_ready
    desk.book.delta(_update(13, 14, 12))
    assert desk.asked == 2


_LEVELS = st.lists(
    st.tuples(st.integers(1, 30).map(float), st.sampled_from([0.0, 1.0, 2.5])), max_size=6
)


@given(st.lists(st.tuples(_LEVELS, _LEVELS), max_size=30))
def test_book_equals_a_plain_dictionary(updates: list[tuple[list[Level], list[Level]]]) -> None:
    """After any deltas the sorted sides are what setting and deleting keys gives."""
    desk = _Desk()
    desk.book.delta(_update(1, 1, 0))
    desk.book.snapshot(DepthSnapshot(last_update_id=1, bids=[], asks=[]))
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for number, (bid_levels, ask_levels) in enumerate(updates, start=2):
        desk.book.delta(_update(number, number, number - 1, *bid_levels, asks=tuple(ask_levels)))
        for side, levels in ((bids, bid_levels), (asks, ask_levels)):
            for price, size in levels:
                side[price] = size
    wanted_bids = sorted(((p, s) for p, s in bids.items() if s), reverse=True)
    wanted_asks = sorted((p, s) for p, s in asks.items() if s)

    assert desk.book.top(100) == (tuple(wanted_bids), tuple(wanted_asks))


@pytest.mark.parametrize("skipped", [1, 2, 5])
def test_any_missing_delta_is_noticed(skipped: int) -> None:
    """Leaving out one of many deltas breaks the chain at the next."""
    desk = _Desk()
    for number in range(1, 8):
        if number == skipped + 1:
            continue
        desk.book.delta(_update(number * 10, number * 10 + 9, number * 10 - 1))
        if number == 1:
            desk.book.snapshot(_snapshot(12))

    assert desk.book.gaps == 1
