"""Orders over the socket and over REST: acknowledgements, refusals, silence."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from coincurve import PublicKey

from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    ReadOnly,
    Rejected,
    VenueError,
)
from perpbot.domain.sides import (
    OrderState,
    OrderType,
    PositionSide,
    Purpose,
    Side,
    TimeInForce,
)
from perpbot.kernel.clock import MS, RealClock
from perpbot.venues.hyperliquid.signing import (
    _AGENT_PREFIX,
    _DIGEST_PREFIX,
    action_hash,
    keccak256,
)
from perpbot.venues.hyperliquid.venue import Hyperliquid
from perpbot.venues.wire import pending
from perpbot.venues.wire.limits import Lane
from tests.venues.hyperliquid.loopback import (
    SIGNER,
    JumpingClock,
    adapter,
    client_id,
    ok,
    order_request,
    refused,
    resting,
    running,
    serving,
)
from tests.venues.waiting import until


def ignore(_event: object) -> None:
    """Publish nowhere."""


class Sent:
    """Counts the calls of `sent`."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def user_is_up(venue: Hyperliquid) -> None:
    """Wait until orders go by websocket."""
    socket = venue.trading._socket
    assert socket is not None
    await until(lambda: socket.is_up)


def signer_of(request: dict[str, Any], *, mainnet: bool = True) -> str:
    """Recover the address that signed a request, from its JSON alone."""
    packed = msgspec.msgpack.encode(request["action"])
    digest = action_hash(packed, request["nonce"], expires_ms=request.get("expiresAfter"))
    agent = keccak256(_DIGEST_PREFIX + keccak256(_AGENT_PREFIX[mainnet] + digest))
    signature = request["signature"]
    r, s = (int(signature[part], 16).to_bytes(32, "big") for part in "rs")
    compact = r + s + bytes([signature["v"] - 27])
    key = PublicKey.from_signature_and_message(compact, agent, hasher=None)
    return "0x" + keccak256(key.format(compressed=False)[1:])[-20:].hex()


def filled(size: str) -> dict[str, Any]:
    """Acknowledge a fill at once."""
    fill = {"filled": {"totalSz": size, "avgPx": "64990.5", "oid": 12}}
    return ok("order", {"statuses": [fill]})


async def test_order_goes_by_websocket_while_it_is_up() -> None:
    """One post, in the venue's shape, signed by our key; `sent` is called once."""
    sent = Sent()
    order = order_request(
        nonce=1_795_000_000_001, expires_ns=9_795_000_005_999_999_999, reduce_only=True
    )
    async with serving() as loopback, adapter(loopback) as venue:
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            report = await venue.trading.submit(order, sent)
        (request,) = loopback.requests
    assert loopback.by == ["ws"]
    assert sent.count == 1
    assert request["action"] == {
        "type": "order",
        "orders": [
            {
                "a": 0,
                "b": True,
                "p": "65000",
                "s": "0.01",
                "r": True,
                "t": {"limit": {"tif": "Ioc"}},
                "c": "0x" + order.client_id,
            }
        ],
        "grouping": "na",
    }
    assert request["nonce"] == 1_795_000_000_001
    assert request["expiresAfter"] == 9_795_000_005_999
    assert request["vaultAddress"] is None
    assert signer_of(request) == SIGNER
    assert report.state is OrderState.ACCEPTED
    assert report.venue_order_id == "77"
    assert report.client_id == order.client_id


async def test_order_goes_by_rest_when_the_socket_is_down() -> None:
    """The same body to /exchange."""
    sent = Sent()
    async with serving() as loopback, adapter(loopback) as venue:
        report = await venue.trading.submit(order_request(), sent)
        (request,) = loopback.requests
    assert loopback.by == ["rest"]
    assert sent.count == 1
    assert report.state is OrderState.ACCEPTED
    assert "expiresAfter" not in request
    assert signer_of(request) == SIGNER
    assert venue.trading.nonces.last == request["nonce"]


async def test_testnet_signs_for_testnet_and_loopback_for_mainnet() -> None:
    """The address of the server says nothing; the setting does."""
    async with serving() as loopback, adapter(loopback, testnet=True) as venue:
        await venue.trading.submit(order_request(), Sent())
        assert signer_of(loopback.requests[0], mainnet=False) == SIGNER
        assert signer_of(loopback.requests[0], mainnet=True) != SIGNER


@pytest.mark.parametrize(
    ("tif", "size", "state"),
    [
        (TimeInForce.IOC, "0.01", OrderState.FILLED),
        (TimeInForce.IOC, "0.004", OrderState.CANCELLED),
        (TimeInForce.GTC, "0.004", OrderState.PARTIALLY_FILLED),
    ],
)
async def test_fill_at_once(tif: TimeInForce, size: str, state: OrderState) -> None:
    """The rest of an IOC is gone, the rest of a GTC rests."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: filled(size)
        report = await venue.trading.submit(order_request(time_in_force=tif), Sent())
    assert report.state is state
    assert report.filled == Decimal(size)
    assert report.average_price == Decimal("64990.5")


async def test_waiting_order_is_accepted() -> None:
    """A word instead of a number is an acceptance without a number."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: ok("order", {"statuses": ["waitingForFill"]})
        report = await venue.trading.submit(order_request(), Sent())
    assert (report.state, report.venue_order_id) == (OrderState.ACCEPTED, "")


@pytest.mark.parametrize(
    ("order_type", "tif", "wire"),
    [
        (OrderType.LIMIT, TimeInForce.GTC, "Gtc"),
        (OrderType.LIMIT, TimeInForce.IOC, "Ioc"),
        (OrderType.LIMIT, TimeInForce.POST_ONLY, "Alo"),
        (OrderType.MARKET, TimeInForce.GTC, "Ioc"),
    ],
)
async def test_time_in_force(order_type: OrderType, tif: TimeInForce, wire: str) -> None:
    """Each has its word; a market order is an IOC."""
    order = order_request(order_type=order_type, time_in_force=tif)
    async with serving() as loopback, adapter(loopback) as venue:
        await venue.trading.submit(order, Sent())
    assert loopback.requests[0]["action"]["orders"][0]["t"] == {"limit": {"tif": wire}}


@pytest.mark.parametrize(
    ("side", "price"), [(Side.BUY, "68293"), (Side.SELL, "61790")], ids=["buy", "sell"]
)
async def test_market_order_without_a_price_stops_at_five_percent(side: Side, price: str) -> None:
    """The limit is 5 % beyond the reference, on the grid of five digits."""
    order = order_request(
        side=side, order_type=OrderType.MARKET, price=None, reference_price=Decimal("65041.5")
    )
    async with serving() as loopback, adapter(loopback) as venue:
        await venue.trading.submit(order, Sent())
    assert loopback.requests[0]["action"]["orders"][0]["p"] == price


async def test_thousands_on_the_wire() -> None:
    """PEPE in coins becomes kPEPE in thousands, and the answer comes back in coins."""
    order = order_request(
        asset="PEPE-PERP",
        symbol="kPEPE",
        quantity=Decimal(2_000_000),
        price=Decimal("0.000012345"),
    )
    fill = {"filled": {"totalSz": "2000", "avgPx": "0.01234", "oid": 12}}
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: ok("order", {"statuses": [fill]})
        report = await venue.trading.submit(order, Sent())
    item = loopback.requests[0]["action"]["orders"][0]
    assert (item["a"], item["p"], item["s"]) == (3, "0.012345", "2000")
    assert report.state is OrderState.FILLED
    assert report.filled == 2_000_000
    assert report.average_price == Decimal("0.00001234")


@pytest.mark.parametrize("by", ["ws", "rest"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(refused("Insufficient margin to place order. asset=0"), Rejected, id="item"),
        pytest.param(
            lambda _request: {
                "status": "err",
                "response": f"User or API Wallet {SIGNER} does not exist.",
            },
            AuthFailed,
            id="signer",
        ),
        pytest.param(
            lambda _request: {"status": "err", "response": "Invalid nonce: duplicate nonce"},
            NonceClash,
            id="nonce",
        ),
        pytest.param(lambda _request: 429, RateLimited, id="429"),
        pytest.param(lambda _request: 422, Rejected, id="422"),
        pytest.param(lambda _request: 502, OutcomeUnknown, id="502"),
        pytest.param(lambda _request: {"odd": 1}, OutcomeUnknown, id="unreadable"),
        pytest.param(
            lambda _request: ok("order", {"statuses": [{}]}), OutcomeUnknown, id="empty-status"
        ),
        pytest.param(
            lambda _request: ok(
                "order", {"statuses": [{"filled": {"totalSz": "x", "avgPx": "1", "oid": 1}}]}
            ),
            OutcomeUnknown,
            id="odd-fill",
        ),
        *(
            pytest.param(
                lambda _request, size=size, price=price: ok(
                    "order",
                    {"statuses": [{"filled": {"totalSz": size, "avgPx": price, "oid": 1}}]},
                ),
                OutcomeUnknown,
                id=f"fill-of-{size}-at-{price}",
            )
            for size, price in (("NaN", "1"), ("1", "Infinity"), ("1e999999", "1"))
        ),
    ],
)
async def test_what_an_answer_means(by: str, answer: Any, error: type[VenueError]) -> None:
    """The same meaning by either way; nothing is sent twice."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = answer
        if by == "rest":
            with pytest.raises(error):
                await venue.trading.submit(order_request(), Sent())
        else:
            async with running(venue.account.run(ignore)):
                await user_is_up(venue)
                with pytest.raises(error):
                    await venue.trading.submit(order_request(), Sent())
    assert loopback.by == [by]
    assert venue.budget.statistics().penalties == (1 if error is RateLimited else 0)


async def test_silence_is_an_unknown_outcome(patience_ends: Callable[[], None]) -> None:
    """No answer to a post or a request in time: it may have happened."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: None
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            unanswered = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
            await until(lambda: loopback.by)
            patience_ends()
            with pytest.raises(OutcomeUnknown, match="no answer to a post"):
                await unanswered
        with pytest.raises(OutcomeUnknown):
            await venue.trading.submit(order_request(), Sent())
    assert loopback.by == ["ws", "rest"]


async def test_an_order_without_rate_is_refused_at_its_expiry() -> None:
    """It is not held until the window has rolled: the other leg of its pair may stand already."""
    async with serving() as loopback, adapter(loopback) as venue:
        venue.budget.penalise(60.0)
        order = order_request(expires_ns=RealClock().now_ns() + 20 * MS)
        with pytest.raises(Rejected) as refused:
            await venue.trading.submit(order, Sent())
    assert refused.value.code == "expired"
    assert loopback.by == []


async def test_what_became_of_an_order_is_asked_with_the_hedges() -> None:
    """Opens and reads may have spent their share: a leg may stand open until it is known."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.info["orderStatus"] = {"status": "unknownOid"}
        while venue.budget.try_acquire(Lane.READ, {"weight": 20}):
            pass
        assert await venue.account.order(order_request(), "") is None


async def test_a_socket_that_does_not_answer_takes_no_more_orders(
    patience_ends: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open, it would swallow the next hedge too: that goes by REST, the socket is closed."""
    monkeypatch.setattr(pending, "LATE_NS", 5 * MS)
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: filled("0.01") if "rest" in loopback.by else None
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            socket = venue.trading._socket
            assert socket is not None
            unanswered = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
            await until(lambda: socket._echo.is_late)

            report = await venue.trading.submit(order_request(), Sent())
            patience_ends()
            with pytest.raises(OutcomeUnknown, match="no answer to a post"):
                await unanswered
            await until(lambda: socket._channel.statistics().connects == 2 and socket.is_up)
    assert report.state is OrderState.FILLED
    assert loopback.by == ["ws", "rest"]


async def test_connection_lost_while_waiting_is_an_unknown_outcome() -> None:
    """The venue may have read it before the socket broke; REST is not tried."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: None
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            submit = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
            await until(lambda: loopback.requests)
            await loopback.drop()
            with pytest.raises(OutcomeUnknown, match="connection lost"):
                await submit
    assert loopback.by == ["ws"]


async def test_late_answer_is_nobody_s(patience_ends: Callable[[], None]) -> None:
    """An answer after the time limit changes nothing and breaks nothing."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: None
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            unanswered = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
            await until(lambda: loopback.by)
            patience_ends()
            with pytest.raises(OutcomeUnknown):
                await unanswered
            late = {"id": 1, "response": {"type": "action", "payload": filled("0.01")}}
            await loopback.send({"channel": "post", "data": late})
            loopback.exchange = lambda _request: filled("0.01")
            report = await venue.trading.submit(order_request(), Sent())
    assert report.state is OrderState.FILLED


async def test_more_posts_than_the_venue_takes_go_by_rest() -> None:
    """The hundred and first waits for no answer of the others."""
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(ignore)),
    ):
        await user_is_up(venue)
        loopback.exchange = lambda _request: None
        orders = [order_request() for _ in range(100)]
        waiting = [asyncio.ensure_future(venue.trading.submit(order, Sent())) for order in orders]
        await until(lambda: len(loopback.by) == 100)
        loopback.exchange = resting
        report = await venue.trading.submit(order_request(), Sent())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert report.state is OrderState.ACCEPTED
    assert Counter(loopback.by) == {"ws": 100, "rest": 1}


async def test_socket_that_breaks_before_sending_leaves_it_to_rest() -> None:
    """Nothing had left: the order goes by REST, and `sent` is called once."""
    sent = Sent()
    async with (
        serving() as loopback,
        adapter(loopback) as venue,
        running(venue.account.run(ignore)),
    ):
        await user_is_up(venue)
        socket = venue.trading._socket
        assert socket is not None
        inner = socket._channel._socket
        assert inner is not None
        inner.reason = "breaking"
        report = await venue.trading.submit(order_request(), sent)
        inner.reason = ""
    assert report.state is OrderState.ACCEPTED
    assert loopback.by == ["rest"]
    assert sent.count == 1


async def test_post_error_that_is_no_text_is_an_unknown_outcome() -> None:
    """An error of a shape that nobody has seen decides nothing."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: None
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            submit = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
            await until(lambda: loopback.requests)
            odd = {"id": 1, "response": {"type": "error", "payload": {"code": 1}}}
            await loopback.send({"channel": "post", "data": odd})
            with pytest.raises(OutcomeUnknown, match="post failed"):
                await submit


async def test_nothing_sent_is_a_definite_refusal() -> None:
    """Without a server the order certainly did not leave; `sent` is not called."""
    sent = Sent()
    async with serving() as loopback, adapter(loopback) as venue:
        pass
    with pytest.raises(Rejected, match="not sent"):
        await venue.trading.submit(order_request(), sent)
    assert sent.count == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"time_in_force": TimeInForce.FOK}, "time_in_force"),
        ({"position_side": PositionSide.LONG}, "side"),
        ({"symbol": "DOGE"}, "symbol"),
    ],
    ids=["fok", "hedge-mode", "symbol"],
)
async def test_what_the_venue_cannot_do_is_refused_here(
    changes: dict[str, Any], code: str
) -> None:
    """A request that cannot be right is not sent."""
    async with serving() as loopback, adapter(loopback) as venue:
        with pytest.raises(Rejected) as caught:
            await venue.trading.submit(order_request(**changes), Sent())
    assert caught.value.code == code
    assert not loopback.requests


async def test_order_that_expired_while_it_waited_is_not_sent() -> None:
    """A decision of long ago is not acted on."""
    async with serving() as loopback, adapter(loopback) as venue:
        with pytest.raises(Rejected) as caught:
            await venue.trading.submit(order_request(expires_ns=5), Sent())
    assert caught.value.code == "expired"
    assert not loopback.requests


async def test_without_keys_every_write_is_read_only() -> None:
    """A typed refusal, and nothing on the wire."""
    async with serving() as loopback, adapter(loopback, keys=False) as venue:
        btc = (await venue.market_data.instruments())[0]
        writes = [
            venue.trading.submit(order_request(), Sent()),
            venue.trading.cancel(order_request(), "1"),
            venue.trading.set_dead_man(btc, 30),
            venue.trading.burn_nonce(1),
            venue.trading.submit_stop(
                btc,
                client_id=client_id(),
                side=Side.SELL,
                trigger_price=Decimal(1),
                quantity=Decimal(1),
            ),
        ]
        for write in writes:
            with pytest.raises(ReadOnly):
                await write
        assert not venue.can_trade
    assert not loopback.requests


async def test_concurrent_orders_have_nonces_of_their_own() -> None:
    """Fifty at once: all different, all higher than the last of the run before."""
    async with serving() as loopback, adapter(loopback) as venue:
        venue.trading.nonces.resume(9_000_000_000_000)
        async with running(venue.account.run(ignore)):
            await user_is_up(venue)
            orders = [order_request() for _ in range(50)]
            reports = await asyncio.gather(
                *(venue.trading.submit(order, Sent()) for order in orders)
            )
        nonces = [request["nonce"] for request in loopback.requests]
    assert sorted(nonces) == list(range(9_000_000_000_001, 9_000_000_000_051))
    assert venue.trading.nonces.last == 9_000_000_000_050
    assert [report.client_id for report in reports] == [order.client_id for order in orders]


async def test_cancel_by_client_id_and_by_number() -> None:
    """Ours go by client id, others by number."""
    order = order_request()
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: ok("cancel", {"statuses": ["success"]})
        report = await venue.trading.cancel(order, "")
        await venue.trading.cancel(order_request(client_id=""), "55")
        with pytest.raises(InvalidValue, match="venue_order_id"):
            await venue.trading.cancel(order_request(client_id=""), "x")
    assert report.state is OrderState.CANCELLED
    assert report.filled is None
    assert [request["action"] for request in loopback.requests] == [
        {
            "type": "cancelByCloid",
            "cancels": [{"asset": 0, "cloid": "0x" + order.client_id}],
        },
        {"type": "cancel", "cancels": [{"a": 0, "o": 55}]},
    ]


async def test_cancel_of_an_order_that_is_gone_is_rejected() -> None:
    """The venue's one sentence for never placed, cancelled and filled."""
    sentence = "Order was never placed, already canceled, or filled. asset=0"
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = refused(sentence)
        with pytest.raises(Rejected) as caught:
            await venue.trading.cancel(order_request(), "")
        loopback.exchange = lambda _request: ok("cancel", {"statuses": ["perhaps"]})
        with pytest.raises(OutcomeUnknown):
            await venue.trading.cancel(order_request(), "")
    assert caught.value.code == "missing_order"


async def test_dead_mans_switch() -> None:
    """An absolute time to arm, none to disarm, nothing closer than five seconds."""
    clock = JumpingClock()
    async with serving() as loopback, adapter(loopback, clock=clock) as venue:
        loopback.exchange = lambda _request: ok("default")
        btc = (await venue.market_data.instruments())[0]
        before_ms = clock.now_ns() // 1_000_000
        await venue.trading.set_dead_man(btc, 30)
        await venue.trading.set_dead_man(btc, 0)
        with pytest.raises(InvalidValue, match="at least 5"):
            await venue.trading.set_dead_man(btc, 4.9)
    arm, disarm = (request["action"] for request in loopback.requests)
    assert arm["type"] == "scheduleCancel"
    assert 30_000 <= arm["time"] - before_ms < 35_000
    assert disarm == {"type": "scheduleCancel"}


async def test_stop_waits_at_the_venue() -> None:
    """A reduce-only trigger order with a worst price 5 % beyond the trigger."""
    ours = client_id()
    async with serving() as loopback, adapter(loopback) as venue:
        btc = (await venue.market_data.instruments())[0]
        stop = partial(
            venue.trading.submit_stop,
            btc,
            client_id=ours,
            side=Side.SELL,
            quantity=Decimal("0.5"),
        )
        report = await stop(trigger_price=Decimal(60000))
        loopback.exchange = lambda _request: ok("order", {"statuses": ["waitingForTrigger"]})
        await stop(trigger_price=Decimal(70000), take_profit=True)
        loopback.exchange = lambda _request: filled("0.5")
        with pytest.raises(OutcomeUnknown):
            await stop(trigger_price=Decimal(60000))
    assert loopback.requests[0]["action"]["orders"] == [
        {
            "a": 0,
            "b": False,
            "p": "57000",
            "s": "0.5",
            "r": True,
            "t": {"trigger": {"isMarket": True, "triggerPx": "60000", "tpsl": "sl"}},
            "c": "0x" + ours,
        }
    ]
    profit = loopback.requests[1]["action"]["orders"][0]["t"]["trigger"]
    assert (profit["tpsl"], profit["triggerPx"]) == ("tp", "70000")
    assert (report.state, report.reason, report.venue_order_id) == (
        OrderState.ACCEPTED,
        "stop",
        "77",
    )


async def test_burning_a_nonce_resolves_an_unknown_at_once() -> None:
    """Taken: the order with that nonce never was. Refused as used: it has to be looked up."""
    async with serving() as loopback, adapter(loopback) as venue:
        loopback.exchange = lambda _request: ok("default")
        assert await venue.trading.burn_nonce(1_795_000_000_777)
        loopback.exchange = lambda _request: {
            "status": "err",
            "response": "Invalid nonce: duplicate nonce",
        }
        assert not await venue.trading.burn_nonce(1_795_000_000_777)
        loopback.exchange = lambda _request: 500
        with pytest.raises(OutcomeUnknown):
            await venue.trading.burn_nonce(1_795_000_000_777)
    assert [request["nonce"] for request in loopback.requests] == [1_795_000_000_777] * 3
    assert loopback.requests[0]["action"] == {"type": "noop"}


async def test_leverage_is_set_at_open_and_checked() -> None:
    """Cross where the coin takes it, isolated where not; never above the coin's limit."""
    async with serving() as loopback, adapter(loopback, leverage=20) as venue:
        loopback.exchange = lambda _request: ok("default")
        instruments = await venue.market_data.instruments()
        await venue.open(instruments)
        with pytest.raises(InvalidValue, match="leverage was 99"):
            await venue.trading.set_leverage(instruments[0], 99)
        loopback.exchange = refused("Cannot switch leverage type with open position.")
        with pytest.raises(Rejected):
            await venue.trading.set_leverage(instruments[0], 2)
    assert [request["action"] for request in loopback.requests[:3]] == [
        {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 20},
        {"type": "updateLeverage", "asset": 1, "isCross": True, "leverage": 20},
        {"type": "updateLeverage", "asset": 3, "isCross": False, "leverage": 10},
    ]


async def test_reductions_are_not_held_up_by_a_spent_budget() -> None:
    """When opens and reads have used their share, a reduction still goes at once."""
    async with serving() as loopback, adapter(loopback) as venue:
        weight = venue.budget.statistics()
        left = int(weight.limits["weight"] * 0.8) - weight.used["weight"]
        await venue.budget.acquire(Lane.OPEN, {"weight": left})
        await venue.trading.submit(order_request(purpose=Purpose.REDUCE), Sent())
        waiting = asyncio.ensure_future(venue.trading.submit(order_request(), Sent()))
        await until(lambda: venue.budget.statistics().waiting == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(loopback.requests) == 1
