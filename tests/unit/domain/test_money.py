"""Exact arithmetic."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import (
    ceil_to,
    common_step,
    decimal_of,
    decimal_of_float,
    floor_to,
    on_grid,
    plain,
)

VALUES = st.decimals("-1e9", "1e9", places=8)
STEPS = st.sampled_from([Decimal(t) for t in ("0.00001", "0.001", "0.05", "0.1", "1", "5", "100")])


@pytest.mark.parametrize("value", ["1.50", 3, Decimal("0.1"), "-2e-3"])
def test_a_number_is_read_exactly(value: str | int | Decimal) -> None:
    """With all its digits."""
    assert str(decimal_of(value)) == str(Decimal(value))


@pytest.mark.parametrize(
    "value", ["", "abc", "NaN", "Infinity", "-inf", "sNaN", None, [], 0.1, True, float("nan")]
)
def test_what_is_no_exact_number_is_refused_by_name(value: Any) -> None:
    """A float has lost digits already; a truth value is no amount."""
    with pytest.raises(InvalidValue, match=r"^bid was "):
        decimal_of(value, "bid")


@given(st.floats(-1e24, 1e24, exclude_min=True, exclude_max=True))
def test_a_float_becomes_its_shortest_decimal(value: float) -> None:
    """Which reads back as the same float."""
    assume(not value or abs(value) >= 1e-24)
    assert float(decimal_of_float(value)) == value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 1e24, -1e24, 9.9e-25, -9.9e-25, 1e308]
)
def test_a_float_that_is_no_number_is_refused(value: float) -> None:
    """Nothing comes of NaN, and no market has a price that no arithmetic can round."""
    with pytest.raises(InvalidValue, match=r"^bid was "):
        decimal_of_float(value, "bid")


@pytest.mark.parametrize("value", ["1e24", "-1e999", "1e-25", "1e999999999", 10**24, "1" * 4_000])
def test_a_decimal_that_no_market_has_is_refused(value: str | int) -> None:
    """By its name, and shortly."""
    with pytest.raises(InvalidValue, match=r"^bid was ") as refused:
        decimal_of(value, "bid")
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("value", ["0", "0e-99", "-0", "1e23", "-1e-24", "0." + "1" * 60])
def test_zero_and_long_fractions_are_numbers(value: str) -> None:
    """With all their digits."""
    assert decimal_of(value) == Decimal(value)


@given(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.sampled_from(["0", "NaN", "1e-30", "1e-8", "0.1", "3", "1e30"]),
)
def test_rounding_gives_a_number_or_says_that_it_cannot(value: Decimal, step: str) -> None:
    """No error of the arithmetic gets out."""
    for work in (floor_to, ceil_to, on_grid):
        with suppress(InvalidValue):
            found = work(value, Decimal(step))
            assert found is True or found is False or found.is_finite()
    with suppress(InvalidValue):
        assert common_step(value, Decimal(step)) > 0


@given(VALUES, STEPS)
def test_rounding_lands_on_the_grid_on_the_right_side(value: Decimal, step: Decimal) -> None:
    """Floor below, ceiling above; what is on the grid stays as it is."""
    low, high = floor_to(value, step), ceil_to(value, step)

    assert on_grid(low, step)
    assert on_grid(high, step)
    assert low <= value <= high
    assert high - low == (Decimal(0) if on_grid(value, step) else step)


@given(STEPS, STEPS)
def test_the_common_step_is_the_least_multiple_of_both(first: Decimal, second: Decimal) -> None:
    """And no smaller one is."""
    step = common_step(first, second)

    assert on_grid(step, first)
    assert on_grid(step, second)
    assert step <= first * second / min(first, second) * 100
    multiple = max(first, second)
    while multiple < step:
        assert not (on_grid(multiple, first) and on_grid(multiple, second))
        multiple += max(first, second)


@pytest.mark.parametrize(("first", "second"), [("0", "1"), ("1", "0"), ("-1", "1")])
def test_steps_that_are_none_have_no_common_step(first: str, second: str) -> None:
    """An instrument without a step cannot be traded."""
    with pytest.raises(InvalidValue, match="steps were"):
        common_step(Decimal(first), Decimal(second))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("100", "100"),
        ("-2.0", "-2"),
        ("1e-7", "0.0000001"),
    ],
)
def test_numbers_are_written_plainly(value: str, text: str) -> None:
    """No exponent, no trailing zeros."""
    assert plain(Decimal(value)) == text


@given(VALUES)
def test_what_is_written_reads_back(value: Decimal) -> None:
    """The same number."""
    assert Decimal(plain(value)) == value
