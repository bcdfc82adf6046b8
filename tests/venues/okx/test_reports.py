"""Private rows as reports."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import ProtocolViolation
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
    TransferReport,
)
from perpbot.domain.sides import Liquidity, OrderState, PositionSide, Side
from perpbot.venues.okx.codec import (
    BalanceRow,
    BillRow,
    FillRow,
    OrderRow,
    PositionRow,
    StopRow,
)
from perpbot.venues.okx.reports import Reports, own_id
from tests.venues.okx.support import BTC, an_id

REPORTS = Reports(venue="okx", account="main")

ORDER: dict[str, Any] = {
    "instId": "BTC-USDT-SWAP",
    "instType": "SWAP",
    "ordId": "3411",
    "clOrdId": an_id(),
    "state": "partially_filled",
    "side": "sell",
    "posSide": "net",
    "ordType": "limit",
    "px": "65010.5",
    "sz": "3",
    "accFillSz": "1.5",
    "avgPx": "65011",
    "reduceOnly": "true",
    "category": "normal",
    "cancelSource": "",
    "cancelSourceReason": "",
    "tradeId": "9001",
    "fillPx": "65012",
    "fillSz": "0.5",
    "fillFee": "-0.0163",
    "fillFeeCcy": "USDT",
    "fee": "-0.05",
    "feeCcy": "USDT",
    "fillTime": "1795225231207",
    "execType": "M",
    "cTime": "1795225230000",
    "uTime": "1795225231208",
    "attachAlgoOrds": [],
    "linkedAlgoOrd": {"algoId": ""},
}


def order_row(**changes: Any) -> OrderRow:
    """Return the order row, changed."""
    return msgspec.convert({**ORDER, **changes}, OrderRow)


def test_order_row_in_base_coins() -> None:
    """Sizes are contracts times the contract size; the id decodes as ours."""
    assert REPORTS.order(order_row(), BTC) == OrderReport(
        venue="okx",
        account="main",
        client_id=an_id(),
        venue_order_id="3411",
        symbol="BTC-USDT-SWAP",
        state=OrderState.PARTIALLY_FILLED,
        filled=Decimal("0.015"),
        average_price=Decimal(65011),
        side=Side.SELL,
        quantity=Decimal("0.03"),
        price=Decimal("65010.5"),
        reduce_only=True,
        venue_ns=1_795_225_231_208_000_000,
    )


def test_fill_of_an_order_row() -> None:
    """A row with a trade id carries one execution; a charged fee is a positive cost."""
    assert REPORTS.fill_of_order(order_row(), BTC) == FillReport(
        venue="okx",
        account="main",
        trade_id="9001-3411",
        client_id=an_id(),
        venue_order_id="3411",
        symbol="BTC-USDT-SWAP",
        asset="BTC-PERP",
        side=Side.SELL,
        price=Decimal(65012),
        quantity=Decimal("0.005"),
        fee=Decimal("0.0163"),
        fee_currency="USDT",
        liquidity=Liquidity.MAKER,
        venue_ns=1_795_225_231_207_000_000,
    )


def test_stream_and_query_tell_the_same_fill() -> None:
    """The same execution has the same report, whichever way it came."""
    queried = msgspec.convert(
        {
            "instId": "BTC-USDT-SWAP",
            "tradeId": "9001",
            "ordId": "3411",
            "clOrdId": an_id(),
            "billId": "1",
            "side": "sell",
            "posSide": "net",
            "fillPx": "65012",
            "fillSz": "0.5",
            "fee": "-0.0163",
            "feeCcy": "USDT",
            "execType": "M",
            "ts": "1795225231207",
        },
        FillRow,
    )

    assert REPORTS.fill(queried, BTC) == REPORTS.fill_of_order(order_row(), BTC)


def test_row_without_trade_id_is_no_fill() -> None:
    """An empty tradeId says that nothing was executed."""
    assert REPORTS.fill_of_order(order_row(tradeId=""), BTC) is None


def test_rebate_is_a_negative_cost() -> None:
    """OKX writes a rebate as a positive number."""
    fill = REPORTS.fill_of_order(order_row(fillFee="0.002"), BTC)

    assert fill is not None
    assert fill.fee == Decimal("-0.002")


def test_cumulative_fee_is_not_taken_for_a_fills() -> None:
    """Without fillFee the order's fee counts only for its only execution."""
    only = REPORTS.fill_of_order(order_row(fillFee="", fillFeeCcy="", accFillSz="0.50"), BTC)

    assert only is not None
    assert only.fee == Decimal("0.05")
    with pytest.raises(ProtocolViolation, match="without its fee"):
        REPORTS.fill_of_order(order_row(fillFee="", fillFeeCcy=""), BTC)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        pytest.param({"state": "live", "accFillSz": "0"}, OrderState.ACCEPTED, "", id="live"),
        pytest.param({"state": "filled"}, OrderState.FILLED, "", id="filled"),
        pytest.param(
            {"state": "canceled", "cancelSource": "1"}, OrderState.CANCELLED, "", id="by-us"
        ),
        pytest.param(
            {"state": "canceled", "cancelSource": "31", "ordType": "post_only"},
            OrderState.EXPIRED,
            "post_only_would_take",
            id="post-only",
        ),
        pytest.param(
            {"state": "canceled", "cancelSource": "14", "ordType": "ioc"},
            OrderState.EXPIRED,
            "cancel_source_14",
            id="ioc-remainder",
        ),
        pytest.param(
            {"state": "canceled", "cancelSource": "20", "cancelSourceReason": "Cancel all after"},
            OrderState.CANCELLED,
            "Cancel all after",
            id="dead-man",
        ),
        pytest.param({"state": "mmp_canceled"}, OrderState.CANCELLED, "mmp_canceled", id="mmp"),
        pytest.param(
            {"state": "filled", "category": "full_liquidation"},
            OrderState.FILLED,
            "full_liquidation",
            id="liquidation",
        ),
        pytest.param({"state": "filled", "category": "adl"}, OrderState.FILLED, "adl", id="adl"),
    ],
)
def test_states_and_reasons(changes: dict[str, Any], state: OrderState, reason: str) -> None:
    """Each way an order can end has its state, and its reason in words."""
    report = REPORTS.order(order_row(**changes), BTC)

    assert (report.state, report.reason) == (state, reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "exploded"},
        {"side": "both"},
        {"posSide": "up"},
        {"sz": "NaN"},
        {"accFillSz": "many"},
        {"uTime": "yesterday"},
        {"uTime": "9" * 30},
        {"uTime": "\u00b2"},
    ],
    ids=["state", "side", "leg", "nan", "number", "time", "never", "no digit"],
)
def test_senseless_rows_are_violations(changes: dict[str, Any]) -> None:
    """Nothing senseless becomes a report."""
    with pytest.raises(ProtocolViolation):
        REPORTS.order(order_row(**changes), BTC)


@pytest.mark.parametrize(
    "client_id", ["", "b1", "e847386590ce4dBC", an_id().upper(), "0" * 32], ids=repr
)
def test_foreign_ids_are_empty(client_id: str) -> None:
    """Only a canonical id with its check digits is ours; OKX ids are case-sensitive."""
    assert own_id(client_id) == ""


@pytest.mark.parametrize(
    ("row", "quantity", "side"),
    [
        ({"posSide": "net", "pos": "-3"}, Decimal("-0.03"), PositionSide.NET),
        ({"posSide": "long", "pos": "3"}, Decimal("0.03"), PositionSide.LONG),
        ({"posSide": "short", "pos": "3"}, Decimal("-0.03"), PositionSide.SHORT),
        ({"posSide": "net", "pos": ""}, Decimal(0), PositionSide.NET),
    ],
    ids=["net", "long", "short", "none"],
)
def test_position_is_signed(row: dict[str, Any], quantity: Decimal, side: PositionSide) -> None:
    """Net mode signs itself; in long/short mode the leg says the sign."""
    values = {
        "instId": "BTC-USDT-SWAP",
        "avgPx": "65000",
        "markPx": "65100",
        "upl": "-3",
        "liqPx": "",
        "uTime": "5",
        **row,
    }

    assert REPORTS.position(msgspec.convert(values, PositionRow), BTC) == PositionReport(
        venue="okx",
        account="main",
        symbol="BTC-USDT-SWAP",
        asset="BTC-PERP",
        quantity=quantity,
        entry_price=Decimal(65000),
        mark_price=Decimal(65100),
        unrealized_pnl=Decimal(-3),
        position_side=side,
        venue_ns=5_000_000,
    )


def test_balances_of_settle_currencies() -> None:
    """Equity, wallet and free margin of USDT and USDC; other coins are not collateral here."""
    row = msgspec.convert(
        {
            "uTime": "7",
            "details": [
                {"ccy": "USDT", "eq": "101.5", "cashBal": "100", "availEq": "90", "uTime": "6"},
                {"ccy": "BTC", "eq": "1", "cashBal": "1", "availEq": "1"},
                {"ccy": "USDC", "eq": "5", "cashBal": "5", "availEq": "", "availBal": "4"},
            ],
        },
        BalanceRow,
    )

    assert REPORTS.balances(row, frozenset({"USDT", "USDC"})) == (
        BalanceReport(
            venue="okx",
            account="main",
            currency="USDT",
            equity=Decimal("101.5"),
            wallet=Decimal(100),
            free=Decimal(90),
            venue_ns=6_000_000,
        ),
        BalanceReport(
            venue="okx",
            account="main",
            currency="USDC",
            equity=Decimal(5),
            wallet=Decimal(5),
            free=Decimal(4),
            venue_ns=7_000_000,
        ),
    )


def test_missing_balance_is_no_zero() -> None:
    """A currency without its equity is unreadable, not empty."""
    with pytest.raises(ProtocolViolation):
        REPORTS.balances(
            msgspec.convert({"details": [{"ccy": "USDT", "eq": ""}]}, BalanceRow),
            frozenset({"USDT"}),
        )


@pytest.mark.parametrize(
    ("bill", "amount"),
    [
        ({"balChg": "-0.31", "pnl": "-0.31"}, Decimal("-0.31")),
        ({"balChg": "0", "pnl": "0.2"}, Decimal("0.2")),
    ],
    ids=["cross", "isolated"],
)
def test_funding_payment(bill: dict[str, str], amount: Decimal) -> None:
    """Received is positive; in isolated margin only `pnl` moves."""
    row = msgspec.convert(
        {"billId": "12", "instId": "BTC-USDT-SWAP", "ccy": "USDT", "ts": "9", **bill}, BillRow
    )

    assert REPORTS.funding(row, BTC) == FundingReport(
        venue="okx",
        account="main",
        payment_id="12",
        symbol="BTC-USDT-SWAP",
        asset="BTC-PERP",
        amount=amount,
        currency="USDT",
        venue_ns=9_000_000,
    )


@pytest.mark.parametrize(
    ("sub_type", "change", "kind"),
    [
        ("11", "250", "transfer in"),
        ("12", "-40", "transfer out"),
        ("330", "1", "transfer 330"),
        ("", "1", "transfer"),
    ],
)
def test_transfer(sub_type: str, change: str, kind: str) -> None:
    """A bill of type 1: `balChg` has its sign, and there is no instrument."""
    row = msgspec.convert(
        {
            "billId": "12",
            "type": "1",
            "subType": sub_type,
            "instType": "",
            "instId": "",
            "ccy": "USDT",
            "balChg": change,
            "bal": "1000",
            "sz": "250",
            "from": "6",
            "to": "18",
            "notes": "",
            "ts": "9",
        },
        BillRow,
    )

    assert REPORTS.transfer(row) == TransferReport(
        venue="okx",
        account="main",
        transfer_id="12",
        currency="USDT",
        amount=Decimal(change),
        kind=kind,
        venue_ns=9_000_000,
    )


def test_waiting_stop_is_an_order_at_its_trigger() -> None:
    """A stop of the whole leg has no size and reduces by nature."""
    row = msgspec.convert(
        {
            "algoId": "88",
            "algoClOrdId": an_id(),
            "instId": "BTC-USDT-SWAP",
            "state": "live",
            "side": "sell",
            "posSide": "long",
            "sz": "",
            "slTriggerPx": "60000",
            "closeFraction": "1",
            "uTime": "3",
        },
        StopRow,
    )
    report = REPORTS.stop(row, BTC)

    assert (report.venue_order_id, report.client_id) == ("88", an_id())
    assert (report.price, report.quantity, report.reduce_only) == (Decimal(60000), None, True)
    assert report.position_side is PositionSide.LONG
