"""What we own and owe: questions with pages, and the private stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import InvalidValue, ReadOnly, Unavailable
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    Event,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import MS, SECOND, RealClock
from perpbot.venues.hyperliquid import user_socket
from tests.venues.hyperliquid.loopback import (
    DROP,
    MASTER,
    META,
    JumpingClock,
    adapter,
    at_once,
    client_id,
    order_request,
    running,
    serving,
)
from tests.venues.waiting import until

T = 1_795_000_000_000
STATE: dict[str, Any] = {
    "assetPositions": [
        {
            "type": "oneWay",
            "position": {
                "coin": "BTC",
                "szi": "0.5",
                "entryPx": "65000.0",
                "positionValue": "32500.0",
                "unrealizedPnl": "0.0",
            },
        }
    ],
    "marginSummary": {"accountValue": "10000.0"},
    "withdrawable": "5000.0",
    "time": T,
}
FLAT = STATE | {"assetPositions": []}


def wire_order(**changes: Any) -> dict[str, Any]:
    """Return a resting bid for 0.05 BTC."""
    return {
        "coin": "BTC",
        "side": "B",
        "limitPx": "64900.0",
        "sz": "0.05",
        "oid": 90,
        "timestamp": T,
        "origSz": "0.05",
    } | changes


def wire_fill(tid: int, time: int, **changes: Any) -> dict[str, Any]:
    """Return a fill of 0.01 BTC."""
    return {
        "coin": "BTC",
        "px": "65000.0",
        "sz": "0.01",
        "side": "B",
        "time": time,
        "oid": 90,
        "crossed": True,
        "fee": "0.29",
        "tid": tid,
        "feeToken": "USDC",
    } | changes


def paged(rows: list[dict[str, Any]], size: int = 500) -> Callable[[dict[str, Any]], Any]:
    """Answer a time range with at most `size` rows."""
    return lambda asked: [row for row in rows if row["time"] >= asked["startTime"]][:size]


# --- questions -----------------------------------------------------------------------------------


async def test_order_by_client_id_asks_with_the_master_address() -> None:
    """The agent's own address would know nothing."""
    ours = client_id()
    told = {"order": wire_order(cloid="0x" + ours, sz="0.03"), "status": "open"}
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["orderStatus"] = {"status": "order", "order": told}
        report = await venue.account.order(order_request(client_id=ours), "")
        await venue.account.order(order_request(client_id=""), "90")
        with pytest.raises(InvalidValue, match="order number"):
            await venue.account.order(order_request(client_id=""), "")
    assert report is not None
    assert report.client_id == ours
    assert report.state is OrderState.PARTIALLY_FILLED
    assert loopback.questions[1:] == [
        {"type": "orderStatus", "user": MASTER, "oid": "0x" + ours},
        {"type": "orderStatus", "user": MASTER, "oid": 90},
    ]


async def test_order_that_is_not_known_is_none_and_an_error_is_not() -> None:
    """Only the venue's own word is proof of absence."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["orderStatus"] = {"status": "unknownOid"}
        assert await venue.account.order(order_request(), "") is None
        for answer in (500, {"status": "odd"}, "x", {"status": "order", "order": {"order": {}}}):
            loopback.info["orderStatus"] = answer
            with pytest.raises(Unavailable):
                await venue.account.order(order_request(), "")


async def test_open_orders_are_ours_and_others() -> None:
    """A foreign order has no client id of ours."""
    ours = client_id()
    rows = [
        wire_order(cloid="0x" + ours),
        wire_order(oid=91, cloid="0x" + "12" * 16, reduceOnly=True),
        wire_order(oid=92, coin="@107"),
    ]
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["frontendOpenOrders"] = rows
        reports = await venue.account.open_orders()
    assert [(one.client_id, one.venue_order_id) for one in reports] == [
        (ours, "90"),
        ("", "91"),
        ("", "92"),
    ]


async def test_fills_over_pages_are_complete_and_counted_once() -> None:
    """Pages meet at the same millisecond; a row that comes twice counts once."""
    rows = [wire_fill(tid, T + tid // 3) for tid in range(1_201)]
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["userFillsByTime"] = paged(rows)
        reports = await venue.account.fills(T * 1_000_000)
    assert [report.trade_id for report in reports] == [str(tid) for tid in range(1_201)]
    starts = [one["startTime"] for one in loopback.questions if "startTime" in one]
    assert len(starts) == 3
    assert starts[0] == T


async def test_fills_that_cannot_be_paged_are_unavailable() -> None:
    """A cut page without a next is unknown, not a shorter history."""
    same_time = [wire_fill(tid, T) for tid in range(600)]
    backwards = [wire_fill(tid, T + 600 - tid) for tid in range(600)]
    async with serving() as loopback, adapter(loopback) as venue:
        for rows in (same_time, backwards):
            loopback.info["userFillsByTime"] = paged(rows)
            with pytest.raises(Unavailable, match="order of time"):
                await venue.account.fills(T * 1_000_000)


async def test_fills_of_other_markets_are_left_out() -> None:
    """Spot fills belong to no perpetual."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["userFillsByTime"] = [wire_fill(1, T, coin="@107"), wire_fill(2, T)]
        assert [one.trade_id for one in await venue.account.fills(0)] == ["2"]


async def test_positions_and_balances() -> None:
    """Both from the clearinghouse; a value that is not told is unavailable."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["clearinghouseState"] = STATE
        (position,) = await venue.account.positions()
        (balance,) = await venue.account.balances()
        loopback.info["clearinghouseState"] = {"assetPositions": [], "withdrawable": "1"}
        with pytest.raises(Unavailable, match="account value"):
            await venue.account.balances()
        odd = STATE | {"withdrawable": "NaN"}
        loopback.info["clearinghouseState"] = odd
        with pytest.raises(Unavailable, match="withdrawable"):
            await venue.account.balances()
    assert position.quantity == Decimal("0.5")
    assert position.mark_price == 65000
    assert balance.equity == 10000
    assert balance.free == 5000


async def test_funding_payments() -> None:
    """The time stands beside the delta."""
    delta = {"type": "funding", "coin": "BTC", "usdc": "-1.25", "fundingRate": "0.0000125"}
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["userFunding"] = [{"time": T, "hash": "0x0", "delta": delta}]
        (payment,) = await venue.account.funding(0)
    assert payment.amount == Decimal("-1.25")
    assert payment.payment_id == f"BTC-{T}"


async def test_transfers_since() -> None:
    """Asked for by time; an unreadable one is unknown, not nothing."""
    row = {"time": T, "hash": "0xab", "delta": {"type": "deposit", "usdc": "25.0"}}
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["userNonFundingLedgerUpdates"] = [row]
        (moved,) = await venue.account.transfers(0)
        loopback.info["userNonFundingLedgerUpdates"] = [
            row | {"delta": {"type": "deposit", "usdc": "x"}}
        ]
        with pytest.raises(Unavailable, match="usdc"):
            await venue.account.transfers(0)
    assert (moved.amount, moved.currency) == (Decimal(25), "USDC")


async def test_address_budget() -> None:
    """How many requests the address has left."""
    told = {"cumVlm": "100.0", "nRequestsUsed": 30, "nRequestsCap": 10_100}
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["userRateLimit"] = told
        assert (await venue.account.address_budget()).left == 10_070


async def test_questions_without_keys_are_unavailable() -> None:
    """Without an address nothing can be asked; the stream is read-only."""
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        with pytest.raises(Unavailable, match="no account address"):
            await venue.account.positions()
        with pytest.raises(ReadOnly):
            await venue.account.run(lambda _event: None)


async def test_server_that_is_gone_is_unavailable() -> None:
    """A read that may have arrived is still only a read."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["clearinghouseState"] = DROP
        with pytest.raises(Unavailable, match="clearinghouseState"):
            await venue.account.positions()


# --- stream --------------------------------------------------------------------------------------


def frame(channel: str, data: Any) -> str:
    """Return a frame as text."""
    return json.dumps({"channel": channel, "data": data})


def only(kind: type[Event], events: Iterable[Event]) -> list[Any]:
    """Return the events of one class."""
    return [one for one in events if isinstance(one, kind)]


def states(events: Iterable[Event]) -> list[ConnectionState]:
    """Return how the private channel moved, without its end with the test."""
    moves = only(VenueConnectionChanged, events)
    return [one.state for one in moves if one.reason != "stopped"]


class HandClock(RealClock):
    """A clock whose monotonic time passes by hand; it counts who looks at that."""

    def __init__(self) -> None:
        self.looks = 0
        self._passed_ns = SECOND

    def monotonic_ns(self) -> int:
        self.looks += 1
        return self._passed_ns

    def pass_ns(self, ns: int) -> None:
        """Let `ns` pass."""
        self._passed_ns += ns


async def test_private_stream_is_live_once_confirmed() -> None:
    """One user, its channels confirmed, then LIVE: what a reconcile reads misses nothing."""
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.confirm = False
        loopback.greeting = "Websocket connection established."
        async with running(venue.account.run(events.append)):
            await until(lambda: len(loopback.frames) == 5)
            assert {user for _, user in loopback.subscribed()} == {MASTER}
            for kind in ("clearinghouseState", "orderUpdates"):
                confirmation = {"method": "subscribe", "subscription": {"type": kind}}
                await loopback.send(frame("subscriptionResponse", confirmation))
            await loopback.send(frame("orderUpdates", []))
            assert states(events) == []
            confirmation = {"method": "subscribe", "subscription": {"type": "userFills"}}
            await loopback.send(frame("subscriptionResponse", confirmation))
            await until(lambda: states(events) == [ConnectionState.LIVE])
    assert venue.account.statistics.unreadable == {}


async def test_fill_before_acknowledgement_is_told_at_once() -> None:
    """Fills and order updates come as they are, in the order in which they were told."""
    ours = client_id()
    events: list[Event] = []
    order = wire_order(cloid="0x" + ours, sz="0.0", origSz="0.01")
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        fill = wire_fill(1, T, cloid="0x" + ours)
        await loopback.send(frame("userFills", {"user": MASTER, "fills": [fill]}))
        update = {"order": order, "status": "filled", "statusTimestamp": T}
        await loopback.send(frame("orderUpdates", [update]))
        await until(lambda: only(OrderReported, events))
    fill_told, order_told = (one for one in events if not isinstance(one, VenueConnectionChanged))
    assert isinstance(fill_told, FillReported)
    assert fill_told.report.client_id == ours
    assert isinstance(order_told, OrderReported)
    assert order_told.report.state is OrderState.FILLED


async def test_history_in_the_first_frame_is_told_from_where_we_know() -> None:
    """Fills from before the start are a reconcile's; after a loss the missed ones come."""
    clock = JumpingClock()
    now_ms = clock.now_ns() // 1_000_000
    events: list[Event] = []

    def history(*fills: dict[str, Any]) -> str:
        return frame("userFills", {"isSnapshot": True, "user": MASTER, "fills": fills})

    old, first, missed = (
        wire_fill(tid, now_ms + ahead) for tid, ahead in ((1, -60_000), (2, 60_000), (3, 90_000))
    )
    async with serving() as loopback, adapter(loopback, clock=clock) as venue:
        at_once(venue)
        async with running(venue.account.run(events.append)):
            await until(lambda: ConnectionState.LIVE in states(events))
            await loopback.send(history(old))
            await loopback.send(frame("userFills", {"user": MASTER, "fills": [first]}))
            await until(lambda: only(FillReported, events))
            await loopback.drop()
            await until(lambda: states(events).count(ConnectionState.LIVE) == 2)
            await loopback.send(history(old, first, missed))
            await until(lambda: len(only(FillReported, events)) == 3)
    assert [one.report.trade_id for one in only(FillReported, events)] == ["2", "2", "3"]
    live, down = ConnectionState.LIVE, ConnectionState.DOWN
    assert states(events)[:3] == [live, down, live]


async def test_funding_is_told_and_old_payments_are_not() -> None:
    """Payments of a snapshot count from the start of the stream."""
    events: list[Event] = []
    payment = {"time": T, "coin": "BTC", "usdc": "-1.5", "szi": "1", "fundingRate": "0.00001"}
    new = payment | {"time": T * 2}
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        told = {"isSnapshot": True, "user": MASTER, "fundings": [payment | {"time": 5}, new]}
        await loopback.send(frame("userFundings", told))
        await loopback.send(frame("userFundings", {"user": MASTER, "fundings": [payment]}))
        await until(lambda: len(only(AccountReported, events)) == 2)
    ids = [one.funding[0].payment_id for one in only(AccountReported, events)]
    assert ids == [f"BTC-{T * 2}", f"BTC-{T}"]


async def test_transfers_are_told_and_old_ones_are_not() -> None:
    """Rows of a snapshot count from the start of the stream."""
    events: list[Event] = []
    row = {"time": T, "hash": "0xab", "delta": {"type": "deposit", "usdc": "25.0"}}
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        old, new = row | {"time": 5}, row | {"time": T * 2}
        for told in ({"isSnapshot": True, "nonFundingLedgerUpdates": [old, new]},
                     {"nonFundingLedgerUpdates": [row]}):  # fmt: skip
            await loopback.send(frame("userNonFundingLedgerUpdates", {"user": MASTER} | told))
        await until(lambda: len(only(AccountReported, events)) == 2)
    assert [one.transfers[0].venue_ns // MS for one in only(AccountReported, events)] == [T * 2, T]


@pytest.mark.parametrize("channel", ["clearinghouseState", "webData2"])
async def test_positions_are_pushed_and_a_closed_one_is_told_as_zero(channel: str) -> None:
    """A position that is no longer listed is flat, and that is said."""
    events: list[Event] = []
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        for told in (STATE, FLAT, FLAT):
            await loopback.send(frame(channel, {"user": MASTER, "clearinghouseState": told}))
        await until(lambda: len(only(AccountReported, events)) == 3)
    held, closed, flat = only(AccountReported, events)
    assert [one.quantity for one in held.positions] == [Decimal("0.5")]
    assert held.balances[0].equity == 10000
    assert [(one.symbol, one.quantity) for one in closed.positions] == [("BTC", 0)]
    assert flat.positions == ()


async def test_older_server_gets_the_older_subscription() -> None:
    """Where the push of the state is refused, the larger push is asked for."""
    events: list[Event] = []
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        await loopback.send(frame("error", 'Invalid subscription {"clearinghouseState"}'))
        await until(lambda: loopback.subscribed()[("webData2", MASTER)] == 1)


async def test_refused_channel_is_the_reason_of_the_loss() -> None:
    """A needed channel that is refused closes the connection and says why; others are counted."""
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.confirm = False
        async with running(venue.account.run(events.append)):
            await until(lambda: len(loopback.frames) == 5)
            await loopback.send(frame("error", "Something else"))
            await loopback.send(frame("error", 'Invalid subscription {"type":"userFills"}'))
            await until(lambda: states(events) == [ConnectionState.DOWN])
    assert "userFills" in only(VenueConnectionChanged, events)[0].reason
    assert venue.account.statistics.unreadable == {"error": 1}


async def test_state_is_asked_for_where_it_is_not_pushed() -> None:
    """Silence of the push is filled by questions; a failed one tells nothing."""
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback) as venue:
        venue.account._state_interval_s = 0.001
        async with running(venue.account.run(events.append)):
            await until(lambda: venue.account.statistics.failed_polls)
            assert not only(AccountReported, events)
            loopback.info["clearinghouseState"] = STATE
            await until(lambda: only(AccountReported, events))


async def test_state_is_not_asked_for_while_it_is_pushed() -> None:
    """A push is as good as an answer for as long as an answer would be; then it is asked for."""
    clock = HandClock()
    push = {"user": MASTER, "clearinghouseState": STATE}
    events: list[Event] = []

    def asked() -> int:
        return [one["type"] for one in loopback.questions].count("clearinghouseState")

    async with serving() as loopback, adapter(loopback) as venue:
        venue.account._clock = clock
        venue.account._state_interval_s = 0.001
        async with running(venue.account.run(events.append)):
            await until(lambda: states(events))
            for _ in range(5):
                clock.pass_ns(600_000)  # twice that without a push would be too long
                await loopback.send(frame("clearinghouseState", push))
                await until(lambda: only(AccountReported, events))
                events.clear()
                clock.looks = 0
                await until(lambda: clock.looks)
            assert not asked()
            clock.pass_ns(1_000_000)
            await until(asked)


async def test_unreadable_private_frame_calls_for_a_reconcile() -> None:
    """What a frame said and we could not read is found out by asking."""
    events: list[Event] = []
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        await loopback.send(frame("orderUpdates", [{"order": 7}]))
        await loopback.send(
            frame("userFills", {"fills": [wire_fill(1, T, px="NaN")], "user": MASTER})
        )
        await loopback.send(frame("notification", {"notification": "hello"}))
        await loopback.send("hello")
        await until(lambda: "?" in venue.account.statistics.unreadable)
    assert states(events) == [
        ConnectionState.LIVE,
        *[ConnectionState.STALE, ConnectionState.LIVE] * 2,
    ]
    assert venue.account.statistics.unreadable == {
        "orderUpdates": 1,
        "user": 1,
        "notification": 1,
        "?": 1,
    }


async def test_spot_fill_on_the_stream_is_counted() -> None:
    """It is not ours to account for, but it is not lost without a trace."""
    events: list[Event] = []
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(events.append)),
    ):
        await until(lambda: states(events))
        await loopback.send(frame("user", {"fills": [wire_fill(1, T, coin="@1")]}))
        await until(lambda: venue.account.statistics.skipped_fills == 1)
    assert not only(FillReported, events)


async def test_quiet_account_is_asked_again_and_an_answer_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a long silence it subscribes again; without an answer it reconnects."""
    monkeypatch.setattr(user_socket, "_SILENCE_S", 5.0)
    monkeypatch.setattr(user_socket, "_CONFIRM_S", 3.0)
    clock = JumpingClock()
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback, clock=clock) as venue:
        at_once(venue)
        socket = venue.account._socket
        assert socket is not None
        channel = socket._channel
        async with running(venue.account.run(events.append)):
            await until(lambda: socket.is_up)
            socket._watch_interval_s = 0.001
            # Its own watch still sleeps for a second.
            async with running(socket._watch()):
                clock.jump(6)
                await until(lambda: loopback.subscribed()[("userFills", MASTER)] == 2)
                await until(lambda: channel.statistics().frames == 15)
                loopback.confirm = False
                clock.jump(6)
                await until(lambda: loopback.subscribed()[("userFills", MASTER)] == 3)
                loopback.confirm = True
                clock.jump(4)
                await until(lambda: states(events).count(ConnectionState.LIVE) == 2)
    assert channel.statistics().reasons["reconnect"] == 1
    assert ConnectionState.DOWN in states(events)


async def test_pongs_are_the_life_of_a_quiet_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With them it stands; without them it is made anew before orders go into it for long."""
    monkeypatch.setattr(user_socket, "_PING_INTERVAL_S", 0.01)
    clock = JumpingClock()
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback, clock=clock) as venue:
        at_once(venue)
        socket = venue.account._socket
        assert socket is not None
        channel = socket._channel
        async with running(venue.account.run(events.append)):
            await until(lambda: socket.is_up)
            for _ in range(3):
                clock.jump(user_socket._DEAD_AFTER_S / 2)
                frames = channel.statistics().frames
                await until(lambda: channel.statistics().frames > frames + 1)  # noqa: B023
            assert states(events) == [ConnectionState.LIVE]
            loopback.exchange = lambda _request: None
            channel._ping = b'{"method":"post","id":0,"request":{"payload":{}}}'
            await until(lambda: loopback.requests)  # no pong is on its way any more
            clock.jump(user_socket._DEAD_AFTER_S)
            await until(lambda: states(events).count(ConnectionState.LIVE) == 2)
    assert channel.statistics().reasons["silence"] == 1


async def test_a_stream_that_stands_is_never_told_to_be_down() -> None:
    """However often the watch looks while it is being made anew: up is told last."""
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback) as venue:
        at_once(venue)
        socket = venue.account._socket
        assert socket is not None
        socket._watch_interval_s = 0.0
        async with running(venue.account.run(events.append)):
            for count in range(1, 11):
                await until(lambda: states(events).count(ConnectionState.LIVE) == count)  # noqa: B023
                await until(lambda: socket.is_up)
                await asyncio.sleep(0)
                assert states(events)[-1] is ConnectionState.LIVE
                await loopback.drop()
    assert states(events)[:20] == [ConnectionState.LIVE, ConnectionState.DOWN] * 10


async def test_stream_waits_for_a_universe() -> None:
    """Units are needed first; until they are known the channel is down."""
    events: list[Event] = []
    async with serving() as loopback, adapter(loopback) as venue:
        venue.account._universe._by_symbol.clear()
        venue.account._universe_retry_s = 0.001
        loopback.info["meta"] = 500
        async with running(venue.account.run(events.append)):
            await until(lambda: ConnectionState.DOWN in states(events))
            assert not loopback.frames
            loopback.info["meta"] = META
            await until(lambda: states(events)[-1] is ConnectionState.LIVE)
