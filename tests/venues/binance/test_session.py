"""Orders by the websocket API: what is sent, and what every end of a request means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

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
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState, OrderType, PositionSide, Side, TimeInForce
from perpbot.kernel.clock import MS, SECOND
from perpbot.venues.binance.errors import CODES
from perpbot.venues.binance.orders import cancel_frame, place_frame
from perpbot.venues.binance.signing import BinanceCredentials, Signer
from perpbot.venues.binance.venue import BinanceVenue
from perpbot.venues.port import PromptTrading
from perpbot.venues.wire.limits import Lane
from tests.venues.binance.stub import CLIENT_ID, StubBinance, make_order, order_row
from tests.venues.waiting import until

ORDER = ("POST", "/fapi/v1/order")
SIGNER = Signer(BinanceCredentials("key-1", "secret-1"))


@pytest.fixture
async def open_venue(stub: StubBinance, venue: BinanceVenue) -> AsyncIterator[BinanceVenue]:
    """The adapter with its socket of orders up."""
    session = venue.trading._session
    running = asyncio.create_task(session.run())
    await until(lambda: session.is_ready)
    yield venue
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def place(venue: BinanceVenue, order: OrderRequest, told: list[int]) -> Awaitable[OrderReport]:
    """Write an order at once."""
    answer = venue.trading.begin(order, lambda: told.append(1))
    assert answer is not None
    return answer


def signed(params: dict[str, Any]) -> bool:
    """Tell whether parameters carry their signature, over the rest sorted by name."""
    rest = {name: value for name, value in params.items() if name != "signature"}
    payload = "&".join(f"{name}={value}" for name, value in sorted(rest.items()))
    expected = hmac.new(b"secret-1", payload.encode(), hashlib.sha256).hexdigest()
    return bool(params["signature"] == expected)


# --- frames --------------------------------------------------------------------------------------


def test_the_golden_order_frame() -> None:
    """Texts but for the two times; sorted by name; the signature last."""
    frame = place_frame(
        "7",
        make_order(time_in_force=TimeInForce.IOC),
        Decimal(1),
        SIGNER,
        hedge_mode=False,
        window_ms=4_999,
        now_ms=1_795_225_397_704,
    )

    assert frame.startswith(
        b'{"id":"7","method":"order.place","params":{"apiKey":"key-1","newClientOrderId":"pb'
        + CLIENT_ID.encode()
        + b'","newOrderRespType":"RESULT","price":"65000.1","quantity":"0.01","recvWindow":4999,'
        b'"selfTradePreventionMode":"EXPIRE_TAKER","side":"BUY","symbol":"BTCUSDT",'
        b'"timeInForce":"IOC","timestamp":1795225397704,"type":"LIMIT","signature":"'
    )
    assert signed(msgspec.json.decode(frame)["params"])


@pytest.mark.parametrize(
    ("changes", "hedge_mode", "expected"),
    [
        ({"order_type": OrderType.MARKET, "price": None}, False, {"type": "MARKET"}),
        ({"reduce_only": True, "side": Side.SELL}, False, {"reduceOnly": "true"}),
        ({"position_side": PositionSide.SHORT}, True, {"positionSide": "SHORT"}),
        ({"symbol": "1000PEPEUSDT"}, False, {"quantity": "0.00001", "price": "65000100"}),
    ],
    ids=["market", "reduce", "hedge", "bundle"],
)
def test_kinds_of_frames(
    changes: dict[str, Any], expected: dict[str, str], *, hedge_mode: bool
) -> None:
    """What a query says a frame says too, and its signature holds."""
    order = make_order(**changes)
    bundle = Decimal(1_000 if "1000" in order.symbol else 1)
    frame = place_frame("1", order, bundle, SIGNER, hedge_mode=hedge_mode, window_ms=1, now_ms=2)
    params = msgspec.json.decode(frame)["params"]

    assert expected.items() <= params.items()
    assert ("price" in params) is (order.price is not None)
    assert signed(params)


def test_the_golden_cancel_frame() -> None:
    """By client id."""
    frame = cancel_frame("8", make_order(), SIGNER, window_ms=5_000, now_ms=1)
    found = msgspec.json.decode(frame)

    assert (found["id"], found["method"]) == ("8", "order.cancel")
    assert signed(found["params"])
    assert found["params"] == {
        "apiKey": "key-1",
        "origClientOrderId": "pb" + CLIENT_ID,
        "recvWindow": 5_000,
        "symbol": "BTCUSDT",
        "timestamp": 1,
        "signature": found["params"]["signature"],
    }


# --- orders --------------------------------------------------------------------------------------


async def test_an_order_is_written_at_once(stub: StubBinance, open_venue: BinanceVenue) -> None:
    """`sent` comes before anything is waited for; the answer is a report; REST hears nothing."""
    stub.api_answers["order.place"] = lambda _params: {
        "result": order_row(status="PARTIALLY_FILLED", executedQty="0.004"),
        "rateLimits": [
            {
                "rateLimitType": "ORDERS",
                "interval": "SECOND",
                "intervalNum": 10,
                "limit": 300,
                "count": 17,
            },
            {"rateLimitType": "OTHER", "interval": "DAY", "intervalNum": 1, "limit": 1},
        ],
    }
    told: list[int] = []
    answer = place(open_venue, make_order(expires_ns=time.time_ns() + 3 * SECOND), told)
    assert told == [1]
    report = await answer

    assert isinstance(open_venue.trading, PromptTrading)
    assert (report.state, report.filled) == (OrderState.PARTIALLY_FILLED, Decimal("0.004"))
    params = stub.api_requests[0]["params"]
    assert signed(params)
    assert 2_900 <= params["recvWindow"] <= 3_000
    assert stub.sent(*ORDER) == []
    used = open_venue.rest.budget.statistics().used
    assert (used["orders_10s"], used["orders_1m"]) == (17, 1)


async def test_submit_takes_the_socket_too(stub: StubBinance, open_venue: BinanceVenue) -> None:
    """Where an order had to wait for the budget."""
    stub.api_answers["order.place"] = lambda _params: {"result": order_row()}
    told: list[int] = []
    report = await open_venue.trading.submit(make_order(), lambda: told.append(1))

    assert (report.state, told) == (OrderState.ACCEPTED, [1])
    assert stub.sent(*ORDER) == []


async def test_without_the_socket_orders_go_by_rest(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Nothing is written at once; submit and cancel take the other way."""
    stub.answers[ORDER] = order_row()
    stub.answers["DELETE", "/fapi/v1/order"] = order_row(status="CANCELED")

    assert venue.trading.begin(make_order(), lambda: None) is None
    assert (await venue.trading.submit(make_order(), lambda: None)).state is OrderState.ACCEPTED
    assert (await venue.trading.cancel(make_order(), "1")).state is OrderState.CANCELLED


async def test_a_socket_that_breaks_while_sending_leaves_it_to_rest(
    stub: StubBinance, open_venue: BinanceVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte was handed over, so the other way is safe."""

    def gone(_frame: bytes) -> None:
        raise Unavailable("binance", "it is gone, and nobody was told yet")

    monkeypatch.setattr(open_venue.trading._session.channel, "send", gone)
    stub.answers[ORDER] = order_row()
    stub.answers["DELETE", "/fapi/v1/order"] = order_row(status="CANCELED")

    assert open_venue.trading.begin(make_order(), lambda: None) is None
    await open_venue.trading.submit(make_order(), lambda: None)
    await open_venue.trading.cancel(make_order(), "1")
    assert len(stub.sent(*ORDER)) == 1
    assert stub.api_requests == []


async def test_what_cannot_be_sent_is_a_definite_refusal(
    stub: StubBinance, open_venue: BinanceVenue, public_venue: BinanceVenue
) -> None:
    """Expired, of the wrong kind, or without a key."""
    trading = open_venue.trading
    with pytest.raises(Rejected, match="expired"):
        trading.begin(make_order(expires_ns=1), lambda: None)
    with pytest.raises(Rejected, match="mode"):
        trading.begin(make_order(position_side=PositionSide.LONG), lambda: None)
    with pytest.raises(ReadOnly):
        public_venue.trading.begin(make_order(), lambda: None)
    assert stub.api_requests == []


async def test_a_spent_budget_is_waited_for(stub: StubBinance, open_venue: BinanceVenue) -> None:
    """Not at once: the task that follows waits its turn."""
    while open_venue.rest.budget.try_acquire(Lane.OPEN, {"orders_10s": 1}):
        pass
    assert open_venue.trading.begin(make_order(), lambda: None) is None
    assert stub.api_requests == []


async def test_a_rehearsal_is_the_frame(open_venue: BinanceVenue) -> None:
    """Signed for a time long gone, with a number that no request has."""
    found = msgspec.json.decode(open_venue.trading.rehearse(make_order()))
    assert found["id"] == "0"
    assert signed(found["params"])
    assert found["params"]["timestamp"] < 1_100_000_000_000


# --- every end of a request ----------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(CODES))
async def test_every_listed_code_has_its_error(
    stub: StubBinance, open_venue: BinanceVenue, code: int
) -> None:
    """The same table as for REST; nothing is sent twice."""
    stub.api_answers["order.place"] = lambda _params: {
        "status": 400,
        "error": {"code": code, "msg": "words"},
    }
    with pytest.raises(CODES[code], match="words") as caught:
        await place(open_venue, make_order(), [])

    assert caught.value.code == str(code)
    assert len(stub.api_requests) == 1
    assert stub.sent(*ORDER) == []


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"code": -9999, "msg": ""}, Rejected),
        (503, {"code": -1000, "msg": "x"}, OutcomeUnknown),
        (503, {"code": -1008, "msg": "x"}, RateLimited),
        (500, {"code": -2019, "msg": "x"}, OutcomeUnknown),
        (418, {"code": -9999, "msg": "x"}, RateLimited),
        (401, {"code": -9999, "msg": "x"}, AuthFailed),
        (400, None, OutcomeUnknown),
        (0, None, OutcomeUnknown),
    ],
    ids=["unlisted", "503", "overload", "500", "418", "401", "no reason", "nothing"],
)
async def test_statuses(
    stub: StubBinance,
    open_venue: BinanceVenue,
    status: int,
    error: dict[str, Any] | None,
    expected: type[VenueError],
) -> None:
    """The status outweighs the code where it says more."""
    stub.api_answers["order.place"] = lambda _params: {"status": status, "error": error}
    with pytest.raises(expected):
        await place(open_venue, make_order(), [])


async def test_a_refusal_for_rate_stops_the_budget(
    stub: StubBinance, open_venue: BinanceVenue
) -> None:
    """For as long as the venue says."""
    until_ms = time.time_ns() // MS + 30_000
    stub.api_answers["order.place"] = lambda _params: {
        "status": 429,
        "error": {"code": -1003, "msg": "slow", "data": {"retryAfter": until_ms}},
    }
    with pytest.raises(RateLimited) as caught:
        await place(open_venue, make_order(), [])

    assert 28 < caught.value.retry_after_s <= 30
    assert not open_venue.rest.budget.try_acquire(Lane.REDUCE, {"weight": 1})


async def test_a_refused_timestamp_measures_the_clock(
    stub: StubBinance, open_venue: BinanceVenue
) -> None:
    """The order is not repeated; the next carries the venue's time."""
    stub.answers["GET", "/fapi/v1/time"] = lambda _request: {
        "serverTime": time.time_ns() // MS + 90_000
    }
    stub.api_answers["order.place"] = lambda _params: {"status": 400, "error": {"code": -1021}}
    with pytest.raises(NonceClash):
        await place(open_venue, make_order(), [])
    assert 89 * SECOND < open_venue.rest.offset_ns < 91 * SECOND


@pytest.mark.parametrize(
    "reply",
    [None, "<html>", '{"id":"99","status":200}', '{"id":null,"status":400}', "[" * 5_000],
    ids=["silence", "no json", "another's", "nobody's", "deep"],
)
async def test_no_answer_is_unknown(
    stub: StubBinance,
    open_venue: BinanceVenue,
    patience_ends: Callable[[], None],
    reply: str | None,
) -> None:
    """After the patience of a request; it is not sent again."""
    session = open_venue.trading._session
    frames = session.channel.statistics().frames
    stub.api_answers["order.place"] = lambda _params: reply
    answer = asyncio.create_task(wait_for(place(open_venue, make_order(), [])))
    await until(lambda: stub.api_requests)
    await until(lambda: session.channel.statistics().frames == frames + (reply is not None))
    assert not answer.done()
    patience_ends()
    with pytest.raises(OutcomeUnknown, match="no reply"):
        await answer

    unreadable = reply is not None and not reply.startswith("{")
    assert session.unreadable == unreadable
    assert stub.sent(*ORDER) == []


@pytest.mark.parametrize("row", [{"orderId": "x"}, order_row(status="DREAMING"), []])
async def test_an_unreadable_result_is_unknown(
    stub: StubBinance, open_venue: BinanceVenue, row: object
) -> None:
    """The order is there, in a state that cannot be read."""
    stub.api_answers["order.place"] = lambda _params: {"result": row}
    with pytest.raises(OutcomeUnknown, match="could not be read"):
        await place(open_venue, make_order(), [])


async def test_a_lost_socket_is_unknown(stub: StubBinance, open_venue: BinanceVenue) -> None:
    """The order may be there; whoever comes back asks for it."""
    stub.api_answers["order.place"] = lambda _params: None
    answer = place(open_venue, make_order(), [])
    await until(lambda: bool(stub.api_requests))
    await stub.api_sockets[0].close()

    with pytest.raises(OutcomeUnknown, match="lost"):
        await answer
    assert stub.sent(*ORDER) == []


async def test_a_socket_that_does_not_answer_takes_no_more_orders(
    stub: StubBinance,
    open_venue: BinanceVenue,
    patience_ends: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half-open, it would swallow the next hedge too: that goes by REST, the socket is closed."""
    monkeypatch.setattr("perpbot.venues.wire.pending.LATE_NS", 5 * MS)
    session = open_venue.trading._session
    stub.api_answers["order.place"] = lambda _params: None
    stub.answers[ORDER] = order_row()
    unanswered = asyncio.create_task(wait_for(place(open_venue, make_order(), [])))
    await until(lambda: not session.is_ready)

    assert open_venue.trading.begin(make_order(), lambda: None) is None
    assert (await open_venue.trading.submit(make_order(), lambda: None)).filled == 0
    assert len(stub.api_requests) == 1
    patience_ends()
    with pytest.raises(OutcomeUnknown):
        await unanswered
    await until(lambda: len(stub.api_sockets) == 2 and session.is_ready)
    assert session.channel.statistics().reasons == {"reconnect": 1}


async def test_a_socket_that_answers_late_takes_orders_again(
    stub: StubBinance,
    open_venue: BinanceVenue,
    patience_ends: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it says: it is heard."""
    monkeypatch.setattr("perpbot.venues.wire.pending.LATE_NS", 5 * MS)
    session = open_venue.trading._session
    stub.api_answers["order.place"] = lambda _params: None
    unanswered = asyncio.create_task(wait_for(place(open_venue, make_order(), [])))
    await until(lambda: not session.is_ready)
    await stub.api_sockets[0].send_str('{"id":null,"status":400}')
    await until(lambda: session.is_ready)

    patience_ends()
    with pytest.raises(OutcomeUnknown):
        await unanswered
    assert session.channel.statistics().losses == 0


async def wait_for(answer: Awaitable[OrderReport]) -> OrderReport:
    """As a task."""
    return await answer


async def test_a_socket_that_is_stopped_leaves_nobody_waiting(
    stub: StubBinance, venue: BinanceVenue
) -> None:
    """Its requests end unknown with it."""
    session = venue.trading._session
    running = asyncio.create_task(session.run())
    await until(lambda: session.is_ready)
    stub.api_answers["order.place"] = lambda _params: None
    answer = place(venue, make_order(), [])
    await until(lambda: bool(stub.api_requests))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    with pytest.raises(OutcomeUnknown):
        await answer


async def test_cancel_by_the_socket(stub: StubBinance, open_venue: BinanceVenue) -> None:
    """The answer is the order's end; an order that is not open is a refusal."""
    stub.api_answers["order.cancel"] = lambda _params: {
        "result": order_row(status="CANCELED", executedQty="0.001")
    }
    report = await open_venue.trading.cancel(make_order(), "771")
    assert (report.state, report.filled) == (OrderState.CANCELLED, Decimal("0.001"))
    assert signed(stub.api_requests[0]["params"])

    stub.api_answers["order.cancel"] = lambda _params: {
        "status": 400,
        "error": {"code": -2011, "msg": "Unknown order sent."},
    }
    with pytest.raises(Rejected) as caught:
        await open_venue.trading.cancel(make_order(), "771")
    assert caught.value.code == "-2011"
