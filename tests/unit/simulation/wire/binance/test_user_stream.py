"""Binance's server: the user stream."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.binance.user_stream import LISTEN_KEY_LIFE_NS
from tests.unit.simulation.wire.binance.rig import ALGO, ORDER, a_stop
from tests.unit.simulation.wire.binance.world import SYMBOL, Socket, World


async def _until(socket: Socket, kind: str) -> Any:
    while True:
        event = await socket.next()
        if event["e"] == kind:
            return event


async def test_listen_key_life(world: World) -> None:
    """One key while it lives; kept, closed, unknown afterwards."""
    path = "/fapi/v1/listenKey"
    _, first = await world.raw("POST", path)
    _, again = await world.raw("POST", path)
    assert first == again
    assert (await world.raw("PUT", path))[0] == 200
    assert (await world.raw("DELETE", path)) == (200, {})
    status, reply = await world.raw("PUT", path)
    assert (status, reply["code"]) == (400, -1125)
    status, reply = await world.raw("POST", path, key="stranger")
    assert (status, reply["code"]) == (401, -2015)


@pytest.mark.parametrize("by_hand", [True, False], ids=["fault", "after an hour"])
async def test_listen_key_expires(world: World, by_hand: bool) -> None:
    """Told once; then the stream is silent."""
    async with world.user_stream() as socket:
        if by_hand:
            world.server.expire_listen_key()
        else:
            world.now_ms += LISTEN_KEY_LIFE_NS // 1_000_000
        assert (await socket.next())["e"] == "listenKeyExpired"
        world.exchange.transfer("client", "USDT", Decimal(1))
        await socket.is_silent()


async def test_order_events_of_a_fill(world: World) -> None:
    """NEW, the light fill, the fill, the account: before any further request."""
    async with world.user_stream() as socket:
        await world.ok("POST", ORDER, **world.market(newClientOrderId="a"))
        events = [await socket.next() for _ in range(4)]
        assert [event["e"] for event in events] == [
            "ORDER_TRADE_UPDATE",
            "TRADE_LITE",
            "ORDER_TRADE_UPDATE",
            "ACCOUNT_UPDATE",
        ]
        new, lite, fill, account = events
        assert (new["o"]["x"], new["o"]["X"], new["o"]["z"]) == ("NEW", "NEW", "0")
        assert (lite["c"], lite["l"], lite["L"]) == ("a", "0.01", "100001")
        order = fill["o"]
        assert (order["x"], order["X"], order["c"], order["n"], order["N"]) == (
            "TRADE",
            "FILLED",
            "a",
            "0.500005",
            "USDT",
        )
        assert order["t"] == lite["t"]
        assert account["a"]["m"] == "ORDER"
        assert account["a"]["P"][0]["pa"] == "0.01"
        assert account["a"]["B"][0]["wb"] == "99999.499995"


async def test_order_events_of_a_resting_order(world: World) -> None:
    """NEW, AMENDMENT, a partial fill as maker, CANCELED."""
    async with world.user_stream() as socket:
        number = (await world.ok("POST", ORDER, **world.limit()))["orderId"]
        assert (await socket.next())["o"]["x"] == "NEW"
        base = {"symbol": SYMBOL, "orderId": number, "side": "BUY"}
        await world.ok("PUT", ORDER, **base, quantity="0.02", price="100000")
        assert (await socket.next())["o"]["x"] == "AMENDMENT"
        world.outsider(Side.SELL, "0.005")
        fill = (await _until(socket, "ORDER_TRADE_UPDATE"))["o"]
        assert (fill["x"], fill["X"], fill["m"], fill["l"]) == (
            "TRADE",
            "PARTIALLY_FILLED",
            True,
            "0.005",
        )
        await world.ok("DELETE", ORDER, symbol=SYMBOL, orderId=number)
        gone = (await _until(socket, "ORDER_TRADE_UPDATE"))["o"]
        assert (gone["x"], gone["X"], gone["z"]) == ("CANCELED", "CANCELED", "0.005")


async def test_killed_fok_is_never_told(world: World) -> None:
    """It was refused; a filled one is told like any other."""
    async with world.user_stream() as socket:
        params = world.limit(timeInForce="FOK")
        assert await world.code("POST", ORDER, **params) == -5021
        await socket.is_silent()
        await world.ok("POST", ORDER, **(params | {"price": "100001"}))
        kinds = [(await socket.next())["o"]["x"] for _ in range(1)]
        assert kinds == ["NEW"]


async def test_self_trade_expires_the_maker(world: World) -> None:
    """EXPIRED_IN_MATCH, with its reason."""
    async with world.user_stream() as socket:
        await world.ok("POST", ORDER, **world.limit(price="100000", newClientOrderId="maker"))
        await world.ok("POST", ORDER, **world.limit("SELL", price="100000"))
        events = [(await socket.next())["o"] for _ in range(3)]
        [gone] = [order for order in events if order["X"] == "EXPIRED_IN_MATCH"]
        assert (gone["c"], gone["er"]) == ("maker", "5")


async def test_algo_events(world: World) -> None:
    """NEW, then TRIGGERED with the order's id, the order's own events, FINISHED."""
    async with world.user_stream() as socket:
        await world.ok("POST", ALGO, **a_stop())
        new = (await socket.next())["o"]
        assert (new["X"], new["o"], new["caid"], new["ai"]) == ("NEW", "STOP_MARKET", "stop-1", "")
        world.mark("99400")
        triggered = (await socket.next())["o"]
        assert triggered["X"] == "TRIGGERED"
        assert triggered["ai"] != ""
        order = (await socket.next())["o"]
        assert (order["x"], str(order["i"]), order["ot"]) == (
            "NEW",
            triggered["ai"],
            "STOP_MARKET",
        )
        finished = (await _until(socket, "ALGO_UPDATE"))["o"]
        assert finished["X"] == "FINISHED"
        fill = (await _until(socket, "ORDER_TRADE_UPDATE"))["o"]
        assert (fill["x"], fill["X"]) == ("TRADE", "FILLED")


async def test_algo_events_of_stops_that_never_became_orders(world: World) -> None:
    """Cancelled by hand, or rejected when the trigger was met."""
    async with world.user_stream() as socket:
        await world.ok("POST", ALGO, **a_stop())
        await world.ok("DELETE", ALGO, clientAlgoId="stop-1")
        assert [(await socket.next())["o"]["X"] for _ in range(2)] == ["NEW", "CANCELED"]
        await world.ok("POST", ALGO, **a_stop(reduceOnly="true"))
        world.mark("99400")
        assert (await socket.next())["o"]["X"] == "NEW"
        rejected = (await socket.next())["o"]
        assert (rejected["X"], rejected["rm"]) == ("REJECTED", "reduce_only")
        await socket.is_silent()


async def test_funding_event_tells_the_balance_only(world: World) -> None:
    """FUNDING_FEE with the amount, no positions."""
    await world.ok("POST", ORDER, **world.market())
    async with world.user_stream() as socket:
        world.exchange.settle_funding(SYMBOL)
        event = await socket.next()
        assert (event["a"]["m"], event["a"]["P"]) == ("FUNDING_FEE", [])
        assert event["a"]["B"][0]["bc"] == "-0.1"


async def test_liquidation_is_told_as_calculated(world: World) -> None:
    """With the client id that marks it."""
    await world.ok("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=100)
    await world.ok("POST", ORDER, **world.market(quantity="5"))
    async with world.user_stream() as socket:
        world.quote("80000", "80002")
        world.mark("80001")
        while True:
            order = (await _until(socket, "ORDER_TRADE_UPDATE"))["o"]
            if order["x"] != "NEW":
                break
        assert order["x"] == "CALCULATED"
        assert order["c"].startswith("autoclose-")


async def test_user_stream_by_subscription_is_wrapped(world: World) -> None:
    """The official client subscribes with its key on /private/stream."""
    _, reply = await world.raw("POST", "/fapi/v1/listenKey")
    async with world.socket("/private/stream") as socket:
        await socket.subscribe(reply["listenKey"])
        await world.ok("POST", ORDER, **world.limit())
        message = await socket.next()
        assert message["stream"] == reply["listenKey"]
        assert message["data"]["e"] == "ORDER_TRADE_UPDATE"


async def test_other_accounts_are_not_told(world: World) -> None:
    """Only the client's own."""
    world.exchange.open_account("other", {"USDT": Decimal(10)})
    async with world.user_stream() as socket:
        world.exchange.transfer("other", "USDT", Decimal(1))
        await socket.is_silent()
