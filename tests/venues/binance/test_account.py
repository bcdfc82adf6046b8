from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from decimal import Decimal
from typing import Any, Self

import pytest

from perpbot.domain.errors import InvalidValue, Unavailable
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    Event,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.sides import OrderState, PositionSide
from perpbot.kernel.clock import MS, RealClock
from perpbot.venues.binance.account import BinanceAccount
from perpbot.venues.binance.rest import DIALS
from perpbot.venues.binance.venue import BinanceVenue
from perpbot.venues.wire.dials import Dials
from tests.venues.binance.stub import (
    CLIENT_ID,
    Request,
    StubBinance,
    make_instrument,
    make_order,
    order_row,
    refusal,
)
from tests.venues.waiting import until

BALANCE = {"asset": "USDT", "balance": "500", "crossUnPnl": "2", "availableBalance": "400"}
ORDER_EVENT = {
    "e": "ORDER_TRADE_UPDATE",
    "E": 1795225397705,
    "T": 1795225397704,
    "o": {
        "s": "BTCUSDT",
        "c": "pb" + CLIENT_ID,
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.010",
        "p": "65000.10",
        "ap": "65000.05",
        "x": "TRADE",
        "X": "FILLED",
        "i": 771,
        "l": "0.010",
        "z": "0.010",
        "L": "65000.05",
        "N": "USDT",
        "n": "0.13",
        "T": 1795225397704,
        "t": 99001,
        "m": False,
        "R": False,
        "ps": "BOTH",
    },
}


def _trade(number: int, order_id: int, at_ms: int) -> dict[str, Any]:
    return {
        "id": number,
        "orderId": order_id,
        "symbol": "BTCUSDT",
        "side": "SELL",
        "positionSide": "BOTH",
        "price": "65000",
        "qty": "0.001",
        "commission": "0.02",
        "commissionAsset": "USDT",
        "time": at_ms,
        "maker": True,
    }


async def test_open_learns_clock_and_position_mode(stub: StubBinance, venue: BinanceVenue) -> None:
    """Hedge mode is the account's, not ours to guess."""
    stub.answers["GET", "/fapi/v1/positionSide/dual"] = {"dualSidePosition": True}

    await venue.open([make_instrument("BTCUSDT")])

    assert venue.trading.hedge_mode
    assert venue.account.symbols == {"BTCUSDT"}


async def test_open_without_credentials_asks_nothing_private(
    stub: StubBinance, public_venue: BinanceVenue
) -> None:
    """The public side alone."""
    await public_venue.open([make_instrument("BTCUSDT")])

    assert [one.path for one in stub.requests] == ["/fapi/v1/time"]


async def test_order_is_found_absent_or_unknown(stub: StubBinance, venue: BinanceVenue) -> None:
    """None only when the venue says that it does not know the order."""
    key = ("GET", "/fapi/v1/order")
    stub.answers[key] = order_row(status="FILLED", executedQty="0.010", avgPrice="65000.05")
    report = await venue.account.order(make_order(), "771")
    assert report is not None
    assert report.state is OrderState.FILLED
    assert stub.requests[-1].params["origClientOrderId"] == "pb" + CLIENT_ID

    stub.answers[key] = refusal(-2013)
    assert await venue.account.order(make_order(), "771") is None

    for answer in (refusal(-1121), refusal(-1007), refusal(-1003, "slow", 429)):
        stub.answers[key] = answer
        with pytest.raises(Unavailable):
            await venue.account.order(make_order(), "771")


async def test_read_with_refused_timestamp_is_asked_once_more(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Reads may be repeated; the clock is measured in between."""
    answers = [refusal(-1021), [BALANCE]]
    stub.answers["GET", "/fapi/v3/balance"] = lambda _request: answers.pop(0)

    found = await venue.account.balances()

    assert [(one.currency, one.equity, one.free) for one in found] == [
        ("USDT", Decimal(502), Decimal(400))
    ]
    assert len(stub.sent("GET", "/fapi/v1/time")) == 1


async def test_positions_and_balances_leave_out_nothing_that_is_held(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Empty legs and empty currencies go; a zero stablecoin stays."""
    leg = {"symbol": "BTCUSDT", "entryPrice": "1", "markPrice": "1", "positionSide": "LONG"}
    stub.answers["GET", "/fapi/v3/positionRisk"] = [
        leg | {"positionAmt": "0.000"},
        leg | {"positionAmt": "-0.002", "positionSide": "SHORT"},
    ]
    stub.answers["GET", "/fapi/v3/balance"] = [
        BALANCE | {"balance": "0", "crossUnPnl": "0"},
        BALANCE | {"asset": "BNB", "balance": "0.5"},
        BALANCE | {"asset": "FDUSD", "balance": "0", "crossUnPnl": "0"},
    ]

    legs = await venue.account.positions()
    assert [(one.quantity, one.position_side) for one in legs] == [
        (Decimal("-0.002"), PositionSide.SHORT)
    ]
    assert [one.currency for one in await venue.account.balances()] == ["USDT", "BNB"]


@pytest.mark.parametrize(
    "answer",
    [refusal(-1000, status=500), {"not": "a list"}, [{"symbol": "BTCUSDT"}]],
    ids=["error", "shape", "fields"],
)
async def test_unanswered_reads_are_unavailable(
    stub: StubBinance, venue: BinanceVenue, answer: Any
) -> None:
    """An error is never an empty account."""
    stub.answers["GET", "/fapi/v3/positionRisk"] = answer

    with pytest.raises(Unavailable):
        await venue.account.positions()


async def test_unreadable_words_in_a_read_are_unavailable(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """One row that cannot be read spoils the answer, since the rest is not the whole."""
    stub.answers["GET", "/fapi/v1/openOrders"] = [order_row(), order_row(status="DREAMING")]
    stub.answers["GET", "/fapi/v1/openAlgoOrders"] = []

    with pytest.raises(Unavailable):
        await venue.account.open_orders()


async def test_open_orders_include_waiting_stops(stub: StubBinance, venue: BinanceVenue) -> None:
    """Ours carry their id, others ""."""
    stub.answers["GET", "/fapi/v1/openOrders"] = [
        order_row(),
        order_row(orderId=772, clientOrderId="web_abc"),
    ]
    stub.answers["GET", "/fapi/v1/openAlgoOrders"] = [
        {"algoId": 5, "clientAlgoId": "x", "symbol": "BTCUSDT", "side": "SELL"}
    ]

    found = await venue.account.open_orders()

    assert [(one.client_id, one.venue_order_id) for one in found] == [
        (CLIENT_ID, "771"),
        ("", "772"),
        ("", "algo-5"),
    ]


async def test_fills_are_complete_over_pages_and_carry_client_ids(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """A full page is continued by id; an order's client id is asked for once."""
    now_ms = time.time_ns() // MS
    venue.account.symbols = {"BTCUSDT"}

    def trades(request: Request) -> list[dict[str, Any]]:
        if "fromId" in request.params:
            start = int(request.params["fromId"])
            return [_trade(start + n, 8, now_ms - 500) for n in range(3)]
        return [_trade(n, 7, now_ms - 1000) for n in range(1000)]

    def order(request: Request) -> Any:
        if request.params["orderId"] == "8":
            return refusal(-2013)
        return order_row(orderId=7)

    stub.answers["GET", "/fapi/v1/userTrades"] = trades
    stub.answers["GET", "/fapi/v1/order"] = order

    found = await venue.account.fills((now_ms - 60_000) * MS)
    again = await venue.account.fills((now_ms - 60_000) * MS)

    assert len(found) == len(again) == 1003
    assert len({one.trade_id for one in found}) == 1003
    assert {one.client_id for one in found} == {CLIENT_ID, ""}
    assert len(stub.sent("GET", "/fapi/v1/order")) == 2


async def test_fills_of_weeks_are_asked_by_the_week(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """The venue answers at most seven days at once."""
    venue.account.symbols = {"BTCUSDT"}
    stub.answers["GET", "/fapi/v1/userTrades"] = []
    now_ms = time.time_ns() // MS

    assert await venue.account.fills((now_ms - 15 * 86_400_000) * MS) == []

    spans = [(int(one.params["startTime"]), int(one.params["endTime"])) for one in stub.requests]
    assert len(spans) == 3
    assert all(end - start < 7 * 86_400_000 for start, end in spans)
    assert [end + 1 for _, end in spans[:-1]] == [start for start, _ in spans[1:]]


@pytest.mark.parametrize(
    "answer", [refusal(-1121), refusal(-1003, "slow", 429)], ids=["refused", "limited"]
)
async def test_fills_without_their_orders_are_unavailable(
    stub: StubBinance, venue: BinanceVenue, answer: Any
) -> None:
    """A fill is not booked as foreign because a look-up failed."""
    venue.account.symbols = {"BTCUSDT"}
    stub.answers["GET", "/fapi/v1/userTrades"] = [_trade(1, 7, time.time_ns() // MS)]
    stub.answers["GET", "/fapi/v1/order"] = answer

    with pytest.raises(Unavailable):
        await venue.account.fills(time.time_ns() - 1_000_000_000)


async def test_funding_is_paged_without_repeats(stub: StubBinance, venue: BinanceVenue) -> None:
    """Payments of one moment may lie on both sides of a page."""
    row = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.1", "asset": "USDT"}
    pages = [
        [row | {"time": n, "tranId": n} for n in range(1000)],
        [row | {"time": 999 + n, "tranId": 999 + n} for n in range(5)],
    ]
    stub.answers["GET", "/fapi/v1/income"] = lambda _request: pages.pop(0)

    found = await venue.account.funding(0)

    assert len(found) == 1004
    assert stub.requests[-1].params["startTime"] == "999"
    assert found[0].amount == Decimal("-0.1")


async def test_every_kind_of_transfer_is_looked_for_where_the_stream_was_not_heard(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """In the history of everything, until that was answered; then the usual kind is asked for."""
    row = {"symbol": "", "asset": "USDT", "time": 9, "info": "", "tranId": 9689322392}
    moved = row | {"incomeType": "TRANSFER", "income": "-0.375"}
    rows = [
        moved,
        row | {"incomeType": "WELCOME_BONUS", "income": "5"},
        row | {"incomeType": "AUTO_EXCHANGE", "income": "-7"},
        row | {"incomeType": "AUTO_EXCHANGE", "income": "6.9", "asset": "USDC"},
        row | {"incomeType": "COMMISSION", "income": "-1", "symbol": "BTCUSDT"},
        row | {"incomeType": "INSURANCE_CLEAR", "income": "-1", "symbol": "BTCUSDT"},
    ]

    def asked() -> list[str]:
        return [one.params.get("incomeType", "") for one in stub.sent("GET", "/fapi/v1/income")]

    stub.answers["GET", "/fapi/v1/income"] = refusal(-1000, status=500)
    with pytest.raises(Unavailable):
        await venue.account.transfers(0)
    stub.answers["GET", "/fapi/v1/income"] = lambda request: (
        [moved] if "incomeType" in request.params else rows
    )
    before = len(asked())
    first = await venue.account.transfers(0)
    assert asked()[before:] == [""]
    assert {(one.transfer_id, one.amount, one.venue_ns) for one in first} == {
        ("TRANSFER:9689322392:USDT", Decimal("-0.375"), 9_000_000),
        ("WELCOME_BONUS:9689322392:USDT", Decimal(5), 9_000_000),
        ("AUTO_EXCHANGE:9689322392:USDT", Decimal(-7), 9_000_000),
        ("AUTO_EXCHANGE:9689322392:USDC", Decimal("6.9"), 9_000_000),
    }
    assert [one.kind for one in await venue.account.transfers(0)] == ["TRANSFER"]
    assert asked()[before:] == ["", "TRANSFER"]
    venue.account.unheard()
    venue.account.unheard()
    assert len(await venue.account.transfers(0)) == 4
    assert asked()[before:] == ["", "TRANSFER", "TRANSFER", ""]
    last = stub.sent("GET", "/fapi/v1/income")[-1]
    assert int(last.params["startTime"]) > time.time_ns() // MS - 62_000


class _Stream:
    """The private stream running against the stub."""

    def __init__(self, account: BinanceAccount) -> None:
        self.events: list[Event] = []
        self.account = account

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.account.run(self.events.append))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def ready(stub: StubBinance) -> StubBinance:
    """A stub that grants listen keys and answers balances."""
    keys = iter(range(1, 1000))
    stub.answers["POST", "/fapi/v1/listenKey"] = lambda _request: {
        "listenKey": f"listen-{next(keys)}"
    }
    stub.answers["GET", "/fapi/v3/balance"] = [BALANCE]
    return stub


async def test_stream_reports_orders_fills_positions_and_stops(
    ready: StubBinance, venue: BinanceVenue
) -> None:
    """The fill comes before the end of its order; TRADE_LITE adds nothing."""
    lite = {"e": "TRADE_LITE", "E": 1, "T": 1, "s": "BTCUSDT", "q": "0.010", "t": 99001}
    account_update = {
        "e": "ACCOUNT_UPDATE",
        "E": 2,
        "T": 2,
        "a": {
            "m": "ORDER",
            "B": [{"a": "USDT", "wb": "499", "cw": "499", "bc": "0"}],
            "P": [
                {"s": "BTCUSDT", "pa": "0.010", "ep": "65000.05", "up": "0.5", "ps": "LONG"},
                {"s": "BTCUSDT", "pa": "-0.020", "ep": "65000.05", "up": "0", "ps": "SHORT"},
            ],
        },
    }
    algo = {
        "e": "ALGO_UPDATE",
        "E": 3,
        "T": 3,
        "o": {
            "caid": "pb" + CLIENT_ID,
            "aid": 4,
            "s": "BTCUSDT",
            "S": "SELL",
            "q": "1",
            "X": "NEW",
        },
    }
    async with _Stream(venue.account) as stream:
        for message in (lite, ORDER_EVENT, account_update, algo, {"e": "NEWS"}):
            ready.queue("private").put_nowait(json.dumps(message))
        await until(lambda: "unknown private event NEWS" in venue.account.refused)
        await until(lambda: any(one.balances for one in stream.of(AccountReported)))

    assert ready.opened == ["/private/ws?listenKey=listen-1"]
    assert ready.sent("POST", "/fapi/v1/listenKey")[0].query == ""
    kinds = [type(event) for event in stream.events]
    assert kinds.index(FillReported) < kinds.index(OrderReported)
    assert len(stream.of(FillReported)) == 1
    first, second = stream.of(OrderReported)
    assert (first.report.state, first.report.filled) == (OrderState.FILLED, Decimal("0.010"))
    assert second.report.venue_order_id == "algo-4"
    legs = next(one.positions for one in stream.of(AccountReported) if one.positions)
    assert [leg.quantity for leg in legs] == [Decimal("0.010"), Decimal("-0.020")]
    balances = next(one.balances for one in stream.of(AccountReported) if one.balances)
    assert balances[0].equity == 502


async def test_known_client_ids_spare_a_question(ready: StubBinance, venue: BinanceVenue) -> None:
    """An order that the stream told is not asked for when its trades are read."""
    venue.account.symbols = {"BTCUSDT"}
    now_ms = time.time_ns() // MS
    ready.answers["GET", "/fapi/v1/userTrades"] = [_trade(99001, 771, now_ms)]
    async with _Stream(venue.account) as stream:
        ready.queue("private").put_nowait(json.dumps(ORDER_EVENT))
        await until(lambda: bool(stream.of(OrderReported)))
    found = await venue.account.fills((now_ms - 1000) * MS)

    assert found[0].client_id == CLIENT_ID
    assert ready.sent("GET", "/fapi/v1/order") == []


async def test_funding_event_asks_for_the_payments(
    ready: StubBinance, venue: BinanceVenue
) -> None:
    """The stream does not name the symbol, REST does."""
    ready.answers["GET", "/fapi/v1/income"] = [
        {
            "symbol": "BTCUSDT",
            "incomeType": "FUNDING_FEE",
            "income": "0.2",
            "asset": "USDT",
            "time": 5,
            "tranId": 6,
        }
    ]
    paid = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "FUNDING_FEE", "B": [], "P": []}}
    async with _Stream(venue.account) as stream:
        ready.queue("private").put_nowait(json.dumps(paid))
        await until(lambda: any(one.funding for one in stream.of(AccountReported)))

    report = next(one.funding[0] for one in stream.of(AccountReported) if one.funding)
    assert (report.symbol, report.amount) == ("BTCUSDT", Decimal("0.2"))


@pytest.mark.parametrize(
    ("reason", "asks"),
    [
        ("DEPOSIT", True),
        ("WITHDRAW", True),
        ("ASSET_TRANSFER", True),
        ("NEW_REASON", True),
        ("ORDER", False),
        ("INSURANCE_CLEAR", False),
    ],
)
async def test_a_balance_that_no_trade_changed_asks_for_transfers(
    ready: StubBinance, venue: BinanceVenue, reason: str, *, asks: bool
) -> None:
    """The stream tells an amount but no id; whatever may be a transfer is asked for."""
    row = {"symbol": "", "incomeType": "TRANSFER", "income": "5", "asset": "USDT"}
    ready.answers["GET", "/fapi/v1/income"] = [row | {"time": 5, "tranId": 6}]
    balance = {"a": "USDT", "wb": "505", "cw": "505", "bc": "5"}
    moved = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": reason, "B": [balance], "P": []}}
    async with _Stream(venue.account) as stream:
        for message in (moved, {"e": "NEWS"}):
            ready.queue("private").put_nowait(json.dumps(message))
        await until(lambda: "unknown private event NEWS" in venue.account.refused)
        await until(lambda: any(one.balances for one in stream.of(AccountReported)))
        await until(lambda: not asks or any(one.transfers for one in stream.of(AccountReported)))

    told = [moved for one in stream.of(AccountReported) for moved in one.transfers]
    assert [one.transfer_id for one in told] == (["TRANSFER:6:USDT"] if asks else [])


@pytest.mark.parametrize(
    "message",
    [{"e": "listenKeyExpired", "E": 1, "listenKey": "x"}, {"e": "ORDER_TRADE_UPDATE", "o": {}}],
    ids=["expired key", "unreadable frame"],
)
async def test_stream_reconnects_with_a_new_key(
    ready: StubBinance, venue: BinanceVenue, message: dict[str, Any]
) -> None:
    """The loss and the return are told, so that a reconcile follows."""
    venue.account._channel._backoff._base_s = 0.001
    async with _Stream(venue.account) as stream:
        await until(lambda: bool(stream.of(VenueConnectionChanged)))
        ready.queue("private").put_nowait(json.dumps(message))
        await until(lambda: len(stream.of(VenueConnectionChanged)) == 3)

    states = [event.state for event in stream.of(VenueConnectionChanged)]
    assert states[:3] == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]
    assert ready.opened[1].endswith("listenKey=listen-2")


async def test_refused_listen_key_is_down_and_retried(
    ready: StubBinance, venue: BinanceVenue
) -> None:
    """A venue that refuses the key leaves the private side down, with its reason."""
    ready.answers["POST", "/fapi/v1/listenKey"] = refusal(-2015, "no permission")
    async with _Stream(venue.account) as stream:
        await until(lambda: bool(stream.of(VenueConnectionChanged)))

    event = stream.of(VenueConnectionChanged)[0]
    assert event.state is ConnectionState.DOWN
    assert "no permission" in event.reason


async def test_listen_key_is_renewed_and_replaced(ready: StubBinance, venue: BinanceVenue) -> None:
    """A PUT on its interval; a key that is gone means a new connection."""
    answers: list[Any] = [{}, refusal(-1000, status=500), refusal(-1125)]
    ready.answers["PUT", "/fapi/v1/listenKey"] = lambda _request: answers.pop(0)
    account = BinanceAccount(
        rest=venue.rest,
        ws_url=ready.ws_url,
        codec=venue.account._codec,
        clock=RealClock(),
        rng=random.Random(1),
        dials=Dials(DIALS, clock=RealClock()),
        keepalive_s=0.02,
        refuse=lambda _venue, reason: seen.append(reason),
    )
    account._channel._backoff._base_s = 10.0
    seen: list[str] = []
    async with _Stream(account):
        await until(lambda: not answers)
        await until(lambda: not account._channel.is_up)

    assert seen == ["listen key not renewed", "listen key not renewed"]
    assert account._channel.statistics().last_reason in ("the listen key is gone", "stopped")


def test_margin_call_and_garbage(venue_account: BinanceAccount) -> None:
    """A margin call is counted; nonsense breaks the stream."""
    venue_account.on_text(memoryview(b'{"e":"MARGIN_CALL","E":1,"cw":"3","p":[]}'), 1)
    assert venue_account.refused == {"margin call": 1}
    with pytest.raises(InvalidValue):
        venue_account.on_text(memoryview(b"nonsense"), 1)
    assert venue_account.refused["unreadable private frame"] == 1


@pytest.fixture
async def venue_account(venue: BinanceVenue) -> BinanceAccount:
    """The account side alone."""
    return venue.account
