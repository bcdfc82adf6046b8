"""How far a market moved within a window."""

from __future__ import annotations

import pytest

from perpbot.domain.events import QuoteUpdated
from perpbot.kernel.clock import MS
from perpbot.market.moves import Moves


def quote(mid: float, at_ms: int, venue: str = "okx", asset: str = "BTC-PERP") -> QuoteUpdated:
    """A quote around a mid."""
    return QuoteUpdated(
        venue=venue, asset=asset, bid=mid - 0.01, ask=mid + 0.01, recv_ns=at_ms * MS
    )


def moved(moves: Moves, *quotes: QuoteUpdated) -> float:
    """How far BTC has moved after some quotes."""
    for one in quotes:
        moves.note(one)
    return moves.moved_bps("BTC-PERP")


def test_first_quote_moved_nothing() -> None:
    """There is nothing to compare with."""
    assert moved(Moves(1_000), quote(100.0, 5)) == 0.0


@pytest.mark.parametrize("to", [100.5, 99.5025])
def test_move_is_highest_against_lowest(to: float) -> None:
    """Up or down, in bps of the lower one."""
    moves = Moves(1_000)
    moves.note(quote(100.0, 0))
    assert moved(moves, quote(to, 900)) == pytest.approx(50.0, abs=0.1)


def test_move_there_and_back_is_seen() -> None:
    """A spike counts for as long as the window reaches back to it."""
    moves = Moves(1_000)
    for at_ms, mid in ((0, 100.0), (300, 101.0), (310, 100.0)):
        moves.note(quote(mid, at_ms))
    assert moved(moves, quote(100.0, 1_200)) == pytest.approx(100.0)
    assert moved(moves, quote(100.0, 1_600)) == 0.0


def test_slow_move_is_no_fast_move() -> None:
    """One percent in ten seconds is a tenth of that in one."""
    moves = Moves(1_000)
    found = [moved(moves, quote(100.0 + at / 10_000, at)) for at in range(0, 10_000, 50)]
    assert max(found) <= 13.0


def test_silence_longer_than_the_window_is_no_move() -> None:
    """Two quotes far apart in time say nothing about speed."""
    moves = Moves(1_000)
    moves.note(quote(100.0, 0))
    assert moved(moves, quote(105.0, 5_000)) == 0.0


def test_asset_moved_as_far_as_its_fastest_venue() -> None:
    """Other assets do not count."""
    moves = Moves(1_000)
    for venue, to in (("okx", 100.1), ("binance", 100.3)):
        moves.note(quote(100.0, 0, venue))
        moves.note(quote(to, 10, venue))
    moves.note(quote(100.0, 0, asset="ETH-PERP"))
    moves.note(quote(120.0, 10, asset="ETH-PERP"))
    assert moves.moved_bps("BTC-PERP") == pytest.approx(30.0)
    assert moves.moved_bps("SOL-PERP") == 0.0


def test_fast_move_is_told_once_an_extreme_and_part_of_the_window() -> None:
    """What only repeats a price is not told again."""
    told: list[tuple[str, float]] = []
    moves = Moves(1_000, 50.0, lambda asset, bps: told.append((asset, bps)))
    for at_ms, mid in ((0, 100.0), (10, 100.4), (20, 101.0), (30, 101.0), (260, 101.0)):
        moves.note(quote(mid, at_ms))
    assert [(asset, round(bps)) for asset, bps in told] == [("BTC-PERP", 100)] * 2
