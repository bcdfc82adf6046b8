"""What the venue says of an account becomes reports in our units."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Liquidity, OrderState, Side
from perpbot.venues.hyperliquid.statement import (
    ORDER_STATES,
    AddressBudget,
    ClearinghouseState,
    OrderUpdate,
    Reader,
    WireFill,
    WireFunding,
    client_id_of,
    cloid_of,
)
from perpbot.venues.hyperliquid.universe import Meta, Universe
from tests.venues.hyperliquid.loopback import META, client_id


@pytest.fixture
def reader() -> Reader:
    """A reader with a small universe."""
    universe = Universe()
    universe.replace(msgspec.convert(META, Meta))
    return Reader(universe, account="main")


def update(status: str, *, remaining: str = "0.03", **order: Any) -> OrderUpdate:
    """Return an order of 0.05 BTC of which `remaining` is left."""
    fields = {
        "coin": "BTC",
        "side": "B",
        "limitPx": "64900.0",
        "sz": remaining,
        "oid": 90,
        "timestamp": 1_795_000_000_000,
        "origSz": "0.05",
    } | order
    told = {"order": fields, "status": status, "statusTimestamp": 1_795_000_000_500}
    return msgspec.convert(told, OrderUpdate)


@pytest.mark.parametrize(
    ("status", "remaining", "state", "filled"),
    [
        ("open", "0.05", OrderState.ACCEPTED, "0"),
        ("open", "0.03", OrderState.PARTIALLY_FILLED, "0.02"),
        ("triggered", "0.05", OrderState.ACCEPTED, "0"),
        ("filled", "0.0", OrderState.FILLED, "0.05"),
        ("filled", "0.03", OrderState.CANCELLED, "0.02"),
        ("filled", "0.05", OrderState.FILLED, None),
        ("canceled", "0.03", OrderState.CANCELLED, "0.02"),
        ("canceled", "0.05", OrderState.CANCELLED, "0"),
        ("canceled", "0.0", OrderState.CANCELLED, None),
        ("selfTradeCanceled", "0.05", OrderState.CANCELLED, "0"),
        ("badAloPxRejected", "0.05", OrderState.REJECTED, "0"),
        ("iocCancelRejected", "0.05", OrderState.REJECTED, "0"),
        ("open", "0.09", OrderState.ACCEPTED, None),
        ("somethingNew", "0.05", OrderState.UNKNOWN, "0"),
    ],
)
def test_order_status_and_progress(
    reader: Reader, status: str, remaining: str, state: OrderState, filled: str | None
) -> None:
    """A status gives the state; a size that contradicts it says nothing of fills."""
    report = reader.order(update(status, remaining=remaining))
    assert report.state is state
    assert report.filled == (None if filled is None else Decimal(filled))
    assert report.venue_ns == 1_795_000_000_500_000_000


def test_unknown_status_is_told_by_name(reader: Reader) -> None:
    """A status of tomorrow is unknown with its name, never a guess."""
    report = reader.order(update("quantumCanceled"))
    assert report.state is OrderState.UNKNOWN
    assert report.reason == "unknown status quantumCanceled"
    assert report.code == "quantumCanceled"


def test_every_known_status_has_a_sensible_state() -> None:
    """The names of the venue say themselves whether they cancel or reject."""
    for status, state in ORDER_STATES.items():
        if status.endswith("Rejected"):
            assert state is OrderState.REJECTED
        if status.endswith("Canceled"):
            assert state is OrderState.CANCELLED


def test_order_in_full(reader: Reader) -> None:
    """Side, units, ids and flags are ours."""
    ours = client_id()
    report = reader.order(update("open", cloid=cloid_of(ours), reduceOnly=True, side="A"))
    assert report.client_id == ours
    assert report.venue_order_id == "90"
    assert report.side is Side.SELL
    assert report.quantity == Decimal("0.05")
    assert report.price == 64900
    assert report.reduce_only
    assert report.reason == ""


def test_order_of_thousands_and_of_an_unknown_market(reader: Reader) -> None:
    """k-coins are scaled; a spot order is told in its own numbers."""
    pepe = reader.order(
        update("open", coin="kPEPE", limitPx="0.012", origSz="250", remaining="200")
    )
    assert pepe.quantity == 250_000
    assert pepe.filled == 50_000
    assert pepe.price == Decimal("0.000012")
    spot = reader.order(update("open", coin="@107"))
    assert (spot.symbol, spot.quantity, spot.client_id) == ("@107", Decimal("0.05"), "")


@pytest.mark.parametrize(
    "cloid",
    [None, "", "0x" + "1" * 32, "0x" + "g" * 32, "ab" * 16, "0x12"],
    ids=["none", "empty", "foreign", "not-hex", "no-prefix", "short"],
)
def test_foreign_client_id_is_not_ours(cloid: str | None) -> None:
    """Only an id whose check digits hold is one of ours."""
    assert client_id_of(cloid) == ""


def test_own_client_id_comes_back() -> None:
    """The wire id of an order of ours reads back as its canonical id."""
    ours = client_id()
    assert client_id_of(cloid_of(ours)) == ours


def fill(**changes: Any) -> WireFill:
    """Return a fill of 0.02 BTC."""
    fields = {
        "coin": "BTC",
        "px": "64890.5",
        "sz": "0.02",
        "side": "B",
        "time": 1_795_000_000_123,
        "startPosition": "0.0",
        "dir": "Open Long",
        "closedPnl": "0.0",
        "hash": "0x0",
        "oid": 90,
        "crossed": True,
        "fee": "0.584",
        "tid": 555,
        "feeToken": "USDC",
        "twapId": None,
    } | changes
    return msgspec.convert(fields, WireFill)


def test_fill(reader: Reader) -> None:
    """A positive fee is a cost; who crossed is the taker."""
    report = reader.fill(fill())
    assert report is not None
    assert report.trade_id == "555"
    assert report.price == Decimal("64890.5")
    assert report.fee == Decimal("0.584")
    assert report.liquidity is Liquidity.TAKER
    assert report.venue_ns == 1_795_000_000_123_000_000
    maker = reader.fill(fill(crossed=False, fee="-0.1", coin="kPEPE", px="0.012", sz="3"))
    assert maker is not None
    assert maker.liquidity is Liquidity.MAKER
    assert maker.fee == Decimal("-0.1")
    assert maker.asset == "PEPE-PERP"
    assert maker.quantity == 3000
    assert maker.price == Decimal("0.000012")


def test_fill_of_a_spot_market_is_left_out(reader: Reader) -> None:
    """What is not a perpetual of this universe is not ours to account for."""
    assert reader.fill(fill(coin="@156")) is None


def test_odd_number_is_refused(reader: Reader) -> None:
    """NaN and words never become money."""
    for price in ("NaN", "Infinity", "", "x"):
        with pytest.raises(InvalidValue, match="px"):
            reader.fill(fill(px=price))
    with pytest.raises(InvalidValue, match="time"):
        reader.fill(fill(time=10**20))


def state(**changes: Any) -> ClearinghouseState:
    """Return an account that is short 0.5 BTC and long 2000 PEPE."""
    fields = {
        "assetPositions": [
            {
                "type": "oneWay",
                "position": {
                    "coin": "BTC",
                    "szi": "-0.5",
                    "entryPx": "65000.0",
                    "leverage": {"type": "cross", "value": 1},
                    "liquidationPx": "120000.0",
                    "positionValue": "32000.0",
                    "unrealizedPnl": "500.0",
                },
            },
            {"type": "oneWay", "position": {"coin": "ETH", "szi": "0.0"}},
            {
                "type": "oneWay",
                "position": {
                    "coin": "kPEPE",
                    "szi": "2",
                    "entryPx": None,
                    "liquidationPx": None,
                    "positionValue": "0.024",
                    "unrealizedPnl": "-0.001",
                },
            },
        ],
        "marginSummary": {"accountValue": "10499.999", "totalRawUsd": "-3.0"},
        "withdrawable": "7000.5",
        "time": 1_795_000_000_000,
    } | changes
    return msgspec.convert(fields, ClearinghouseState)


def test_positions(reader: Reader) -> None:
    """Zero legs are left out; mark is value by size; thousands are scaled."""
    short, pepe = reader.positions(state())
    assert short.quantity == Decimal("-0.5")
    assert short.entry_price == 65000
    assert short.mark_price == 64000
    assert short.liquidation_price == 120000
    assert pepe.asset == "PEPE-PERP"
    assert pepe.quantity == 2000
    assert pepe.mark_price == Decimal("0.000012")
    assert pepe.entry_price == 0
    assert pepe.liquidation_price is None


def test_balance(reader: Reader) -> None:
    """The wallet is the account's value without what is not realised."""
    (balance,) = reader.balances(state())
    assert balance.currency == "USDC"
    assert balance.equity == Decimal("10499.999")
    assert balance.wallet == Decimal("10000.000")
    assert balance.free == Decimal("7000.5")


def test_balance_that_is_not_told_is_not_zero(reader: Reader) -> None:
    """Without a margin summary there is no balance to report."""
    assert reader.balances(state(marginSummary=None)) == ()


def test_funding(reader: Reader) -> None:
    """One coin pays once at one time; positive was received."""
    paid = WireFunding(coin="BTC", usdc="-3.6", funding_rate="0.0000417", time=1_795_000_000_000)
    other = WireFunding(coin="xyz:TSLA", usdc="1")
    (report,) = reader.funding([paid, other])
    assert report.payment_id == "BTC-1795000000000"
    assert report.amount == Decimal("-3.6")
    assert report.rate == Decimal("0.0000417")


def test_address_budget_counts_the_surplus() -> None:
    """What is left is cap and surplus less use."""
    told = {"cumVlm": "2854574.59", "nRequestsUsed": 2890, "nRequestsCap": 2864574}
    assert msgspec.convert(told, AddressBudget).left == 2861684
    assert msgspec.convert(told | {"nRequestsSurplus": 10}, AddressBudget).left == 2861694
