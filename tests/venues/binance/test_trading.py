from __future__ import annotations

import hashlib
import hmac
import time
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    ReadOnly,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.domain.money import ONE
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderState, OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.kernel.clock import MS, SECOND
from perpbot.venues.binance.errors import CODES
from perpbot.venues.binance.orders import order_query
from perpbot.venues.binance.stops import StopRequest, TriggerPrice, stop_query
from perpbot.venues.binance.venue import BinanceVenue
from perpbot.venues.wire.limits import Lane
from tests.venues.binance.stub import (
    CLIENT_ID,
    StubBinance,
    make_instrument,
    make_order,
    order_row,
    refusal,
)

ORDER = ("POST", "/fapi/v1/order")


def _nothing() -> None:
    pass


def _parameters(order: OrderRequest, *, hedge_mode: bool = False) -> dict[str, str]:
    query = order_query(order, ONE, hedge_mode=hedge_mode)
    return dict(part.split("=", 1) for part in query.split("&"))


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        (
            {},
            {"type": "LIMIT", "timeInForce": "GTC", "newOrderRespType": "ACK"},
            {"reduceOnly", "positionSide"},
        ),
        (
            {"time_in_force": TimeInForce.POST_ONLY},
            {"timeInForce": "GTX", "newOrderRespType": "ACK"},
            {"selfTradePreventionMode"},
        ),
        (
            {"time_in_force": TimeInForce.IOC},
            {"timeInForce": "IOC", "newOrderRespType": "RESULT"},
            set(),
        ),
        (
            {"time_in_force": TimeInForce.FOK},
            {"timeInForce": "FOK", "newOrderRespType": "RESULT"},
            {"selfTradePreventionMode"},
        ),
        (
            {"order_type": OrderType.MARKET, "price": None},
            {"type": "MARKET", "newOrderRespType": "RESULT"},
            {"price", "timeInForce", "selfTradePreventionMode"},
        ),
        ({"purpose": Purpose.OPEN}, {"selfTradePreventionMode": "EXPIRE_TAKER"}, set()),
        ({"purpose": Purpose.HEDGE}, {"selfTradePreventionMode": "EXPIRE_MAKER"}, set()),
        (
            {"purpose": Purpose.REDUCE, "reduce_only": True, "side": Side.SELL},
            {"reduceOnly": "true", "side": "SELL", "selfTradePreventionMode": "EXPIRE_MAKER"},
            {"positionSide"},
        ),
    ],
    ids=["gtc", "post-only", "ioc", "fok", "market", "open yields", "hedge goes", "reduce"],
)
def test_order_parameters(
    changes: dict[str, Any], expected: dict[str, str], absent: set[str]
) -> None:
    """Each kind of order as the sheet writes it."""
    parameters = _parameters(make_order(**changes))

    assert expected.items() <= parameters.items()
    assert not absent & parameters.keys()
    assert parameters["newClientOrderId"] == "pb" + CLIENT_ID
    assert parameters["quantity"] == "0.01"


def test_hedge_mode_names_the_leg_and_never_sends_reduce_only() -> None:
    """A closing order is the opposite side of its leg."""
    order = make_order(side=Side.SELL, position_side=PositionSide.LONG, reduce_only=True)

    parameters = _parameters(order, hedge_mode=True)

    assert parameters["positionSide"] == "LONG"
    assert "reduceOnly" not in parameters


@pytest.mark.parametrize(
    ("position_side", "hedge_mode"), [(PositionSide.NET, True), (PositionSide.SHORT, False)]
)
def test_order_that_does_not_fit_the_mode_is_refused(
    position_side: PositionSide, *, hedge_mode: bool
) -> None:
    """A guessed leg could open instead of close."""
    with pytest.raises(Rejected, match="mode"):
        order_query(make_order(position_side=position_side), ONE, hedge_mode=hedge_mode)


def test_limit_order_without_price_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(Rejected, match="price"):
        order_query(make_order(price=None), ONE, hedge_mode=False)


def test_bundled_order_is_written_in_wire_units() -> None:
    """3000 PEPE at 0.0000123 are 3 units at 0.0123."""
    order = make_order(symbol="1000PEPEUSDT", quantity=Decimal(3000), price=Decimal("0.0000123"))
    query = order_query(order, Decimal(1000), hedge_mode=False)

    assert "&quantity=3&" in query
    assert "&price=0.0123&" in query
    assert "&symbol=1000PEPEUSDT&" in query


async def test_submit_signs_what_it_sends_and_reports_the_answer(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """The signature covers the query as sent; `sent` comes once; the answer is a report."""
    stub.answers[ORDER] = order_row(
        status="PARTIALLY_FILLED", executedQty="0.004", avgPrice="65000"
    )
    told: list[int] = []

    report = await venue.trading.submit(make_order(), lambda: told.append(1))

    seen = stub.sent(*ORDER)[0]
    payload, signature = seen.query.rsplit("&signature=", 1)
    assert signature == hmac.new(b"secret-1", payload.encode(), hashlib.sha256).hexdigest()
    assert seen.key == "key-1"
    assert told == [1]
    assert report.state is OrderState.PARTIALLY_FILLED
    assert (report.client_id, report.filled) == (CLIENT_ID, Decimal("0.004"))
    used = venue.rest.budget.statistics().used
    assert (used["orders_10s"], used["orders_1m"]) == (1, 1)


async def test_expiry_becomes_the_receive_window(stub: StubBinance, venue: BinanceVenue) -> None:
    """Timestamp + recvWindow is the expiry by the venue's clock, 60 s ahead at most."""
    stub.answers[ORDER] = order_row()
    venue.rest.offset_ns = 7_000 * MS
    now_ns = time.time_ns()

    await venue.trading.submit(make_order(expires_ns=now_ns + 3 * SECOND), _nothing)
    await venue.trading.submit(make_order(expires_ns=now_ns + 600 * SECOND), _nothing)

    first, second = (one.params for one in stub.sent(*ORDER))
    ends_ms = int(first["timestamp"]) + int(first["recvWindow"])
    assert abs(ends_ms - (now_ns + 3 * SECOND + 7_000 * MS) // MS) <= 1
    assert second["recvWindow"] == "60000"


async def test_expired_order_is_not_sent(stub: StubBinance, venue: BinanceVenue) -> None:
    """What is late before it leaves is a definite refusal."""
    with pytest.raises(Rejected, match="expired"):
        await venue.trading.submit(make_order(expires_ns=1), _nothing)

    assert stub.sent(*ORDER) == []


@pytest.mark.parametrize("code", sorted(CODES))
async def test_every_listed_code_has_its_error(
    stub: StubBinance, venue: BinanceVenue, code: int
) -> None:
    """The table is what a caller sees; the order is sent once."""
    stub.answers[ORDER] = refusal(code, "words")

    with pytest.raises(CODES[code]) as caught:
        await venue.trading.submit(make_order(), _nothing)

    assert caught.value.code == str(code)
    assert len(stub.sent(*ORDER)) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(-9999), Rejected),
        (refusal(-1000, "Unknown error, please check", 503), OutcomeUnknown),
        (refusal(-1008, "overload", 503), RateLimited),
        (refusal(-2019, "odd", 500), OutcomeUnknown),
        (refusal(-1003, "banned", 418), RateLimited),
        (refusal(-2015, "who?", 401), AuthFailed),
    ],
    ids=["unlisted", "503 unknown", "503 overload", "500", "418", "401"],
)
async def test_statuses(
    stub: StubBinance, venue: BinanceVenue, answer: web.Response, expected: type[VenueError]
) -> None:
    """The status outweighs the code where it says more."""
    stub.answers[ORDER] = lambda _request: answer

    with pytest.raises(expected):
        await venue.trading.submit(make_order(), _nothing)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, OutcomeUnknown),
        (400, OutcomeUnknown),
        (403, RateLimited),
        (429, RateLimited),
        (401, AuthFailed),
        (502, OutcomeUnknown),
    ],
)
async def test_unreadable_answers(
    stub: StubBinance, venue: BinanceVenue, status: int, expected: type[VenueError]
) -> None:
    """A page of HTML says nothing of the order."""
    stub.answers[ORDER] = lambda _request: web.Response(text="<html>", status=status)

    with pytest.raises(expected):
        await venue.trading.submit(make_order(), _nothing)


async def test_answer_with_unknown_words_is_unknown(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """The order is there, in a state that cannot be read."""
    stub.answers[ORDER] = order_row(status="DREAMING")

    with pytest.raises(OutcomeUnknown):
        await venue.trading.submit(make_order(), _nothing)


async def test_rate_limit_stops_the_budget_for_the_time_told(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Retry-After reaches the caller and the budget."""
    stub.answers[ORDER] = lambda _request: refusal(-1003, "slow", 429, **{"Retry-After": "30"})

    with pytest.raises(RateLimited) as caught:
        await venue.trading.submit(make_order(), _nothing)

    assert caught.value.retry_after_s == 30.0
    assert not venue.rest.budget.try_acquire(Lane.REDUCE, {"weight": 1})
    assert venue.rest.budget.statistics().penalties == 1


async def test_refused_timestamp_measures_the_clock(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """A write is not repeated, but the next carries the venue's time."""
    stub.answers["GET", "/fapi/v1/time"] = lambda _request: {
        "serverTime": time.time_ns() // MS + 90_000
    }
    stub.answers[ORDER] = refusal(-1021)

    with pytest.raises(NonceClash):
        await venue.trading.submit(make_order(), _nothing)
    assert 89 * SECOND < venue.rest.offset_ns < 91 * SECOND

    del stub.answers["GET", "/fapi/v1/time"]
    stub.answers[ORDER] = lambda _request: refusal(-1021)
    with pytest.raises(NonceClash) as caught:
        await venue.trading.submit(make_order(), _nothing)
    assert "could not be measured" in caught.value.__notes__[0]


async def test_used_weight_of_the_headers_is_taken_over(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Others on the same address count too."""
    stub.headers = {"X-MBX-USED-WEIGHT-1M": "1500", "X-MBX-ORDER-COUNT-10S": "17"}
    stub.answers[ORDER] = order_row()

    await venue.trading.submit(make_order(), _nothing)

    used = venue.rest.budget.statistics().used
    assert (used["weight"], used["orders_10s"]) == (1500, 17)


async def test_no_answer_is_unknown(stub: StubBinance, venue: BinanceVenue) -> None:
    """The request left; the connection died."""

    def die(_request: object) -> web.StreamResponse:
        raise ConnectionResetError

    stub.answers[ORDER] = die
    with pytest.raises(OutcomeUnknown):
        await venue.trading.submit(make_order(), _nothing)


async def test_refused_connection_is_a_definite_refusal(
    stub: StubBinance, venue: BinanceVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing left this machine."""

    async def refused(*_: object, **__: object) -> None:
        raise Unavailable("binance", "connection refused")

    monkeypatch.setattr(venue.rest._http, "request", refused)
    with pytest.raises(Rejected) as caught:
        await venue.trading.submit(make_order(), _nothing)
    assert caught.value.code == "not_sent"


async def test_without_credentials_nothing_is_sent(
    stub: StubBinance, public_venue: BinanceVenue
) -> None:
    """Writes and private reads are typed refusals."""
    with pytest.raises(ReadOnly):
        await public_venue.trading.submit(make_order(), _nothing)
    with pytest.raises(ReadOnly):
        await public_venue.trading.cancel(make_order(), "1")
    with pytest.raises(ReadOnly):
        await public_venue.account.run(lambda _event: None)
    with pytest.raises(Unavailable):
        await public_venue.account.positions()
    assert not public_venue.can_trade
    assert stub.requests == []


async def test_cancel_by_client_id(stub: StubBinance, venue: BinanceVenue) -> None:
    """The answer is the order's end; an order that is not open is a refusal."""
    stub.answers["DELETE", "/fapi/v1/order"] = order_row(status="CANCELED", executedQty="0.001")
    report = await venue.trading.cancel(make_order(), "771")
    assert (report.state, report.filled) == (OrderState.CANCELLED, Decimal("0.001"))
    assert stub.requests[-1].params["origClientOrderId"] == "pb" + CLIENT_ID

    stub.answers["DELETE", "/fapi/v1/order"] = refusal(-2011)
    with pytest.raises(Rejected) as caught:
        await venue.trading.cancel(make_order(), "771")
    assert caught.value.code == "-2011"


async def test_dead_man_counts_down_in_ms(stub: StubBinance, venue: BinanceVenue) -> None:
    """Seconds become ms; 0 disarms."""
    stub.answers["POST", "/fapi/v1/countdownCancelAll"] = {
        "symbol": "BTCUSDT",
        "countdownTime": "2500",
    }
    await venue.trading.set_dead_man(make_instrument("BTCUSDT"), 2.5)
    await venue.trading.set_dead_man(make_instrument("BTCUSDT"), 0)

    sent = stub.sent("POST", "/fapi/v1/countdownCancelAll")
    assert [one.params["countdownTime"] for one in sent] == ["2500", "0"]


# --- stops ---------------------------------------------------------------------------------------


def _stop(**changes: Any) -> StopRequest:
    fields: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "symbol": "BTCUSDT",
        "side": Side.SELL,
        "trigger_price": Decimal("60000.50"),
    }
    return StopRequest(**(fields | changes))


@pytest.mark.parametrize(
    ("stop", "hedge_mode", "expected"),
    [
        (_stop(), False, "&closePosition=true"),
        (_stop(quantity=Decimal("0.02")), False, "&quantity=0.02&reduceOnly=true"),
        (
            _stop(position_side=PositionSide.LONG),
            True,
            "&closePosition=true&positionSide=LONG",
        ),
        (
            _stop(quantity=Decimal(1), side=Side.BUY, position_side=PositionSide.SHORT),
            True,
            "&quantity=1&positionSide=SHORT",
        ),
    ],
    ids=["close", "quantity", "hedge close", "hedge quantity"],
)
def test_stop_parameters(stop: StopRequest, expected: str, *, hedge_mode: bool) -> None:
    """ClosePosition carries neither quantity nor reduceOnly."""
    query = stop_query(stop, ONE, hedge_mode=hedge_mode)

    assert query.endswith(expected)
    assert query.startswith("algoType=CONDITIONAL&symbol=BTCUSDT&")
    assert "&triggerPrice=60000.5&workingType=MARK_PRICE&" in query


def test_stop_that_would_add_to_its_leg_is_refused() -> None:
    """BUY on LONG opens."""
    with pytest.raises(Rejected, match="add to"):
        stop_query(_stop(side=Side.BUY, position_side=PositionSide.LONG), ONE, hedge_mode=True)


async def test_stops_are_placed_listed_and_cancelled(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Through /algoOrder only; the short answer of a create is completed from the request."""
    stub.answers["POST", "/fapi/v1/algoOrder"] = {"algoId": 9, "algoStatus": "NEW"}
    placed = await venue.stops.submit(_stop(trigger_by=TriggerPrice.LAST), _nothing)
    assert (placed.venue_order_id, placed.client_id) == ("algo-9", CLIENT_ID)
    assert placed.state is OrderState.ACCEPTED

    row = {
        "algoId": 9,
        "clientAlgoId": "pb" + CLIENT_ID,
        "symbol": "BTCUSDT",
        "side": "SELL",
        "positionSide": "BOTH",
        "algoStatus": "NEW",
        "quantity": "0.02",
        "triggerPrice": "60000.5",
        "closePosition": True,
        "updateTime": 5,
    }
    stub.answers["GET", "/fapi/v1/openAlgoOrders"] = [row]
    assert (await venue.stops.open_stops("BTCUSDT"))[0].reduce_only
    stub.answers["GET", "/fapi/v1/openAlgoOrders"] = [row | {"side": "HOLD"}]
    with pytest.raises(Unavailable):
        await venue.stops.open_stops("BTCUSDT")

    stub.answers["DELETE", "/fapi/v1/algoOrder"] = {"algoId": 9, "code": "200", "msg": "success"}
    assert await venue.stops.cancel(CLIENT_ID) == "algo-9"

    stub.answers["POST", "/fapi/v1/algoOrder"] = {"algoId": 9, "algoStatus": "LOST"}
    with pytest.raises(OutcomeUnknown):
        await venue.stops.submit(_stop(), _nothing)


async def test_spent_budget_is_a_definite_refusal(
    stub: StubBinance, venue: BinanceVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order does not wait for minutes behind our own limits."""
    monkeypatch.setattr("perpbot.venues.binance.rest._LONGEST_QUEUE_S", 0.01)
    venue.rest.budget.penalise(60.0)

    with pytest.raises(RateLimited) as caught:
        await venue.trading.submit(make_order(purpose=Purpose.REDUCE), _nothing)

    assert caught.value.code == "own_budget"
    assert stub.requests == []
