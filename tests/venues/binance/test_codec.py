from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Liquidity, OrderState, PositionSide, Side
from perpbot.venues.binance import account as private
from perpbot.venues.binance.codec import (
    AlgoEvent,
    AlgoRow,
    BalanceRow,
    Codec,
    IncomeRow,
    OrderEvent,
    OrderRow,
    PositionRow,
    TradeRow,
    client_id_from_wire,
    client_id_to_wire,
)
from perpbot.venues.binance.universe import (
    ExchangeInfo,
    SymbolInfo,
    Universe,
    instrument_of,
    split_base,
)
from tests.venues.binance.stub import CLIENT_ID, make_instrument, order_row

CODEC = Codec("main", Universe())


@given(st.integers(0, 2**128 - 1))
def test_client_ids_round_trip(number: int) -> None:
    """Every canonical id comes back, within the venue's 36 characters."""
    client_id = f"{number:032x}"
    wire = client_id_to_wire(client_id)

    assert len(wire) <= 36
    assert client_id_from_wire(wire) == client_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pb",
        "autoclose-1234",
        "pb" + "g" * 32,
        "pb" + "A" * 32,
        "xx" + "0" * 32,
        "pb" + "0" * 31,
    ],
)
def test_foreign_client_ids_are_empty(text: str) -> None:
    """Liquidations, other clients and near misses are not ours."""
    assert client_id_from_wire(text) == ""


@pytest.mark.parametrize(
    ("base", "coin", "bundle"),
    [
        ("BTC", "BTC", 1),
        ("1000PEPE", "PEPE", 1000),
        ("1000000MOG", "MOG", 1_000_000),
        ("1MBABYDOGE", "BABYDOGE", 1_000_000),
        ("1INCH", "1INCH", 1),
        ("1000", "1000", 1),
    ],
)
def test_bundles_of_coins(base: str, coin: str, bundle: int) -> None:
    """A leading 1000 counts coins; a name that merely starts with a digit does not."""
    assert split_base(base) == (coin, Decimal(bundle))


def _symbol(**changes: Any) -> SymbolInfo:
    row = {
        "symbol": "1000PEPEUSDT",
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": "1000PEPE",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.0000100", "minPrice": "0.0000100"},
            {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "9000000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "5000000"},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        ],
    } | changes
    return msgspec.convert(row, SymbolInfo)


def test_instrument_in_base_coins() -> None:
    """Ticks shrink and steps grow by the bundle; notionals stay."""
    one = instrument_of(_symbol(), 14_400)

    assert one.id == "binance:PEPE-USDT-PERP"
    assert (one.asset, one.symbol) == ("PEPE-PERP", "1000PEPEUSDT")
    assert one.tick_size == Decimal("0.00000001")
    assert (one.quantity_step, one.min_quantity) == (Decimal(1000), Decimal(1000))
    assert one.max_quantity == Decimal(5_000_000_000)
    assert one.min_notional == Decimal(5)
    assert (one.contract_size, one.price_multiplier) == (Decimal(1000), Decimal(1000))
    assert one.funding_interval_s == 14_400
    assert one.tradable


def test_instrument_without_filters_is_refused() -> None:
    """Rules are never guessed."""
    with pytest.raises(InvalidValue, match="PRICE_FILTER"):
        instrument_of(_symbol(filters=[]))


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "1e99"])
@pytest.mark.parametrize("field", ["tickSize", "stepSize"])
def test_an_instrument_without_a_grid_is_refused(field: str, text: str) -> None:
    """Nothing can be rounded onto steps of nothing."""
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "9000000"},
    ]
    filters = [one | ({field: text} if field in one else {}) for one in filters]
    with pytest.raises(InvalidValue, match=f"1000PEPEUSDT {field} was"):
        instrument_of(_symbol(filters=filters))


def test_universe_reads_unlisted_symbols_by_name() -> None:
    """A position in a symbol that is no longer listed is still read."""
    universe = Universe()
    universe.add([make_instrument("BTCUSDT")])

    assert universe.units("BTCUSDT").asset == "BTC-PERP"
    assert universe.units("1000FLOKIUSDC").asset == "FLOKI-PERP"
    assert universe.units("1000FLOKIUSDC").bundle == 1000
    assert universe.units("ETHUSDT_260327").asset == "ETH-PERP"
    assert universe.units("ODD").asset == "ODD-PERP"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", OrderState.ACCEPTED),
        ("PARTIALLY_FILLED", OrderState.PARTIALLY_FILLED),
        ("FILLED", OrderState.FILLED),
        ("CANCELED", OrderState.CANCELLED),
        ("REJECTED", OrderState.REJECTED),
        ("EXPIRED", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderState.EXPIRED),
    ],
)
def test_order_states(status: str, state: OrderState) -> None:
    """Every documented status has its state."""
    assert CODEC.order(msgspec.convert(order_row(status=status), OrderRow)).state is state


def test_order_of_bundled_coins() -> None:
    """Quantities and prices come back in single coins, exactly."""
    row = order_row(
        symbol="1000PEPEUSDT",
        origQty="30",
        executedQty="12",
        price="0.0123400",
        avgPrice="0.0123399",
        status="PARTIALLY_FILLED",
        side="SELL",
        positionSide="SHORT",
    )
    report = CODEC.order(msgspec.convert(row, OrderRow))

    assert report.client_id == CLIENT_ID
    assert (report.quantity, report.filled) == (Decimal(30_000), Decimal(12_000))
    assert report.price == Decimal("0.0000123400")
    assert report.average_price == Decimal("0.0000123399")
    assert (report.side, report.position_side) == (Side.SELL, PositionSide.SHORT)
    assert report.venue_ns == 1795225397704 * 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "DREAMING"},
        {"side": "HOLD"},
        {"positionSide": "MIDDLE"},
        {"origQty": "NaN"},
        {"origQty": "1e999"},
        {"updateTime": 10**20},
    ],
    ids=["status", "side", "position side", "nan", "number", "time"],
)
def test_unknown_words_are_refused(changes: dict[str, Any]) -> None:
    """Nothing is guessed from a word that the sheet does not know."""
    with pytest.raises(InvalidValue):
        CODEC.order(msgspec.convert(order_row(**changes), OrderRow))


def _event(**changes: Any) -> OrderEvent:
    event = {
        "s": "BTCUSDT",
        "c": "pb" + CLIENT_ID,
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.010",
        "p": "65000.10",
        "ap": "65000.05",
        "sp": "0",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 771,
        "l": "0.004",
        "z": "0.004",
        "L": "65000.05",
        "N": "USDT",
        "n": "0.05200004",
        "T": 1795225397704,
        "t": 99001,
        "m": True,
        "R": False,
        "ps": "BOTH",
        "rp": "0",
    } | changes
    return msgspec.convert(event, OrderEvent)


def test_fill_of_an_order_event() -> None:
    """Price, quantity, fee and role of one execution."""
    fill = CODEC.fill_event(_event())

    assert fill is not None
    assert (fill.trade_id, fill.client_id, fill.venue_order_id) == ("99001", CLIENT_ID, "771")
    assert (fill.price, fill.quantity) == (Decimal("65000.05"), Decimal("0.004"))
    assert (fill.fee, fill.fee_currency) == (Decimal("0.05200004"), "USDT")
    assert fill.liquidity is Liquidity.MAKER
    assert fill.asset == "BTC-PERP"


@pytest.mark.parametrize(
    "changes", [{"l": "0", "t": 0, "x": "NEW"}, {"t": 0}], ids=["new", "no trade id"]
)
def test_events_without_execution_have_no_fill(changes: dict[str, Any]) -> None:
    """A fill needs a quantity and an id to be booked once."""
    assert CODEC.fill_event(_event(**changes)) is None


def test_expiry_reason_is_kept() -> None:
    """`er` 0 means none."""
    assert CODEC.order_event(_event(er="0")).reason == ""
    assert CODEC.order_event(_event(er="7", X="EXPIRED")).reason == "7"


@pytest.mark.parametrize(
    ("status", "done", "state"),
    [
        ("NEW", "0", OrderState.ACCEPTED),
        ("TRIGGERED", "0", OrderState.ACCEPTED),
        ("FINISHED", "0.01", OrderState.FILLED),
        ("FINISHED", "0.004", OrderState.CANCELLED),
        ("CANCELED", "", OrderState.CANCELLED),
        ("EXPIRED", "", OrderState.EXPIRED),
        ("REJECTED", "", OrderState.REJECTED),
    ],
)
def test_conditional_order_events(status: str, done: str, state: OrderState) -> None:
    """The state of a stop, and what its triggered order did."""
    event = msgspec.convert(
        {
            "caid": "pb" + CLIENT_ID,
            "aid": 55,
            "s": "BTCUSDT",
            "S": "SELL",
            "q": "0.01",
            "X": status,
            "aq": done,
            "ap": "",
            "tp": "60000",
            "R": True,
            "rm": "x",
        },
        AlgoEvent,
    )
    report = CODEC.algo_event(event, 5)

    assert report.state is state
    assert (report.client_id, report.venue_order_id) == (CLIENT_ID, "algo-55")
    assert (report.price, report.reduce_only) == (Decimal(60000), True)


def test_unknown_conditional_state_is_refused() -> None:
    """As for orders."""
    with pytest.raises(InvalidValue):
        CODEC.algo(AlgoRow(algo_id=1, symbol="BTCUSDT", side="BUY", algo_status="LOST"))


def test_position_leg() -> None:
    """A short leg of bundled coins is negative and in single coins."""
    row = msgspec.convert(
        {
            "symbol": "1000PEPEUSDT",
            "positionSide": "SHORT",
            "positionAmt": "-7",
            "entryPrice": "0.012",
            "markPrice": "0.011",
            "unRealizedProfit": "0.007",
            "liquidationPrice": "0",
            "updateTime": 3,
        },
        PositionRow,
    )
    leg = CODEC.position(row)

    assert leg.quantity == Decimal(-7000)
    assert (leg.entry_price, leg.mark_price) == (Decimal("0.000012"), Decimal("0.000011"))
    assert leg.unrealized_pnl == Decimal("0.007")
    assert leg.liquidation_price is None
    assert leg.position_side is PositionSide.SHORT


def test_balance_trade_and_funding_rows() -> None:
    """Equity is wallet plus unrealised; income keeps its sign."""
    balance = CODEC.balance(
        BalanceRow(asset="USDT", balance="100.5", available_balance="80", cross_un_pnl="-0.5")
    )
    assert (balance.equity, balance.wallet, balance.free) == (
        Decimal(100),
        Decimal("100.5"),
        Decimal(80),
    )
    paid = CODEC.funding(
        IncomeRow(
            symbol="BTCUSDT",
            income_type="FUNDING_FEE",
            income="-0.37",
            asset="USDT",
            time=9,
            tran_id=88,
        )
    )
    assert (paid.amount, paid.payment_id, paid.venue_ns) == (
        Decimal("-0.37"),
        "88:BTCUSDT",
        9_000_000,
    )
    fill = CODEC.trade(
        TradeRow(
            id=5,
            order_id=7,
            symbol="BTCUSDT",
            side="SELL",
            price="1",
            qty="2",
            commission="0.1",
            commission_asset="BNB",
            time=1,
            maker=False,
        ),
        client_id="",
    )
    assert (fill.fee, fill.fee_currency, fill.liquidity) == (
        Decimal("0.1"),
        "BNB",
        Liquidity.TAKER,
    )


def _payloads(shared: Path, part: str) -> list[tuple[str, str]]:
    name = shared / "recordings/payloads/nautilus_adapter_payloads.jsonl.gz"
    with gzip.open(name, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        (Path(row["file"]).name, row["m"])
        for row in rows
        if row["venue"] == "binance" and f"futures/{part}/" in row["file"]
    ]


def test_published_rest_payloads_are_read(shared: Path) -> None:
    """Real shapes of orders, stops, positions and balances become reports."""
    kinds: dict[str, Any] = {
        "order_response.json": (OrderRow, CODEC.order),
        "open_algo_orders.json": (list[AlgoRow], CODEC.algo),
        "position_risk.json": (list[PositionRow], CODEC.position),
        "balance.json": (list[BalanceRow], CODEC.balance),
    }
    read = 0
    for name, text in _payloads(shared, "http_json"):
        if name in kinds:
            kind, convert = kinds[name]
            rows = msgspec.json.decode(text, type=kind)
            for row in rows if isinstance(rows, list) else [rows]:
                assert convert(row).venue == "binance"
            read += 1
    assert read == len(kinds)


def test_published_user_events_are_read(shared: Path) -> None:
    """Every recorded private message is read; those with executions give fills."""
    fills = 0
    payloads = _payloads(shared, "user_data_json")
    for _, text in payloads:
        message = msgspec.json.decode(text, type=private.PrivateMessage)
        if message.e == "ORDER_TRADE_UPDATE":
            event = msgspec.json.decode(message.o, type=OrderEvent)
            assert CODEC.order_event(event).symbol == event.s
            fills += CODEC.fill_event(event) is not None
        elif message.e == "ALGO_UPDATE":
            algo = msgspec.json.decode(message.o, type=AlgoEvent)
            assert CODEC.algo_event(algo, message.T).venue_order_id.startswith("algo-")
        elif message.e == "ACCOUNT_UPDATE":
            change = msgspec.json.decode(message.a, type=private.AccountChange)
            for leg in change.P:
                assert CODEC.position_event(leg, message.T).symbol == leg.s
    assert len(payloads) >= 10
    assert fills >= 5


def test_exchange_info_of_the_recording_is_read(shared: Path) -> None:
    """A real exchangeInfo: every trading perpetual becomes an instrument."""
    name = shared / "recordings/wire/cf_binance_usdm_4alts_20210722.jsonl.gz"
    with gzip.open(name, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    text = next(row["m"] for row in rows if row.get("url", "").endswith("exchangeInfo"))
    info = msgspec.json.decode(text, type=ExchangeInfo)

    found = [
        instrument_of(one)
        for one in info.symbols
        if one.contract_type == "PERPETUAL" and one.status == "TRADING"
    ]
    assert len(found) > 50
    assert info.rate_limits
    by_asset = {one.asset: one for one in found}
    assert by_asset["SHIB-PERP"].contract_size == 1000
    assert by_asset["BTC-PERP"].contract_size == 1
