"""Hyperliquid's server: orders."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulation.wire.hyperliquid.rig import (
    _BY_CLOID,
    CLOID,
    SECOND,
    SIGNER,
    Rig,
    tif,
    wire,
)


def trigger(price: str, kind: str = "sl", *, is_market: bool = True) -> dict[str, Any]:
    """Return the type of a stop or take profit."""
    return {"t": {"trigger": {"isMarket": is_market, "triggerPx": price, "tpsl": kind}}}


async def test_orders_rest_fill_or_say_why_not(rig: Rig) -> None:
    """Resting, filled with average price, and an error, each in its place of one answer."""
    statuses = await rig.place(
        wire(c=CLOID), wire(p="100.2", s="5", **tif("Ioc")), wire(p="95", **tif("Ioc"))
    )
    assert statuses == [
        {"resting": {"oid": 1, "cloid": CLOID}},
        {"filled": {"totalSz": "5", "avgPx": "100.12", "oid": 2}},
        {"error": "Order could not immediately match against any resting orders. asset=0"},
    ]
    assert (await rig.info("openOrders", user=rig.user)) == [
        {
            "coin": "BTC",
            "side": "B",
            "limitPx": "90.0",
            "sz": "1.0",
            "oid": 1,
            "timestamp": rig.now_ms,
            "origSz": "1.0",
            "cloid": CLOID,
        }
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"a": 77}, "Asset is not listed. asset=77"),
        ({"a": 2}, "Asset is not listed. asset=2"),
        ({"p": "90.001", "s": "2"}, "Price must be divisible by tick size. asset=0"),
        ({"p": "98.4515"}, "Price must be divisible by tick size. asset=0"),
        ({"p": "101001.5", "s": "0.001"}, "Price must be divisible by tick size. asset=0"),
        ({"s": "0"}, "Order has zero size. asset=0"),
        ({"s": "0.000001"}, "Order has invalid size. asset=0"),
        ({"s": "0.1"}, "Order must have minimum value of $10. asset=0"),
        ({"s": "5000"}, "Insufficient margin to place order. asset=0"),
        ({"r": True}, "Reduce only order would increase position. asset=0"),
        (
            {"p": "101"} | tif("Alo"),
            "Post only order would have immediately matched, bbo was 100.0@100.1. asset=0",
        ),
        (
            {"p": "500"},
            "Order price cannot be more than 80% away from the reference price asset=0",
        ),
        (trigger("200") | {"b": False}, "Invalid TP/SL price. asset=0"),
    ],
)
async def test_a_wrong_order_is_an_error_inside_ok(
    rig: Rig, change: dict[str, Any], text: str
) -> None:
    """In the venue's sentence; nothing rests."""
    assert await rig.place(wire(**change)) == [{"error": text}]
    assert rig.exchange.open_orders("client") == []


async def test_integer_prices_are_always_allowed(rig: Rig) -> None:
    """Five significant digits bind only where there are decimals."""
    rig.quote("100001x5", "100002x5", "ETH")
    eth = wire(a=1, p="100003", s="0.001")
    assert "filled" in (await rig.place(eth))[0]


async def test_cancels_by_id_and_by_client_id(rig: Rig) -> None:
    """Success once, then the sentence for what is gone; the asset must be right."""
    await rig.place(wire(), wire(c=CLOID))
    missing = "Order was never placed, already canceled, or filled. asset="
    cancels = [{"a": 1, "o": 1}, {"a": 0, "o": 1}, {"a": 0, "o": 1}, {"a": 99, "o": 1}]
    answer = await rig.act({"type": "cancel", "cancels": cancels})
    assert answer["response"] == {
        "type": "cancel",
        "data": {
            "statuses": [
                {"error": missing + "1"},
                "success",
                {"error": missing + "0"},
                {"error": "Asset is not listed. asset=99"},
            ]
        },
    }
    answer = await rig.act(_BY_CLOID)
    assert answer["response"]["data"]["statuses"] == ["success"]
    assert rig.exchange.open_orders("client") == []


async def test_a_modification_is_a_new_order_with_both_events(rig: Rig) -> None:
    """New oid, same cloid; the new order is told first, the next time the old one."""
    sock = await rig.socket()
    await sock.subscribe("orderUpdates", user=rig.user)
    await rig.place(wire(c=CLOID))
    await sock.next()
    action = {"type": "batchModify", "modifies": [{"oid": 1, "order": wire(p="91", s="2")}]}
    answer = await rig.act(action)
    new = {"resting": {"oid": 2, "cloid": CLOID}}
    assert answer["response"] == {"type": "order", "data": {"statuses": [new]}}
    rows = [(await sock.next())["data"][0] for _ in range(2)]
    told = [(row["order"]["oid"], row["status"], row["order"]["cloid"]) for row in rows]
    assert told == [(2, "open", CLOID), (1, "canceled", CLOID)]
    answer = await rig.act({"type": "modify", "oid": CLOID, "order": wire(p="92", c=CLOID)})
    assert answer["response"] == {"type": "default"}
    rows = [(await sock.next())["data"][0] for _ in range(2)]
    assert [(r["order"]["oid"], r["status"]) for r in rows] == [(2, "canceled"), (3, "open")]
    gone = await rig.act({"type": "modify", "oid": 1, "order": wire()})
    assert gone == {"status": "err", "response": "Cannot modify canceled or filled order"}


async def test_triggers_wait_fire_and_close_the_position(rig: Rig) -> None:
    """A stop without size closes what is there; its life is told."""
    rig.mark("100")
    await rig.place(wire(p="100.1", **tif("Ioc")))
    sock = await rig.socket()
    await sock.subscribe("orderUpdates", user=rig.user)
    stop = wire(b=False, p="90", s="0", r=True, **trigger("95"))
    assert await rig.place(stop, grouping="positionTpsl") == ["waitingForTrigger"]
    profit = wire(b=False, p="111", r=True, **trigger("110", "tp", is_market=False))
    assert "resting" in (await rig.place(profit))[0]
    waiting = await rig.info("frontendOpenOrders", user=rig.user)
    assert [(r["orderType"], r["triggerCondition"], r["isPositionTpsl"]) for r in waiting] == [
        ("Stop Market", "Price below 95", True),
        ("Take Profit Limit", "Price above 110", False),
    ]
    assert [(await sock.next())["data"][0]["status"] for _ in range(2)] == ["open", "open"]
    rig.mark("94")
    assert [(await sock.next())["data"][0]["status"] for _ in range(2)] == ["triggered", "filled"]
    assert (await rig.info("clearinghouseState", user=rig.user))["assetPositions"] == []
    answer = await rig.act({"type": "order", "orders": [stop], "grouping": "normalTpsl"})
    assert answer["status"] == "err"


async def test_leverage_and_margin_settings(rig: Rig) -> None:
    """Cross leverage within the asset's limit; isolated margin is not served."""
    action = {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5}
    assert (await rig.act(action))["status"] == "ok"
    assert rig.exchange.leverage("client", "BTC") == 5
    for change in ({"asset": 99}, {"isCross": False}, {"leverage": 41}, {"leverage": 0}):
        assert (await rig.act(action | change))["status"] == "err"
    await rig.place(wire(s="500"))
    assert "Insufficient" in (await rig.act(action | {"leverage": 1}))["response"]
    margin = {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": 1}
    assert (await rig.act(margin))["status"] == "err"


async def test_schedule_cancel_takes_everything_away(rig: Rig) -> None:
    """At least five seconds ahead; it can be disarmed; triggers go too."""
    rig.mark("100")
    early = await rig.act({"type": "scheduleCancel", "time": rig.now_ms + 4_999})
    assert early["status"] == "err"
    await rig.place(wire(p="100.1", **tif("Ioc")), wire())
    await rig.place(wire(b=False, r=True, **trigger("95")))
    at = {"type": "scheduleCancel", "time": rig.now_ms + 5_000}
    assert (await rig.act(at))["status"] == "ok"
    assert (await rig.act({"type": "scheduleCancel"}))["status"] == "ok"
    rig.now_ns += 6 * SECOND
    rig.exchange.advance()
    assert len(rig.exchange.open_orders("client")) == 2
    await rig.act({"type": "scheduleCancel", "time": rig.now_ms + 5_000})
    rig.now_ns += 5 * SECOND
    rig.exchange.advance()
    assert rig.exchange.open_orders("client") == []
    status = await rig.info("orderStatus", user=rig.user, oid=2)
    assert status["order"]["status"] == "scheduledCancel"


async def test_the_request_budget_grows_with_volume(rig: Rig) -> None:
    """Beyond it orders are refused, cancels have twice as much."""
    rig.server.gate.request_buffer = 1
    await rig.place(wire(p="100.1", **tif("Ioc")))
    limit = await rig.info("userRateLimit", user=rig.user)
    assert limit == {
        "cumVlm": "100.1",
        "nRequestsUsed": 1,
        "nRequestsCap": 101,
        "nRequestsSurplus": 0,
    }
    rig.server.gate.requests = 101
    action = {"type": "order", "orders": [wire()], "grouping": "na"}
    refused = await rig.act(action)
    assert refused["response"].startswith("Too many cumulative requests sent (102 > 101)")
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": 5}]}
    assert (await rig.act(cancel))["status"] == "ok"
    rig.server.gate.requests = 202
    assert (await rig.act(cancel))["status"] == "err"
    stranger = await rig.info("userRateLimit", user=SIGNER)
    assert stranger["nRequestsUsed"] == 0


async def test_faults_answer_in_place_of_the_truth(rig: Rig) -> None:
    """Without effect, or after it."""
    action = {"type": "order", "orders": [wire()], "grouping": "na"}
    rig.server.fail_next("Service unavailable")
    assert await rig.act(action) == {"status": "err", "response": "Service unavailable"}
    assert rig.exchange.open_orders("client") == []
    rig.server.fail_next("Timeout", acted=True)
    assert (await rig.act(action))["status"] == "err"
    assert len(rig.exchange.open_orders("client")) == 1
