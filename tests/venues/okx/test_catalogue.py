"""Instruments of OKX."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import Rejected
from perpbot.venues.okx.catalogue import Catalogue, InstrumentRow, instrument_of
from tests.venues.okx.support import BTC, INSTRUMENT_ROW


def a_row(**changes: Any) -> InstrumentRow:
    """Return the row of an instrument, changed."""
    return msgspec.convert({**INSTRUMENT_ROW, **changes}, InstrumentRow)


def test_contracts_become_base_coins() -> None:
    """Steps and limits are contracts times ctVal times ctMult."""
    assert instrument_of(a_row()) == BTC


@pytest.mark.parametrize(
    ("code", "number"), [(10459, 10459), ("10459", 10459), (None, 0), ("", 0)], ids=repr
)
def test_wire_code_may_be_missing(code: object, number: int) -> None:
    """An instrument that has no code yet does not spoil the list."""
    assert instrument_of(a_row(instIdCode=code)).wire_code == number


def test_contract_multiplier_counts() -> None:
    """The value of a contract is ctVal times ctMult."""
    instrument = instrument_of(a_row(ctVal="10", ctMult="100", lotSz="1", minSz="1"))

    assert instrument.contract_size == Decimal(1000)
    assert instrument.quantity_step == Decimal(1000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"ctType": "inverse"}, "instrument inverse", id="inverse"),
        pytest.param({"ctType": ""}, "instrument without contract type", id="no-type"),
        pytest.param({"settleCcy": "BTC"}, "instrument settled in BTC", id="settle"),
        pytest.param(
            {"ctValCcy": "USD"}, "instrument with contracts not in its base coin", id="value"
        ),
        pytest.param({"tickSz": ""}, "tickSz was ''", id="empty-tick"),
        pytest.param({"ctVal": "NaN"}, "ctVal was 'NaN'", id="nan"),
        pytest.param({"lotSz": "0"}, "lotSz was 0", id="zero-lot"),
    ],
)
def test_other_instruments_are_refused_by_reason(changes: dict[str, Any], reason: str) -> None:
    """What is not a linear swap with sane numbers is left out, counted, and known as foreign."""
    catalogue = Catalogue()

    assert catalogue.load([a_row(**changes)]) == []
    (counted,) = catalogue.refused
    assert reason in counted
    assert catalogue.is_foreign("BTC-USDT-SWAP")


def test_load_returns_tradable_ones_and_keeps_all() -> None:
    """A suspended swap is not offered, but positions in it can still be read."""
    catalogue = Catalogue()

    found = catalogue.load(
        [
            a_row(instId="BTC-USDC-SWAP", uly="BTC-USDC", settleCcy="USDC"),
            a_row(),
            a_row(instId="ETH-USDT-SWAP", uly="ETH-USDT", ctValCcy="ETH", state="suspend"),
        ]
    )

    assert [one.symbol for one in found] == ["BTC-USDT-SWAP", "BTC-USDC-SWAP"]
    suspended = catalogue.get("ETH-USDT-SWAP")
    assert suspended is not None
    assert not suspended.tradable


def test_unknown_symbol_is_a_definite_refusal() -> None:
    """An order for what OKX does not list never leaves."""
    with pytest.raises(Rejected, match="linear swap"):
        Catalogue().require("BTC-USD-SWAP")


def test_added_instruments_do_not_replace_known_ones() -> None:
    """The venue's own list wins over what a caller brings."""
    catalogue = Catalogue()
    catalogue.load([a_row(lever="50")])

    catalogue.add([BTC])

    assert catalogue.require("BTC-USDT-SWAP").max_leverage == 50
