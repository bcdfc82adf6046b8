"""Grids of prices and quantities, and spellings of symbols."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument, asset_key, parse_asset
from perpbot.domain.money import on_grid
from perpbot.domain.sides import Side

D = Decimal


def instrument(**changes: Any) -> Instrument:
    """Return an OKX swap: contracts of 0.01 BTC, one of them at least."""
    fields: dict[str, Any] = {
        "venue": "okx",
        "asset": "BTC-PERP",
        "symbol": "BTC-USDT-SWAP",
        "base": "BTC",
        "settle": "USDT",
        "tick_size": D("0.1"),
        "quantity_step": D("0.01"),
        "min_quantity": D("0.01"),
        "max_quantity": D("100"),
        "min_notional": D(5),
        "contract_size": D("0.01"),
    }
    return Instrument(**(fields | changes))


def hyperliquid(tick: str = "0.000001") -> Instrument:
    """Return an instrument whose prices have five significant digits."""
    return instrument(venue="hyperliquid", settle="USDC", tick_size=D(tick), price_digits=5)


def test_the_id_names_venue_base_and_settle_currency() -> None:
    """As settings and reports write it."""
    assert instrument().id == "okx:BTC-USDT-PERP"


@pytest.mark.parametrize(
    ("quantity", "mark", "is_dust"),
    [
        ("0", None, True),
        ("0.009", "60000", True),
        ("-0.01", "60000", False),
        ("0.01", "499", True),
        ("-0.01", "499", True),
        ("0.01", None, False),
    ],
)
def test_dust_is_what_the_venue_does_not_trade_by_itself(
    quantity: str, mark: str | None, is_dust: bool
) -> None:
    """Less than a step or the minimum, or worth too little where a mark tells."""
    price = None if mark is None else D(mark)

    assert instrument().is_dust(D(quantity), price) is is_dust


@given(st.decimals("0.1", "1000000", places=4), st.sampled_from(list(Side)))
def test_a_rounded_price_is_never_more_aggressive(price: Decimal, side: Side) -> None:
    """A buy never pays more, a sell never takes less; a tick at most."""
    rounded = instrument().round_price(price, side)

    assert on_grid(rounded, D("0.1"))
    assert 0 <= (price - rounded) * side.sign < D("0.1")


@pytest.mark.parametrize(
    ("price", "buy", "sell"),
    [
        ("123456.7", "123456", "123457"),
        ("1234.56", "1234.5", "1234.6"),
        ("99999.5", "99999", "100000"),
        ("0.0123456", "0.012345", "0.012346"),
        ("1.00001", "1", "1.0001"),
        ("12345", "12345", "12345"),
    ],
)
def test_hyperliquid_prices_have_five_significant_figures(price: str, buy: str, sell: str) -> None:
    """Whole numbers are always allowed."""
    found = hyperliquid()

    assert found.round_price(D(price), Side.BUY) == D(buy)
    assert found.round_price(D(price), Side.SELL) == D(sell)
    found.check_order(D(buy), D(1), reduce_only=True)
    if D(price) != D(buy):
        with pytest.raises(InvalidValue, match="price was"):
            found.check_order(D(price), D(1), reduce_only=True)


@given(
    st.decimals(allow_nan=True, allow_infinity=True) | st.just(D("sNaN")),
    st.sampled_from(list(Side)),
    st.sampled_from([instrument(), hyperliquid(), hyperliquid("1"), instrument(tick_size=D(0))]),
)
def test_any_number_is_rounded_or_refused(price: Decimal, side: Side, found: Instrument) -> None:
    """No error of the arithmetic gets out: it would end the core."""
    try:
        rounded = found.round_price(price, side)
    except InvalidValue:
        pass
    else:
        assert rounded.is_finite()
        assert (price - rounded) * side.sign >= 0
    with suppress(InvalidValue):
        assert found.round_quantity(price) <= price
    with suppress(InvalidValue):
        found.check_order(price, D(1), reduce_only=False)
        assert found.round_price(price, side) == price
    with suppress(InvalidValue):
        found.check_order(None, price, reduce_only=False)
        assert price.is_finite()


def test_a_quantity_is_rounded_down() -> None:
    """Never more than was meant."""
    assert instrument().round_quantity(D("0.0199")) == D("0.01")


@pytest.mark.parametrize(
    ("price", "quantity", "words"),
    [
        ("100", "0", "positive multiple of 0.01"),
        ("100", "-1", "positive multiple of 0.01"),
        ("100", "0.015", "positive multiple of 0.01"),
        ("100", "100.01", "at most 100"),
        ("100.05", "1", "positive multiple of 0.1"),
        ("0", "1", "positive multiple of 0.1"),
        ("-1", "1", "positive multiple of 0.1"),
        ("100", "0.04", "notional was 4, at least 5"),
    ],
)
def test_an_order_that_the_venue_would_refuse_is_refused_here(
    price: str, quantity: str, words: str
) -> None:
    """With the instrument, the number and what would be right."""
    with pytest.raises(InvalidValue, match=f"okx:BTC-USDT-PERP: .*{words}"):
        instrument().check_order(D(price), D(quantity), reduce_only=False)


def test_limits_may_be_reached() -> None:
    """Smallest, largest, cheapest; a market order has no price to check."""
    found = instrument(min_quantity=D("0.02"))
    found.check_order(D(100), D("0.05"), reduce_only=False)
    found.check_order(D(100), D(100), reduce_only=False)
    found.check_order(None, D("0.02"), reduce_only=False)
    found.check_order(D(100), D("0.02"), reduce_only=True)
    with pytest.raises(InvalidValue, match=r"at least 0.02"):
        found.check_order(D(100), D("0.01"), reduce_only=True)
    instrument(max_quantity=None).check_order(D(100), D(10_000), reduce_only=False)


@pytest.mark.parametrize(
    ("text", "asset"),
    [
        ("BTC-PERP", "BTC-PERP"),
        ("BTC-USD", "BTC-PERP"),
        ("BTC-USDT", "BTC-PERP"),
        ("BTC/USDT", "BTC-PERP"),
        ("BTC/USDT:USDT", "BTC-PERP"),
        ("BTC/USDC:USDC", "BTC-PERP"),
        ("BTC-USDT-SWAP", "BTC-PERP"),
        ("BTC-USDT-PERP", "BTC-PERP"),
        ("btcusdt", "BTC-PERP"),
        (" eth ", "ETH-PERP"),
        ("1000PEPEUSDT", "PEPE-PERP"),
        ("1000PEPE", "PEPE-PERP"),
        ("1000000MOGUSDT", "MOG-PERP"),
        ("kPEPE", "PEPE-PERP"),
        ("KAVA", "KAVA-PERP"),
        ("kavausdt", "KAVA-PERP"),
        ("1INCHUSDT", "1INCH-PERP"),
        ("USDT", "USDT-PERP"),
    ],
)
def test_every_spelling_of_a_perpetual_is_understood(text: str, asset: str) -> None:
    """One asset key for all venues."""
    assert parse_asset(text) == asset


@pytest.mark.parametrize("text", ["", "-", "BTC-ETH", "BTC-USDT-260101", "B TC", "btc!", "ßTC"])
def test_other_texts_are_refused(text: str) -> None:
    """With an example of what would be right."""
    with pytest.raises(InvalidValue, match="such as BTC-PERP"):
        parse_asset(text)


def test_an_asset_key_is_upper_case() -> None:
    """Whatever the base was."""
    assert asset_key("btc") == "BTC-PERP"
