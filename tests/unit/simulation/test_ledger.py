from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.money import on_grid
from perpbot.domain.sides import PositionSide, Side
from perpbot.simulation.ledger import CENT_OF_MICRO, Account, Leg, booked
from tests.unit.simulation.desk import d

trades = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 99_999)), min_size=1, max_size=30
)


@given(trades)
def test_realised_and_unrealised_profit_are_the_cash_flow(history: list[tuple[int, int]]) -> None:
    """At any time and any mark, to the last digit."""
    leg = Leg()
    realized = cash = quantity = Decimal(0)
    for lots, ticks in history:
        signed, price = Decimal(lots) / 1000, Decimal(ticks) / 10
        realized += leg.trade(signed, price)
        cash -= signed * price
        quantity += signed
        assert leg.quantity == quantity
        assert on_grid(realized, CENT_OF_MICRO)
        for mark in (Decimal(1), price):
            assert realized + leg.unrealized(mark) == cash + quantity * mark
    if not quantity:
        assert leg.cost == 0


@pytest.mark.parametrize(
    ("moves", "realized", "entry"),
    [
        ([("1", "100"), ("1", "110")], "0", "105"),
        ([("2", "100"), ("-1", "110")], "10", "100"),
        ([("-2", "100"), ("1", "110")], "-10", "100"),
        ([("1", "100"), ("-3", "110")], "10", "110"),
        ([("-1", "100"), ("3", "90")], "10", "90"),
        ([("1", "100"), ("-1", "99")], "-1", "0"),
    ],
    ids=["add", "reduce long", "reduce short", "turn short", "turn long", "close"],
)
def test_leg_keeps_its_average(moves: list[tuple[str, str]], realized: str, entry: str) -> None:
    """Adding averages, reducing keeps the entry, turning starts anew."""
    leg = Leg()
    total = sum((leg.trade(d(signed), d(price)) for signed, price in moves), Decimal(0))
    assert total == d(realized)
    assert leg.entry_price == d(entry)


def test_booked_amounts_are_rounded_half_even() -> None:
    """To eight decimals, without a bias."""
    assert booked(d("0.000000005")) == 0
    assert booked(d("0.000000015")) == d("0.00000002")


def test_reducible_is_what_the_other_direction_holds() -> None:
    """A sell reduces a long; nothing reduces a flat leg."""
    account = Account("ann", {})
    assert account.reducible("X", PositionSide.NET, Side.SELL) == 0
    account.leg("X", PositionSide.NET).trade(d(2), d(1))
    assert account.reducible("X", PositionSide.NET, Side.SELL) == 2
    assert account.reducible("X", PositionSide.NET, Side.BUY) == 0
