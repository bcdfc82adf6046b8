"""Orders by websocket, and what the private session must survive."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from perpbot.domain.errors import OutcomeUnknown, RateLimited, Rejected, Unavailable, VenueError
from perpbot.domain.events import ConnectionState, VenueConnectionChanged
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import MS, RealClock
from perpbot.venues.okx import account, session
from perpbot.venues.okx.venue import OkxVenue
from perpbot.venues.wire import pending, websocket
from tests.venues.okx.loopback import LoopbackOkx, Socket, accept_subscriptions
from tests.venues.okx.rig import Heard, Sent, accepted, refused, reply_to_orders, running
from tests.venues.okx.support import an_id, an_order
from tests.venues.okx.test_reports import ORDER
from tests.venues.waiting import PATIENCE_S, until


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
    ],
)
async def test_order_answers_become_errors(
    server: LoopbackOkx,
    venue: OkxVenue,
    answer: dict[str, Any],
    kind: type[VenueError],
) -> None:
    """A refusal is definite; codes for silence are unknown; nothing is sent twice."""
    server.private = reply_to_orders(lambda _frame: answer)
    sent = Sent()
    async with running(venue):
        with pytest.raises(kind):
            await venue.trading.submit(an_order(), sent)

    assert len(server.said("order")) == 1
    assert not server.asked("/api/v5/trade/order")
    assert sent.times == 1


async def test_silence_is_an_unknown_outcome(
    server: LoopbackOkx, venue: OkxVenue, patience_ends: Callable[[], None]
) -> None:
    """The order may be there; it is not sent again."""
    server.private = reply_to_orders(lambda _frame: None)
    sent = Sent()
    async with running(venue):
        unanswered = asyncio.create_task(venue.trading.submit(an_order(), sent))
        await until(lambda: server.said("order"))
        patience_ends()
        with pytest.raises(OutcomeUnknown):
            await unanswered

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


async def test_refused_login_is_told_and_tried_again(
    server: LoopbackOkx, venue: OkxVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key is a reason, not the end of the stream."""
    monkeypatch.setattr(websocket, "REFUSED_PAUSE_S", 0.0)

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


async def test_silent_login_is_an_end_with_a_reason(
    server: LoopbackOkx,
    venue: OkxVenue,
    patience_ends: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that answers neither login nor subscriptions is left, and the reason names what."""
    monkeypatch.setattr(session, "OPEN_TIMEOUT_S", PATIENCE_S)

    async def login_only(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] == "login" and len(server.said("login")) > 1:
            await accept_subscriptions(server, socket, frame)
        else:
            patience_ends()

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


async def test_a_socket_that_does_not_answer_takes_no_more_orders(
    server: LoopbackOkx,
    venue: OkxVenue,
    patience_ends: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half-open, it would swallow the next hedge too: that goes by REST, the socket is closed."""
    monkeypatch.setattr(pending, "LATE_NS", 5 * MS)
    server.private = reply_to_orders(lambda _frame: None)
    item = {"ordId": "3411", "clOrdId": an_id(), "sCode": "0", "sMsg": "", "ts": "1"}
    server.rest["/api/v5/trade/order"] = [item]
    async with running(venue) as heard:
        private = venue._session
        assert private is not None
        unanswered = asyncio.create_task(venue.trading.submit(an_order(), Sent()))
        await until(lambda: server.said("order") and not private.is_ready)

        assert venue.trading.begin(an_order(), Sent()) is None
        report = await venue.trading.submit(an_order(), Sent())
        patience_ends()
        with pytest.raises(OutcomeUnknown):
            await unanswered
        await until(lambda: heard.states.count(ConnectionState.LIVE) == 2)

    assert report.venue_order_id == "3411"
    assert len(server.said("order")) == 1


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
