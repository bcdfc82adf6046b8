"""The sequence rule of channel `books`."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.venues.okx.books import MAX_WAITING, SequencedBook, Step
from perpbot.venues.okx.codec import BookRow, Level


def row(
    previous: int | None,
    sequence: int | None,
    *,
    bids: tuple[tuple[float, float], ...] = (),
    asks: tuple[tuple[float, float], ...] = (),
) -> BookRow:
    """Return a row of one or two sides."""
    return BookRow(
        asks=[Level(*level) for level in asks],
        bids=[Level(*level) for level in bids],
        ts=1,
        seq_id=sequence,
        prev_seq_id=previous,
    )


def live_book() -> SequencedBook:
    """Return a book that has its snapshot."""
    book = SequencedBook()
    book.take("snapshot", row(-1, 10, bids=((100.0, 5.0), (99.0, 7.0)), asks=((101.0, 3.0),)))
    return book


def test_snapshot_then_updates() -> None:
    """An update sets and removes levels; the best comes first, sizes scaled."""
    book = live_book()

    step = book.take("update", row(10, 12, bids=((100.0, 0.0), (99.5, 2.0)), asks=((102.0, 1.0),)))

    assert step is Step.APPLIED
    assert book.bids.top(5, 0.1) == ((99.5, 0.2), (99.0, 7.0 * 0.1))
    assert book.asks.top(1, 1.0) == ((101.0, 3.0),)
    assert book.sequence == 12


def test_keep_alive_changes_nothing() -> None:
    """An empty update with prevSeqId equal to seqId is a heartbeat."""
    book = live_book()

    assert book.take("update", row(10, 10)) is Step.QUIET
    assert book.take("update", row(10, 11, bids=((98.0, 1.0),))) is Step.APPLIED


def test_removing_an_unknown_level_is_harmless() -> None:
    """Size 0 at a price that is not there removes nothing."""
    book = live_book()

    book.take("update", row(10, 11, bids=((50.0, 0.0),)))

    assert len(book.bids.top(10, 1.0)) == 2


def test_reset_after_maintenance_goes_on() -> None:
    """A seqId below its prevSeqId is taken once, where it chains to the last one."""
    book = live_book()

    assert book.take("update", row(10, 3, bids=((98.0, 1.0),))) is Step.APPLIED
    assert book.take("update", row(3, 4, bids=((97.0, 1.0),))) is Step.APPLIED


@pytest.mark.parametrize(
    "following",
    [
        pytest.param(row(11, 12, bids=((98.0, 1.0),)), id="missing"),
        pytest.param(row(9, 12, bids=((98.0, 1.0),)), id="repeated"),
        pytest.param(row(None, None, bids=((98.0, 1.0),)), id="without-sequence"),
    ],
)
def test_gap_spoils_the_book(following: BookRow) -> None:
    """Whatever does not chain is a gap, and the book is not ready any more."""
    book = live_book()

    assert book.take("update", following) is Step.GAP
    assert not book.is_ready


@pytest.mark.parametrize("action", ["snapshot", "update"])
def test_an_impossible_level_spoils_the_book(action: str) -> None:
    """Whether it comes with a snapshot or an update."""
    book = live_book()

    assert book.take(action, row(10, 11, bids=((math.nan, 1.0),))) is Step.GAP
    assert not book.is_ready


def test_an_impossible_level_from_rest_is_a_gap() -> None:
    """The book starts anew."""
    book = SequencedBook()
    book.take("update", row(10, 11))

    assert book.align(row(None, 12, bids=((-1.0, 1.0),))) is Step.GAP
    assert not book.is_ready


def test_frames_of_before_2022_have_no_sequence() -> None:
    """A snapshot without seqId starts a book that cannot notice gaps, as the protocol was then."""
    book = SequencedBook()

    assert book.take("snapshot", row(None, None, bids=((1.0, 1.0),))) is Step.APPLIED
    assert book.take("update", row(None, None, bids=((2.0, 1.0),))) is Step.APPLIED
    assert book.bids.top(1, 1.0) == ((2.0, 1.0),)


def test_without_snapshot_it_asks_rest_and_aligns() -> None:
    """Updates wait for REST; those it covers are dropped, the first kept one may overlap it."""
    book = SequencedBook()
    steps = [
        book.take("update", row(19, 20, bids=((1.0, 1.0),))),
        book.take("update", row(20, 22, bids=((2.0, 2.0),))),
        book.take("update", row(22, 25, bids=((3.0, 3.0),))),
        book.take("update", row(25, 26, bids=((4.0, 4.0),))),
    ]

    assert steps == [Step.SNAPSHOT_NEEDED, Step.WAITING, Step.WAITING, Step.WAITING]
    assert book.align(row(None, 23, bids=((9.0, 9.0),))) is Step.APPLIED
    assert book.bids.top(5, 1.0) == ((9.0, 9.0), (4.0, 4.0), (3.0, 3.0))
    assert book.sequence == 26


def test_too_old_snapshot_is_asked_for_again() -> None:
    """A REST snapshot from before the first update leaves a hole."""
    book = SequencedBook()
    book.take("update", row(19, 20))
    book.take("update", row(20, 22, bids=((2.0, 2.0),)))

    assert book.align(row(None, 19)) is Step.SNAPSHOT_NEEDED
    assert not book.is_ready
    assert book.align(row(None, 20, bids=((9.0, 9.0),))) is Step.APPLIED
    assert book.sequence == 22


def test_newer_snapshot_waits_for_its_updates() -> None:
    """Updates that a newer snapshot covers are dropped also when they come after it."""
    book = SequencedBook()
    book.take("update", row(19, 20))

    assert book.align(row(None, 25, bids=((9.0, 9.0),))) is Step.APPLIED
    assert book.take("update", row(20, 25, bids=((2.0, 2.0),))) is Step.QUIET
    assert book.take("update", row(25, 27, bids=((3.0, 3.0),))) is Step.APPLIED
    assert book.take("update", row(28, 29)) is Step.GAP


def test_updates_that_do_not_reach_the_snapshot_are_a_gap() -> None:
    """After REST the first update must overlap the snapshot."""
    book = SequencedBook()
    book.take("update", row(19, 20))
    book.take("update", row(30, 31, bids=((2.0, 2.0),)))

    assert book.align(row(None, 25)) is Step.GAP
    assert not book.is_ready


def test_snapshot_on_the_socket_wins_over_rest() -> None:
    """A REST answer that comes after the socket's snapshot is not needed."""
    book = SequencedBook()
    book.take("update", row(19, 20))
    book.take("snapshot", row(-1, 40, bids=((5.0, 5.0),)))

    assert book.align(row(None, 30, bids=((1.0, 1.0),))) is Step.QUIET
    assert book.sequence == 40


def test_rest_snapshot_without_sequence_is_no_use() -> None:
    """Without seqId nothing can be aligned."""
    assert SequencedBook().align(row(None, None)) is Step.GAP


def test_waiting_updates_are_bounded() -> None:
    """A snapshot that never comes does not fill the memory."""
    book = SequencedBook()
    steps = {book.take("update", row(n, n + 1)) for n in range(MAX_WAITING + 1)}

    assert steps == {Step.SNAPSHOT_NEEDED, Step.WAITING}
    assert book.take("update", row(MAX_WAITING + 1, MAX_WAITING + 2)) is Step.GAP


@given(
    seed=st.integers(0, 2**32 - 1),
    joins=st.integers(0, 20),
    snapshot_at=st.integers(0, 25),
    by_socket=st.booleans(),
    lost=st.none() | st.integers(0, 39),
)
def test_book_equals_the_venues_or_says_gap(
    seed: int, joins: int, snapshot_at: int, by_socket: bool, lost: int | None
) -> None:
    """However it starts, a ready book holds the venue's levels; a lost update is noticed."""
    rng = random.Random(seed)
    venue: dict[float, float] = {}
    sequence = 100
    book = SequencedBook()
    history: list[tuple[int, dict[float, float]]] = []
    wanted = False
    if by_socket:
        joins = 0
        book.take("snapshot", row(-1, sequence))
    for step_number in range(40):
        previous, sequence = sequence, sequence + rng.randint(1, 3)
        levels = tuple(
            (float(rng.randint(1, 8)), float(rng.randint(0, 3))) for _ in range(rng.randint(1, 3))
        )
        for price, size in levels:
            venue.pop(price, None)
            if size:
                venue[price] = size
        history.append((sequence, dict(venue)))
        if step_number >= joins and step_number != lost:
            step = book.take("update", row(previous, sequence, bids=levels))
            wanted = wanted or step is Step.SNAPSHOT_NEEDED
            if step is Step.GAP:
                assert lost is not None
                return
        if wanted and not book.is_ready and step_number >= joins + snapshot_at // 2:
            at, snapshot = rng.choice(history)
            step = book.align(row(None, at, bids=tuple(snapshot.items())))
            if step is Step.GAP:
                assert lost is not None
                return
        if book.is_ready and book.sequence == sequence:
            assert dict(book.bids.top(100, 1.0)) == venue
    if lost is not None and lost > joins and lost < 39 and book.is_ready:
        # Not noticed only because the snapshot was newer than what was lost.
        assert dict(book.bids.top(100, 1.0)) == venue
