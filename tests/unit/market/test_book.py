"""The order book against a plain model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Side
from perpbot.market.book import OrderBook

level = st.tuples(
    st.integers(min_value=1, max_value=30).map(float),
    st.integers(min_value=0, max_value=5).map(float),
)
message = st.tuples(st.lists(level, max_size=6), st.lists(level, max_size=6))


def model_apply(model: dict[float, float], levels: list[tuple[float, float]]) -> None:
    """Set or remove levels in a dict."""
    for price, size in levels:
        if size:
            model[price] = size
        else:
            model.pop(price, None)


def model_vwap(levels: list[tuple[float, float]], quantity: float) -> tuple[float, float] | None:
    """Walk levels that are in order, best first."""
    left, paid = quantity, 0.0
    for price, size in levels:
        taken = min(left, size)
        paid += taken * price
        left -= taken
        if left <= 0:
            return paid / quantity, price
    return None


@given(messages=st.lists(message, max_size=20), quantity=st.integers(1, 40))
def test_book_is_the_model(
    messages: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]], quantity: int
) -> None:
    """After any messages: levels, bests, crossing and depth walks are those of two dicts."""
    book = OrderBook()
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for bid_levels, ask_levels in messages:
        book.apply(bid_levels, ask_levels)
        model_apply(bids, bid_levels)
        model_apply(asks, ask_levels)
    best_first_bids = sorted(bids.items(), reverse=True)
    best_first_asks = sorted(asks.items())

    assert book.bids(99) == tuple(best_first_bids)
    assert book.asks(99) == tuple(best_first_asks)
    assert book.bids(2) == tuple(best_first_bids[:2])
    assert book.best_bid == (best_first_bids[0] if bids else None)
    assert book.best_ask == (best_first_asks[0] if asks else None)
    assert book.crossed == bool(bids and asks and max(bids) >= min(asks))
    for side, levels in ((Side.BUY, best_first_asks), (Side.SELL, best_first_bids)):
        expected = model_vwap(levels, float(quantity))
        found = book.vwap(side, float(quantity))
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found == pytest.approx(expected)


def test_snapshot_replaces_everything() -> None:
    """No level of before survives."""
    book = OrderBook()
    book.apply([(9.0, 1.0)], [(11.0, 1.0)])
    book.apply_snapshot([(8.0, 2.0)], [(12.0, 2.0)])
    assert (book.bids(9), book.asks(9)) == (((8.0, 2.0),), ((12.0, 2.0),))


def test_vwap_gives_average_and_worst_price() -> None:
    """One at 10 and one at 12 cost 11 on average, 12 at worst."""
    book = OrderBook()
    book.apply([], [(12.0, 5.0), (10.0, 1.0)])
    assert book.vwap(Side.BUY, 2.0) == (11.0, 12.0)
    assert book.vwap(Side.BUY, 6.1) is None
    assert book.vwap(Side.SELL, 1.0) is None


@pytest.mark.parametrize("quantity", [0.0, -1.0, math.nan])
def test_vwap_of_no_quantity_is_none(quantity: float) -> None:
    """There is no price for nothing."""
    book = OrderBook()
    book.apply([], [(10.0, 1.0)])
    assert book.vwap(Side.BUY, quantity) is None


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param((math.nan, 1.0), id="nan-price"),
        pytest.param((math.inf, 1.0), id="infinite-price"),
        pytest.param((0.0, 1.0), id="no-price"),
        pytest.param((-1.0, 1.0), id="negative-price"),
        pytest.param((-1.0, 0.0), id="negative-price-removal"),
        pytest.param((7.0, math.nan), id="nan-size"),
        pytest.param((7.0, math.inf), id="infinite-size"),
        pytest.param((7.0, -1.0), id="negative-size"),
        pytest.param((9.0, -1.0), id="negative-size-known-level"),
        pytest.param((9.0, math.nan), id="nan-size-known-level"),
    ],
)
def test_impossible_level_empties_the_book(bad: tuple[float, float]) -> None:
    """A book with a hole is not kept: it needs a snapshot."""
    book = OrderBook()
    book.apply([(9.0, 1.0)], [(11.0, 1.0)])
    with pytest.raises(InvalidValue, match="level was"):
        book.apply([bad], [])
    assert book.best_bid is None
    assert book.best_ask is None
