"""The whole adapter against a scripted server on loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    ReadOnly,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.domain.events import (
    AccountReported,
    BookUpdated,
    ConnectionState,
    Event,
    FillReported,
    MarkUpdated,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.sides import OrderState, PositionSide, Purpose, Side
from perpbot.kernel.clock import RealClock
from perpbot.venues.okx import account, session
from perpbot.venues.okx.orders import PositionMode
from perpbot.venues.okx.venue import OkxVenue, create
from perpbot.venues.options import VenueConnection
from tests.venues.okx.loopback import LoopbackOkx, Socket, accept_subscriptions, loopback_okx
from tests.venues.okx.support import BTC, CREDENTIALS, ETH, INSTRUMENT_ROW, an_id, an_order
from tests.venues.okx.test_reports import ORDER
from tests.venues.sink import Sink
from tests.venues.waiting import until

INSTRUMENTS = "/api/v5/public/instruments"
CONFIG = "/api/v5/account/config"
NET_ACCOUNT = [{"posMode": "net_mode", "acctLv": "2", "uid": "1"}]


@pytest.fixture
async def server() -> AsyncIterator[LoopbackOkx]:
    """Run a scripted OKX with one instrument and one account."""
    async with loopback_okx() as running:
        running.rest[INSTRUMENTS] = [INSTRUMENT_ROW]
        running.rest[CONFIG] = NET_ACCOUNT
        yield running


@pytest.fixture
async def venue(server: LoopbackOkx) -> AsyncIterator[OkxVenue]:
    """Return a venue that knows its instruments."""
    made = make_venue(server)
    await made.market_data.instruments()
    yield made
    await made.close()


def make_venue(server: LoopbackOkx, **options: Any) -> OkxVenue:
    """Return a venue on the scripted server."""
    keys = {"timeout_s": 0.3, "credentials": CREDENTIALS, "testnet": False, **options}
    settings = VenueConnection(
        rest_url=server.rest_url,
        ws_url=server.ws_url,
        request_timeout_s=keys.pop("timeout_s"),
        testnet=keys.pop("testnet"),
    )
    return OkxVenue(settings=settings, clock=RealClock(), rng=random.Random(1), **keys)


class Heard:
    """What a private stream published."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def states(self) -> list[ConnectionState]:
        return [event.state for event in self.of(VenueConnectionChanged)]


@asynccontextmanager
async def running(venue: OkxVenue) -> AsyncIterator[Heard]:
    """Run the private stream until it is logged in, and to the end of the block."""
    heard = Heard()
    task = asyncio.ensure_future(venue.account.run(heard.events.append))
    try:
        await until(lambda: heard.states[-1:] == [ConnectionState.LIVE] or task.done())
        if task.done():
            await task
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def feeding(venue: OkxVenue) -> AsyncIterator[Sink]:
    """Run the public stream to the end of the block."""
    sink = Sink("okx")
    task = asyncio.ensure_future(venue.market_data.run([BTC], sink))
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reply_to_orders(answer: Callable[[dict[str, Any]], dict[str, Any] | str | None]) -> Any:
    """Return a private script that answers order ops with what `answer` makes of the frame."""

    async def script(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] in {"login", "subscribe"}:
            await accept_subscriptions(server, socket, frame)
            return
        made = answer(frame)
        if isinstance(made, str):
            await socket.send_str(made)
        elif made is not None:
            await socket.send_json({"id": frame["id"], "op": frame["op"], **made})

    return script


def accepted(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to an order that was taken."""
    item = {"ordId": "3411", "clOrdId": frame["args"][0].get("clOrdId", ""), "sCode": "0"}
    return {"code": "0", "msg": "", "data": [{**item, "sMsg": "", "ts": "1795225231208"}]}


def refused(code: str) -> dict[str, Any]:
    """Return the answer to an order that was refused."""
    return {"code": "1", "msg": "failed", "data": [{"ordId": "", "sCode": code, "sMsg": "no"}]}


class Sent:
    """Counts how often an order was told to be on its way."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


# --- public ----------------------------------------------------------------------------------


async def test_instruments_are_read_and_inverse_ones_counted(server: LoopbackOkx) -> None:
    """Public data needs no keys and carries no signature."""
    server.rest[INSTRUMENTS] = [INSTRUMENT_ROW, {**INSTRUMENT_ROW, "ctType": "inverse"}]
    venue = make_venue(server, credentials=None)

    assert list(await venue.market_data.instruments()) == [BTC]

    assert venue.catalogue.refused == {"instrument inverse": 1}
    ((_, path, headers, _body),) = server.asked(INSTRUMENTS)
    assert path.endswith("?instType=SWAP")
    assert "OK-ACCESS-KEY" not in headers
    await venue.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="empty"),
        pytest.param((200, "<html>"), id="not-json"),
        pytest.param((503, "busy"), id="503"),
        pytest.param((200, '{"code":"50011","msg":"slow down"}'), id="rate"),
        pytest.param([{"instId": 5}], id="wrong-type"),
        pytest.param(ConnectionError(), id="reset"),
    ],
)
async def test_instruments_that_cannot_be_read_are_unavailable(
    server: LoopbackOkx, answer: Any
) -> None:
    """No answer is ever an empty list."""
    server.rest[INSTRUMENTS] = answer
    venue = make_venue(server)

    with pytest.raises(Unavailable):
        await venue.market_data.instruments()
    await venue.close()


async def test_feed_subscribes_and_reconnects(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A loss invalidates the slot and is told; the next connection subscribes again."""
    async with feeding(venue) as sink:
        await until(lambda: server.said("subscribe"))
        await server.push("public", QUOTE)
        await until(lambda: sink.slots["BTC-USDT-SWAP"].quotes)
        await server.sockets["public"][-1].close()
        await until(lambda: len(server.said("subscribe")) == 2)
        await server.push("public", QUOTE, MARK)
        await until(lambda: sink.of(MarkUpdated))

    subscribed = server.said("subscribe")
    assert [argument["channel"] for argument in subscribed[0]["args"]] == [
        "bbo-tbt",
        "mark-price",
        "funding-rate",
        "trades",
    ]
    assert subscribed[0] == subscribed[1]
    assert len(sink.slots["BTC-USDT-SWAP"].invalid) >= 1
    told = [event.state for event in sink.of(VenueConnectionChanged)]
    assert told[:3] == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]


async def test_polled_quotes(server: LoopbackOkx, venue: OkxVenue) -> None:
    """One request for all; an instrument that is not listed is left out, nonsense is no answer."""
    row = {"instId": "BTC-USDT-SWAP", "bidPx": "10", "bidSz": "3", "askPx": "", "askSz": ""}
    server.rest["/api/v5/market/tickers"] = [{**row, "ts": "5"}]
    (found,) = await venue.market_data.poll_quotes([BTC, ETH])

    assert (found.bids, found.asks, found.venue_ns) == (((10.0, 0.03),), (), 5_000_000)
    server.rest["/api/v5/market/tickers"] = [{**row, "bidPx": "x"}]
    with pytest.raises(Unavailable):
        await venue.market_data.poll_quotes([BTC])


async def test_service_notice_opens_a_new_connection(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Notice 64008 is followed before the venue closes."""
    async with feeding(venue):
        await until(lambda: server.said("subscribe"))
        await server.push("public", {"event": "notice", "code": "64008", "msg": "upgrade"})
        await until(lambda: len(server.said("subscribe")) == 2)


@pytest.mark.parametrize("with_snapshot", [True, False], ids=["socket", "rest"])
async def test_books_in_both_modes(server: LoopbackOkx, *, with_snapshot: bool) -> None:
    """With a snapshot on the socket or without one, the book is the venue's."""
    server.rest["/api/v5/market/books"] = [
        {"asks": [["11", "2", "0", "1"]], "bids": [["10", "1", "0", "1"]], "ts": "1", "seqId": 5}
    ]
    venue = make_venue(server, books=True, credentials=None)
    async with feeding(venue) as sink:
        await until(lambda: server.said("subscribe"))
        if with_snapshot:
            await server.push("public", book("snapshot", -1, 5, "10", "1"))
        await server.push("public", book("update", 4 if not with_snapshot else 5, 5, "10", "1"))
        await server.push("public", book("update", 5, 6, "10.5", "3"))
        await until(lambda: sink.of(BookUpdated))
        await until(lambda: sink.of(BookUpdated)[-1].bids[0] == (10.5, 0.03))

        assert sink.of(BookUpdated)[-1].bids == ((10.5, 0.03), (10.0, 0.01))
        assert bool(server.asked("/api/v5/market/books")) is not with_snapshot
        await server.push("public", book("update", 8, 9, "10.5", "3"))
        await until(lambda: server.said("unsubscribe"))
        assert sink.slots["BTC-USDT-SWAP"].invalid == ["book_gap"]
    await venue.close()


QUOTE = (
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["65001.1","120","0",'
    '"4"]],"bids":[["65001.0","80","0","3"]],"ts":"1795225231208","seqId":9001}]}'
)
MARK = {
    "arg": {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
    "data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "65000", "ts": "1"}],
}


def book(action: str, previous: int, sequence: int, price: str, size: str) -> dict[str, Any]:
    """Return a frame of channel books."""
    row = {"asks": [], "bids": [[price, size, "0", "1"]], "ts": "1", "checksum": 0}
    return {
        "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"},
        "action": action,
        "data": [{**row, "prevSeqId": previous, "seqId": sequence}],
    }


# --- open ------------------------------------------------------------------------------------


async def test_open_learns_the_position_mode(server: LoopbackOkx, venue: OkxVenue) -> None:
    """account/config decides between net and long/short."""
    server.rest[CONFIG] = [{"posMode": "long_short_mode", "acctLv": "2"}]

    await venue.open([BTC])

    assert venue.trading.mode is PositionMode.LONG_SHORT


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([{"posMode": "net_mode", "acctLv": "1"}], Rejected),
        ([{"posMode": "sideways", "acctLv": "2"}], ProtocolViolation),
        ([], ProtocolViolation),
        ((401, '{"code":"50111","msg":"Invalid OK-ACCESS-KEY"}'), AuthFailed),
    ],
    ids=["spot-account", "mode", "nothing", "key"],
)
async def test_open_refuses_accounts_that_cannot_trade(
    server: LoopbackOkx, venue: OkxVenue, answer: Any, kind: type[VenueError]
) -> None:
    """The reason is told when the venue opens, not with the first order."""
    server.rest[CONFIG] = answer

    with pytest.raises(kind):
        await venue.open([BTC])


async def test_open_sets_leverage_where_asked(server: LoopbackOkx) -> None:
    """Cross margin, one request an instrument; a refusal is raised."""
    server.rest["/api/v5/account/set-leverage"] = [{"lever": "3"}]
    venue = make_venue(server, leverage=3)

    await venue.open([BTC])

    ((method, _, _, body),) = server.asked("/api/v5/account/set-leverage")
    assert method == "POST"
    assert json.loads(body) == {"instId": "BTC-USDT-SWAP", "lever": "3", "mgnMode": "cross"}
    server.rest["/api/v5/account/set-leverage"] = (200, '{"code":"59000","msg":"positions"}')
    with pytest.raises(Rejected):
        await venue.open([BTC])
    await venue.close()


async def test_without_credentials_it_reads_and_refuses_to_write(server: LoopbackOkx) -> None:
    """Writes are typed refusals, private reads too; nothing is invented and nothing is sent."""
    venue = create(
        settings=VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url),
        credentials=None,
        clock=RealClock(),
        rng=random.Random(1),
    )
    await venue.open([BTC])

    assert not venue.can_trade
    for write in (
        venue.trading.submit(an_order(), Sent()),
        venue.trading.cancel(an_order(), "1"),
        venue.trading.set_dead_man(BTC, 30),
        venue.trading.submit_stop(an_order(), Decimal(1), Sent()),
        venue.trading.cancel_stop(BTC, "1"),
        venue.trading.open_stops(),
        venue.account.run(lambda _event: None),
    ):
        with pytest.raises(ReadOnly):
            await write
    with pytest.raises(Unavailable) as caught:
        await venue.account.positions()
    assert caught.value.code == "read_only"
    assert not server.requests
    await venue.close()


async def test_demo_trading_carries_its_header(server: LoopbackOkx) -> None:
    """On the testnet every REST request says so."""
    venue = make_venue(server, testnet=True)

    await venue.market_data.instruments()

    assert server.requests[0][2]["x-simulated-trading"] == "1"
    await venue.close()


# --- orders by websocket -----------------------------------------------------------------------


async def test_login_then_order_and_acknowledgement(server: LoopbackOkx, venue: OkxVenue) -> None:
    """The order goes by websocket, with its code and deadline, and is told to be sent once."""
    server.private = reply_to_orders(accepted)
    order, sent = an_order(expires_ns=RealClock().now_ns() + 10**10), Sent()
    async with running(venue):
        report = await venue.trading.submit(order, sent)

    (login,) = server.said("login")
    assert login["args"][0]["apiKey"] == "demo-key"
    (frame,) = server.said("order")
    assert frame["args"][0]["instIdCode"] == 10459
    assert frame["expTime"] == str(order.expires_ns // 10**6)
    assert not server.asked("/api/v5/trade/order")
    assert sent.times == 1
    assert (report.state, report.venue_order_id) == (OrderState.ACCEPTED, "3411")
    assert report.client_id == order.client_id
    assert report.venue_ns == 1_795_225_231_208_000_000


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(refused("51008"), Rejected, id="margin"),
        pytest.param(refused("50004"), OutcomeUnknown, id="unknown"),
        pytest.param(refused("50061"), RateLimited, id="rate"),
        pytest.param({"code": "50102", "msg": "expired", "data": []}, VenueError, id="time"),
        pytest.param({"code": "0", "msg": "", "data": []}, OutcomeUnknown, id="empty"),
        pytest.param(None, OutcomeUnknown, id="no-reply"),
    ],
)
async def test_order_answers_become_errors(
    server: LoopbackOkx,
    venue: OkxVenue,
    answer: dict[str, Any] | None,
    kind: type[VenueError],
) -> None:
    """A refusal is definite; silence and the codes for it are unknown; nothing is sent twice."""
    server.private = reply_to_orders(lambda _frame: answer)
    sent = Sent()
    async with running(venue):
        with pytest.raises(kind):
            await venue.trading.submit(an_order(), sent)

    assert len(server.said("order")) == 1
    assert not server.asked("/api/v5/trade/order")
    assert sent.times == 1


async def test_malformed_request_is_matched_by_the_quoted_id(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """OKX answers it with an event whose text quotes the frame."""

    def error(frame: dict[str, Any]) -> str:
        message = f"Illegal request: {json.dumps(frame)}"
        return json.dumps({"event": "error", "code": "60012", "msg": message, "connId": "1"})

    server.private = reply_to_orders(error)
    async with running(venue):
        with pytest.raises(Rejected) as caught:
            await venue.trading.submit(an_order(), Sent())

    assert caught.value.code == "60012"


async def test_lost_connection_makes_waiting_orders_unknown(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """The socket breaks while an order waits: unknown at once, and a new login follows."""

    async def hang_up(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] == "order":
            await socket.close()
        else:
            await accept_subscriptions(server, socket, frame)

    server.private = hang_up
    async with running(venue) as heard:
        with pytest.raises(OutcomeUnknown, match="lost"):
            await venue.trading.submit(an_order(), Sent())
        await until(lambda: len(server.said("subscribe")) == 2)
        await until(
            lambda: (
                heard.states == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]
            )
        )

    assert len(server.said("login")) == 2
    assert len(server.said("order")) == 1
    assert not server.asked("/api/v5/trade/order")


async def test_refused_login_is_told_and_tried_again(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A wrong key is a reason, not the end of the stream."""

    async def refuse(_server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        await socket.send_json({"event": "error", "code": "60005", "msg": "Invalid apiKey"})

    server.private = refuse
    heard = Heard()
    task = asyncio.ensure_future(venue.account.run(heard.events.append))
    await until(lambda: len(server.said("login")) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert set(heard.states) == {ConnectionState.DOWN}
    assert "60005" in heard.of(VenueConnectionChanged)[0].reason


async def test_cancel_by_websocket(server: LoopbackOkx, venue: OkxVenue) -> None:
    """The acknowledgement says that it was open; an unknown order is a definite refusal."""
    answers = [accepted({"args": [{}]}), refused("51400")]
    server.private = reply_to_orders(lambda _frame: answers.pop(0))
    async with running(venue):
        report = await venue.trading.cancel(an_order(), "3411")
        with pytest.raises(Rejected) as caught:
            await venue.trading.cancel(an_order(), "3411")

    assert (report.state, report.reason) == (OrderState.ACCEPTED, "cancel_taken")
    assert caught.value.code == "51400"
    assert server.said("cancel-order")[0]["args"] == [{"instIdCode": 10459, "clOrdId": an_id()}]


async def test_expired_order_is_not_sent(server: LoopbackOkx, venue: OkxVenue) -> None:
    """What waited for the rate limit beyond its deadline is refused here."""
    async with running(venue):
        with pytest.raises(Rejected, match="expired"):
            await venue.trading.submit(an_order(expires_ns=1), Sent())

    assert not server.said("order")


# --- orders by REST ----------------------------------------------------------------------------


async def test_rest_stands_in_while_the_socket_is_down(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """Without a login the order goes by REST: signed, instId, deadline in the header."""
    server.rest["/api/v5/trade/order"] = [{"ordId": "3412", "clOrdId": an_id(), "sCode": "0"}]
    server.rest["/api/v5/trade/cancel-order"] = [{"ordId": "3412", "sCode": "0"}]
    order, sent = an_order(expires_ns=RealClock().now_ns() + 10**10), Sent()

    report = await venue.trading.submit(order, sent)
    await venue.trading.cancel(order, "3412")

    ((method, _, headers, body),) = server.asked("/api/v5/trade/order")
    assert method == "POST"
    assert headers["expTime"] == str(order.expires_ns // 10**6)
    assert headers["OK-ACCESS-KEY"] == "demo-key"
    assert json.loads(body)["instId"] == "BTC-USDT-SWAP"
    assert sent.times == 1
    assert (report.state, report.venue_order_id) == (OrderState.ACCEPTED, "3412")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(
            (200, '{"code":"50004","msg":"timeout","data":[]}'), OutcomeUnknown, id="50004"
        ),
        pytest.param((503, '{"code":"50001","msg":"down","data":[]}'), OutcomeUnknown, id="503"),
        pytest.param((502, "<html>"), OutcomeUnknown, id="502"),
        pytest.param((200, "<html>"), OutcomeUnknown, id="unreadable"),
        pytest.param((429, '{"code":"50011","msg":"slow","data":[]}'), RateLimited, id="429"),
        pytest.param((401, '{"code":"50113","msg":"sign","data":[]}'), AuthFailed, id="401"),
        pytest.param((200, json.dumps(refused("51121"))), Rejected, id="lot"),
        pytest.param(ConnectionError(), OutcomeUnknown, id="reset"),
    ],
)
async def test_rest_answers_become_errors(
    server: LoopbackOkx, venue: OkxVenue, answer: Any, kind: type[VenueError]
) -> None:
    """HTTP and codes together decide; nothing is tried again."""
    server.rest["/api/v5/trade/order"] = lambda *_: answer

    with pytest.raises(kind):
        await venue.trading.submit(an_order(), Sent())

    assert len(server.asked("/api/v5/trade/order")) == 1


async def test_an_order_whose_time_cannot_be_read_was_taken(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """What it says else is clear."""
    item = {"ordId": "3411", "clOrdId": an_id(), "sCode": "0", "sMsg": "", "ts": "9" * 30}
    server.rest["/api/v5/trade/order"] = [item]

    report = await venue.trading.submit(an_order(), Sent())

    assert (report.state, report.venue_order_id, report.venue_ns) == (
        OrderState.ACCEPTED,
        "3411",
        0,
    )


@pytest.mark.parametrize("price", ["NaN", "1e99", "x"])
async def test_an_index_that_is_no_number_is_no_rate(
    server: LoopbackOkx, venue: OkxVenue, price: str
) -> None:
    """Nothing is known then."""
    server.rest["/api/v5/market/index-tickers"] = [{"instId": "USDT-USD", "idxPx": price}]

    with pytest.raises(Unavailable, match="idxPx"):
        await venue.market_data.usd_rates(["USDT"])


async def test_order_that_cannot_leave_is_a_definite_refusal() -> None:
    """Nobody listens: nothing was sent, so nothing is unknown."""
    async with loopback_okx() as server:
        pass
    venue = make_venue(server)
    venue.catalogue.add([BTC])

    with pytest.raises(Rejected) as caught:
        await venue.trading.submit(an_order(), Sent())

    assert caught.value.code == "not_sent"
    await venue.close()


async def test_unknown_symbol_and_bad_numbers_never_leave(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """The last check before the wire."""
    for order in (an_order(symbol="BTC-USD-SWAP"), an_order(quantity=Decimal("0.00001"))):
        with pytest.raises(Rejected):
            await venue.trading.submit(order, Sent())

    assert not server.asked("/api/v5/trade/order")


async def test_dead_man(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Whole seconds, rounded up, within what OKX takes; 0 disarms."""
    path = "/api/v5/trade/cancel-all-after"
    server.rest[path] = [{"triggerTime": "1", "ts": "1"}]

    await venue.trading.set_dead_man(BTC, 29.5)

    assert json.loads(server.asked(path)[0][3]) == {"timeOut": "30"}
    for wrong in (0.5, -1, 5, 121):
        with pytest.raises(InvalidValue):
            await venue.trading.set_dead_man(BTC, wrong)


@pytest.mark.parametrize("readable", [True, False])
async def test_a_refusal_for_rate_holds_the_endpoint_for_its_retry_after(
    server: LoopbackOkx, venue: OkxVenue, monkeypatch: pytest.MonkeyPatch, *, readable: bool
) -> None:
    """Orders, reads and switches alike; without a header it is a window of the venue."""
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(
        venue._budgets, "penalise_endpoint", lambda path, pause_s: told.append((path, pause_s))
    )
    monkeypatch.setattr(
        venue._budgets,
        "penalise_orders",
        lambda symbol, pause_s, account: told.append((f"{symbol} {account}", pause_s)),
    )
    order, timer = "/api/v5/trade/order", "/api/v5/trade/cancel-all-after"
    leverage, positions = "/api/v5/account/set-leverage", "/api/v5/account/positions"

    def refuse(*_: object) -> web.Response:
        code = "50061" if len(told) < 1 else "50011"
        text = f'{{"code":"{code}","msg":"slow","data":[]}}' if readable else "<html>"
        headers = {"Retry-After": str(3 + len(told))} if len(told) < 4 else {}
        return web.Response(status=429, headers=headers, text=text)

    for path in (order, timer, leverage, positions):
        server.rest[path] = refuse
    for ask in (
        lambda: venue.trading.submit(an_order(), Sent()),
        lambda: venue.trading.set_dead_man(BTC, 30),
        lambda: venue._set_leverage(BTC, 3),
        venue.account.positions,
        lambda: venue.trading.set_dead_man(BTC, 30),
    ):
        with pytest.raises((RateLimited, Unavailable)):
            await ask()

    assert told == [
        (f"BTC-USDT-SWAP {readable}", 3),
        (timer, 4),
        (leverage, 5),
        (positions, 6),
        (timer, 2),
    ]


async def test_refused_dead_man_is_told(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A switch that was not armed must not be taken for one."""
    refusal = (200, '{"code":"50111","msg":"key","data":[]}')
    server.rest["/api/v5/trade/cancel-all-after"] = refusal

    with pytest.raises(AuthFailed):
        await venue.trading.set_dead_man(BTC, 0)


async def test_stops(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A stop of the whole leg, one with a size, its list, its cancel; a refusal is in the item."""
    place = "/api/v5/trade/order-algo"
    server.rest[place] = [{"algoId": "88", "algoClOrdId": an_id(), "sCode": "0", "sMsg": ""}]
    order = an_order(side=Side.SELL, reduce_only=True, purpose=Purpose.PROTECT, price=None)
    sent = Sent()

    whole = await venue.trading.submit_stop(order, Decimal(60000), sent, whole_leg=True)
    venue.trading.mode = PositionMode.LONG_SHORT
    sized = await venue.trading.submit_stop(order, Decimal(60000), sent)

    terms = [json.loads(body) for _, _, _, body in server.asked(place)]
    shared = {
        "instId": "BTC-USDT-SWAP",
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "algoClOrdId": an_id(),
        "slTriggerPx": "60000",
        "slTriggerPxType": "mark",
        "slOrdPx": "-1",
    }
    assert terms == [
        {**shared, "closeFraction": "1", "reduceOnly": True},
        {**shared, "sz": "1", "posSide": "long"},
    ]
    assert (whole.venue_order_id, whole.quantity) == ("88", None)
    assert (sized.position_side, sized.quantity) == (PositionSide.LONG, order.quantity)
    assert sent.times == 2

    server.rest[place] = [{"algoId": "", "sCode": "51000", "sMsg": "Parameter error"}]
    with pytest.raises(Rejected, match="Parameter error"):
        await venue.trading.submit_stop(order, Decimal(60000), sent)
    server.rest[place] = (429, '{"code":"50011","msg":"slow","data":[]}')
    with pytest.raises(RateLimited):
        await venue.trading.submit_stop(order, Decimal(60000), sent)
    with pytest.raises(Rejected, match="only reduces"):
        await venue.trading.submit_stop(an_order(), Decimal(60000), sent)

    server.rest["/api/v5/trade/cancel-algos"] = [{"algoId": "88", "sCode": "0"}]
    await venue.trading.cancel_stop(BTC, "88")
    stop = {"algoId": "88", "instId": "BTC-USDT-SWAP", "state": "live", "side": "sell"}
    server.rest["/api/v5/trade/orders-algo-pending"] = [
        {**stop, "algoClOrdId": an_id(), "slTriggerPx": "60000", "sz": "1"},
        {**stop, "instId": "BTC-USD-SWAP"},
    ]
    (waiting,) = await venue.trading.open_stops()
    assert (waiting.price, waiting.client_id) == (Decimal(60000), an_id())
    server.rest["/api/v5/trade/orders-algo-pending"] = [{**stop, "slTriggerPx": "x"}]
    with pytest.raises(Unavailable):
        await venue.trading.open_stops()


# --- private stream ----------------------------------------------------------------------------


async def test_private_pushes_become_reports(server: LoopbackOkx, venue: OkxVenue) -> None:
    """An order push gives the fill, then the order; positions and balances come as told."""
    async with running(venue) as heard:
        await until(lambda: server.said("subscribe"))
        await server.push(
            "private",
            {"arg": {"channel": "orders", "instType": "SWAP"}, "data": [ORDER]},
            {"arg": {"channel": "orders"}, "data": [{**ORDER, "instId": "BTC-USD-SWAP"}]},
            {
                "arg": {"channel": "positions"},
                "data": [{"instId": "BTC-USDT-SWAP", "pos": "0", "posSide": "net", "uTime": "1"}],
            },
            {
                "arg": {"channel": "account"},
                "data": [
                    {
                        "uTime": "1",
                        "details": [{"ccy": "USDT", "eq": "5", "cashBal": "5", "availEq": "5"}],
                    }
                ],
            },
            {"arg": {"channel": "account"}, "data": [{"uTime": "1", "details": []}]},
            {"arg": {"channel": "liquidation-warning"}, "data": []},
            {"event": "error", "code": "60018", "msg": "no such channel"},
            {"event": "channel-conn-count-error"},
            {},
            "nonsense",
        )
        await until(lambda: venue.account.refused["unreadable_frame"])

    kinds = [type(event) for event in heard.events]
    assert kinds.index(FillReported) < kinds.index(OrderReported)
    (fill,) = heard.of(FillReported)
    assert fill.report.quantity == Decimal("0.005")
    flat, money = heard.of(AccountReported)
    assert flat.positions[0].quantity == 0
    assert money.balances[0].equity == 5
    assert venue.account.refused == {
        "not_traded": 1,
        "unknown_channel": 1,
        "error_60018": 1,
        "error_channel-conn-count-error": 1,
        "unknown_frame": 1,
        "unreadable_frame": 1,
    }


async def test_unreadable_push_is_told_as_a_loss(server: LoopbackOkx, venue: OkxVenue) -> None:
    """What it said must be asked for, so a loss and a return are told; the socket stays."""
    async with running(venue) as heard:
        await server.push("private", {"arg": {"channel": "orders"}, "data": [{"ordId": 5}]})
        await until(lambda: len(heard.states) >= 3)

    assert heard.states[:3] == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]
    assert venue.account.refused["unreadable_push"] == 1
    assert len(server.said("login")) == 1


async def test_private_service_notice_logs_in_again(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Notice 64008 on the private socket."""
    async with running(venue):
        await server.push("private", {"event": "notice", "code": "64008", "msg": "upgrade"})
        await until(lambda: len(server.said("login")) == 2)


# --- account reads -----------------------------------------------------------------------------


async def test_order_query(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Found, definitely unknown, and not answered are three things."""
    path = "/api/v5/trade/order"
    server.rest[path] = [{**ORDER, "tradeId": ""}]
    found = await venue.account.order(an_order(), "")
    server.rest[path] = (200, '{"code":"51603","msg":"Order does not exist","data":[]}')
    absent = await venue.account.order(an_order(client_id=""), "3411")

    assert found is not None
    assert found.filled == Decimal("0.015")
    assert absent is None
    assert f"clOrdId={an_id()}" in server.asked(path)[0][1]
    assert "ordId=3411" in server.asked(path)[1][1]
    for answer in (
        (500, ""),
        [],
        [{**ORDER, "state": "odd"}],
        [{**ORDER, "instId": "X"}],
        (200, '{"code":"50011","msg":"slow","data":[]}'),
    ):
        server.rest[path] = answer
        with pytest.raises(Unavailable):
            await venue.account.order(an_order(), "")


async def test_open_orders_are_paged(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Each full page asks for the next one; our orders and others' are told apart."""
    rows = [
        {**ORDER, "ordId": str(1_000 - n), "clOrdId": "b1" if n else an_id()} for n in range(450)
    ]

    def page(request: Any, _body: str) -> list[dict[str, Any]]:
        after = int(request.query.get("after", "2000"))
        return [row for row in rows if int(row["ordId"]) < after][:100]

    server.rest["/api/v5/trade/orders-pending"] = page

    found = await venue.account.open_orders()

    assert [one.venue_order_id for one in found] == [row["ordId"] for row in rows]
    assert [one.client_id for one in found[:2]] == [an_id(), ""]


async def test_pages_that_do_not_end_are_unavailable(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A venue that answers the same page again is not believed."""
    server.rest["/api/v5/trade/orders-pending"] = [ORDER] * 100

    with pytest.raises(Unavailable, match="next page"):
        await venue.account.open_orders()


FILL = {
    "instId": "BTC-USDT-SWAP",
    "tradeId": "9001",
    "ordId": "3411",
    "clOrdId": "",
    "billId": "1",
    "side": "sell",
    "posSide": "net",
    "fillPx": "65012",
    "fillSz": "0.5",
    "fee": "-0.0163",
    "feeCcy": "USDT",
    "execType": "T",
}


async def test_fills_and_funding_since(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Oldest first, nothing from before; old questions go to the archive."""
    now_ms = RealClock().now_ns() // 10**6
    recent, old = (now_ms - 1_000) * 10**6, (now_ms - 10 * 86_400_000) * 10**6
    fills = [{**FILL, "ts": str(now_ms - age)} for age in (100, 900, 5_000)]
    bills = [
        {
            "billId": str(age),
            "instId": "BTC-USDT-SWAP",
            "ccy": "USDT",
            "balChg": "-1",
            "ts": str(now_ms - age),
        }
        for age in (100, 900, 5_000)
    ]
    server.rest |= {
        "/api/v5/trade/fills": fills,
        "/api/v5/trade/fills-history": fills,
        "/api/v5/account/bills": bills,
        "/api/v5/account/bills-archive": bills,
    }

    found = await venue.account.fills(recent)
    paid = await venue.account.funding(recent)

    assert [fill.venue_ns // 10**6 for fill in found] == [now_ms - 900, now_ms - 100]
    assert [payment.payment_id for payment in paid] == ["900", "100"]
    assert len(await venue.account.fills(old)) == 3
    assert len(await venue.account.funding(old)) == 3
    assert len(server.asked("/api/v5/trade/fills-history")) == 1
    assert "type=8" in server.asked("/api/v5/account/bills-archive")[0][1]


async def test_positions_leave_out_flat_and_foreign_legs(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """Inverse swaps are counted; a swap that is not known yet is looked up first."""
    path = "/api/v5/account/positions"
    server.rest[INSTRUMENTS] = [
        INSTRUMENT_ROW,
        {**INSTRUMENT_ROW, "instId": "BTC-USD-SWAP", "ctType": "inverse"},
        {**INSTRUMENT_ROW, "instId": "NEW-USDT-SWAP", "uly": "NEW-USDT", "ctValCcy": "NEW"},
    ]
    leg = {"posSide": "net", "avgPx": "1", "uTime": "1"}
    server.rest[path] = [
        {**leg, "instId": "BTC-USDT-SWAP", "pos": "0"},
        {**leg, "instId": "BTC-USD-SWAP", "pos": "7"},
        {**leg, "instId": "NEW-USDT-SWAP", "pos": "-3"},
    ]

    (found,) = await venue.account.positions()

    assert (found.symbol, found.quantity) == ("NEW-USDT-SWAP", Decimal("-0.03"))
    assert venue.account.refused == {"not_traded": 1}
    server.rest[path] = [{**leg, "instId": "GONE-USDT-SWAP", "pos": "1"}]
    with pytest.raises(Unavailable, match="GONE"):
        await venue.account.positions()
    server.rest[path] = [{**leg, "instId": "BTC-USDT-SWAP", "pos": "NaN"}]
    with pytest.raises(Unavailable):
        await venue.account.positions()


async def test_balances(server: LoopbackOkx, venue: OkxVenue) -> None:
    """An answer without an account is no empty account."""
    path = "/api/v5/account/balance"
    server.rest[path] = [{"details": [{"ccy": "USDT", "eq": "9", "cashBal": "8", "availEq": "7"}]}]
    (found,) = await venue.account.balances()
    server.rest[path] = []

    assert [str(one) for one in (found.equity, found.wallet, found.free)] == ["9", "8", "7"]
    with pytest.raises(Unavailable):
        await venue.account.balances()


# --- what a private session must survive ---------------------------------------------------------


async def test_silent_login_is_an_end_with_a_reason(
    server: LoopbackOkx, venue: OkxVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers neither login nor subscriptions is left, and the reason names what."""
    monkeypatch.setattr(session, "OPEN_TIMEOUT_S", 0.05)

    async def login_only(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] == "login" and len(server.said("login")) > 1:
            await accept_subscriptions(server, socket, frame)

    server.private = login_only
    heard = Heard()
    task = asyncio.ensure_future(venue.account.run(heard.events.append))
    await until(lambda: len(heard.states) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    first, second = (event.reason for event in heard.of(VenueConnectionChanged)[:2])
    assert "not answered: login" in first
    assert "not answered: account, orders, positions" in second


async def test_refused_subscription_is_an_end_with_a_reason(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """Without its channels the stream would look healthy and say nothing."""

    async def refuse(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] == "login":
            await accept_subscriptions(server, socket, frame)
        else:
            await socket.send_json({"event": "error", "code": "60018", "msg": "no such channel"})

    server.private = refuse
    heard = Heard()
    task = asyncio.ensure_future(venue.account.run(heard.events.append))
    await until(lambda: heard.states)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert "60018" in heard.of(VenueConnectionChanged)[0].reason


async def test_socket_that_went_before_sending_leaves_the_order_to_rest(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """The socket refuses the bytes: nothing left, so REST may carry the order."""
    server.rest["/api/v5/trade/order"] = [{"ordId": "5", "sCode": "0"}]
    sent = Sent()
    async with running(venue):
        private = venue.trading._session
        assert private is not None
        assert private._connection is not None
        private._connection.close()
        report = await venue.trading.submit(an_order(), sent)

    assert report.venue_order_id == "5"
    assert sent.times == 1
    assert not server.said("order")


async def test_request_before_login_is_unavailable(venue: OkxVenue) -> None:
    """A session that was never opened sends nothing."""
    private = venue.trading._session
    assert private is not None

    with pytest.raises(Unavailable, match="not logged in"):
        await private.request("1", b"{}")


async def test_stops_are_paged(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A full page is followed by the next; the same page again is not believed."""
    stop = {"instId": "BTC-USDT-SWAP", "state": "live", "side": "sell", "slTriggerPx": "1"}
    pages = [
        [{**stop, "algoId": str(200 - n)} for n in range(100)],
        [{**stop, "algoId": "100"}],
    ]
    path = "/api/v5/trade/orders-algo-pending"
    server.rest[path] = lambda *_: pages.pop(0)

    assert len(await venue.trading.open_stops()) == 101
    assert "after=101" in server.asked(path)[1][1]
    server.rest[path] = [{**stop, "algoId": "7"}] * 100
    with pytest.raises(Unavailable, match="next page"):
        await venue.trading.open_stops()


async def test_endless_list_is_unavailable(
    server: LoopbackOkx, venue: OkxVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list is read for ever."""
    monkeypatch.setattr(account, "MAX_PAGES", 2)
    number = itertools.count()
    server.rest["/api/v5/trade/orders-pending"] = lambda *_: [
        {**ORDER, "ordId": str(next(number))} for _ in range(100)
    ]

    with pytest.raises(Unavailable, match="more than 200"):
        await venue.account.open_orders()
