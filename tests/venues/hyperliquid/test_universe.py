"""Instruments out of the universe, and the arithmetic of thousand-coin names."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Side
from perpbot.venues.hyperliquid.universe import (
    Meta,
    Universe,
    UniverseEntry,
    instrument_of,
    wire_price,
    wire_size,
)
from tests.venues.hyperliquid.loopback import META


@pytest.fixture
def universe() -> Universe:
    """A universe with a delisted slot."""
    found = Universe()
    found.replace(msgspec.convert(META, Meta))
    return found


def test_asset_number_is_the_index_and_delisted_keep_their_slot(universe: Universe) -> None:
    """The number of a coin is its place in the list, whatever was delisted before it."""
    tradable = universe.replace(msgspec.convert(META, Meta))
    assert [(one.symbol, one.wire_code) for one in tradable] == [
        ("BTC", 0),
        ("ETH", 1),
        ("kPEPE", 3),
    ]
    gone = universe.find("GONE")
    assert gone is not None
    assert not gone.tradable
    assert universe.find("@107") is None
    assert len(universe) == 4
    assert universe.only_isolated("kPEPE")
    assert not universe.only_isolated("BTC")


def test_rules_of_bitcoin(universe: Universe) -> None:
    """Five digits, 6 - szDecimals decimals, ten dollars, hourly funding in USDC."""
    btc = universe.find("BTC")
    assert btc is not None
    assert btc.id == "hyperliquid:BTC-USDC-PERP"
    assert btc.tick_size == Decimal("0.1")
    assert btc.quantity_step == btc.min_quantity == Decimal("0.00001")
    assert btc.min_notional == 10
    assert btc.price_digits == 5
    assert btc.funding_interval_s == 3600
    assert btc.max_leverage == 40
    assert btc.round_price(Decimal("98451.5"), Side.BUY) == 98451
    assert btc.round_price(Decimal("98451.5"), Side.SELL) == 98452
    assert wire_price(btc, Decimal("98451.0")) == "98451"
    assert wire_size(btc, Decimal("0.01000")) == "0.01"


def test_k_coins_are_a_thousand(universe: Universe) -> None:
    """A k-coin is quoted for 1000 coins and sized in thousands; outside it is its coin."""
    pepe = universe.find("kPEPE")
    assert pepe is not None
    assert pepe.asset == "PEPE-PERP"
    assert pepe.price_multiplier == pepe.contract_size == 1000
    assert pepe.quantity_step == 1000
    assert pepe.tick_size == Decimal("0.000000001")
    assert wire_price(pepe, Decimal("0.0000123456")) == "0.0123456"
    assert wire_size(pepe, Decimal(250_000)) == "250"


def test_a_lone_k_and_mixed_names_are_plain_coins() -> None:
    """Only a k before an upper-case name means a thousand."""
    for name in ("K", "KAITO", "kk", "k"):
        assert instrument_of(UniverseEntry(name=name, sz_decimals=0), 0).contract_size == 1


def test_impossible_decimals_are_refused() -> None:
    """A size with more than six decimals breaks the price rule."""
    with pytest.raises(InvalidValue, match="szDecimals was 9"):
        instrument_of(UniverseEntry(name="BTC", sz_decimals=9), 0)
