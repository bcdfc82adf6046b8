"""A side of a book against a plain dictionary."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.venues.wire.ladder import Ladder, Level

LEVELS = st.lists(
    st.tuples(st.integers(1, 30).map(float), st.integers(0, 5).map(float)), max_size=6
)


@given(st.lists(LEVELS, max_size=20), st.booleans())
def test_a_ladder_is_the_model(messages: list[list[Level]], bids: bool) -> None:
    """After any messages: levels in order, depth, and the touch are those of a dict."""
    ladder = Ladder(bids=bids)
    model: dict[float, float] = {}
    for levels in messages:
        ladder.put(levels)
        model |= dict(levels)
        model = {price: size for price, size in model.items() if size}
        best_first = tuple(sorted(model.items(), reverse=bids))

        assert ladder.top(99) == best_first
        assert ladder.top(2) == best_first[:2]
        assert ladder.best == (best_first[0] if model else None)


@pytest.mark.parametrize("bids", [True, False], ids=["bids", "asks"])
def test_levels_leave_in_the_units_that_are_asked_for(*, bids: bool) -> None:
    """Sizes are multiplied, prices divided."""
    ladder = Ladder(bids=bids)
    ladder.put([(2_000.0, 3.0)])

    assert ladder.top(1, 0.01, 1_000.0) == ((2.0, 0.03),)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param((math.nan, 1.0), id="nan-price"),
        pytest.param((math.inf, 1.0), id="infinite-price"),
        pytest.param((0.0, 1.0), id="no-price"),
        pytest.param((-1.0, 1.0), id="negative-price"),
        pytest.param((7.0, math.nan), id="nan-size"),
        pytest.param((7.0, math.inf), id="infinite-size"),
        pytest.param((7.0, -1.0), id="negative-size"),
        pytest.param((9.0, -1.0), id="negative-size-known-level"),
        pytest.param((9.0, math.nan), id="nan-size-known-level"),
    ],
)
def test_an_impossible_level_is_refused_with_its_numbers(bad: Level) -> None:
    """What came before it in the message is no book any more."""
    ladder = Ladder(bids=True)
    ladder.put([(9.0, 1.0)])

    with pytest.raises(InvalidValue, match=f"level was {bad[0]} x {bad[1]}"):
        ladder.put([bad])


def test_removing_what_is_not_there_is_harmless() -> None:
    """Whatever its price: nothing is kept of it."""
    ladder = Ladder(bids=False)
    ladder.put([(9.0, 1.0)])
    ladder.put([(math.nan, 0.0), (-1.0, 0.0), (8.0, 0.0)])

    assert ladder.top(9) == ((9.0, 1.0),)
