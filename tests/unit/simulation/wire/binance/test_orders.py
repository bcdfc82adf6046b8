"""Binance's server: orders, with conditions and without."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.unit.simulation.wire.binance.rig import ALGO, BATCH, ORDER, a_stop
from tests.unit.simulation.wire.binance.world import SYMBOL, World


async def test_order_life(world: World) -> None:
    """Place, query by both ids, list, cancel; then it is history."""
    placed = await world.ok("POST", ORDER, **world.limit(newClientOrderId="my-1"))
    number = placed["orderId"]
    assert (placed["status"], placed["clientOrderId"]) == ("NEW", "my-1")
    for name in ({"orderId": number}, {"origClientOrderId": "my-1"}):
        found = await world.ok("GET", ORDER, symbol=SYMBOL, **name)
        assert (found["orderId"], found["origQty"]) == (number, "0.01")
        assert await world.ok("GET", "/fapi/v1/openOrder", symbol=SYMBOL, **name)
    assert [row["orderId"] for row in await world.ok("GET", "/fapi/v1/openOrders")] == [number]
    assert world.headers["X-MBX-USED-WEIGHT-1M"] == "44"
    gone = await world.ok("DELETE", ORDER, symbol=SYMBOL, orderId=number)
    assert gone["status"] == "CANCELED"
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL) == []
    assert await world.code("DELETE", ORDER, symbol=SYMBOL, orderId=number) == -2011
    assert await world.code("GET", "/fapi/v1/openOrder", symbol=SYMBOL, orderId=number) == -2013
    assert await world.code("GET", ORDER, symbol=SYMBOL, orderId=4711) == -2013
    assert await world.code("GET", ORDER, symbol="ETHUSDT", orderId=number) == -2013
    assert await world.code("GET", ORDER, symbol=SYMBOL) == -1102
    [row] = await world.ok("GET", "/fapi/v1/allOrders", symbol=SYMBOL)
    assert row["status"] == "CANCELED"
    assert await world.ok("GET", "/fapi/v1/allOrders", symbol=SYMBOL, orderId=number + 1) == []


async def test_order_without_client_id_gets_one(world: World) -> None:
    """Twenty-two characters, as the venue makes them."""
    placed = await world.ok("POST", ORDER, **world.limit())
    assert len(placed["clientOrderId"]) == 22


async def test_test_order_sends_nothing(world: World) -> None:
    """Checked, answered, forgotten."""
    assert await world.ok("POST", "/fapi/v1/order/test", **world.limit()) == {}
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL) == []


async def test_market_order_reply_and_fills(world: World) -> None:
    """ACK tells nothing of the fill, RESULT all; fills, position and income follow."""
    ack = await world.ok("POST", ORDER, **world.market())
    assert (ack["status"], ack["executedQty"]) == ("NEW", "0")
    done = await world.ok("POST", ORDER, **world.market(newOrderRespType="RESULT"))
    assert (done["status"], done["avgPrice"], done["cumQuote"]) == ("FILLED", "100001", "1000.01")
    fills = await world.ok("GET", "/fapi/v1/userTrades", symbol=SYMBOL)
    assert [(row["qty"], row["maker"], row["buyer"]) for row in fills] == [
        ("0.01", False, True),
        ("0.01", False, True),
    ]
    assert fills[0]["commission"] == "0.500005"
    [one] = await world.ok("GET", "/fapi/v1/userTrades", symbol=SYMBOL, orderId=done["orderId"])
    assert one["orderId"] == done["orderId"]
    [risk] = await world.ok("GET", "/fapi/v3/positionRisk")
    assert (risk["positionAmt"], risk["positionSide"]) == ("0.02", "BOTH")
    assert Decimal(risk["unRealizedProfit"]) == Decimal("-0.02")
    income = await world.ok("GET", "/fapi/v1/income", incomeType="COMMISSION")
    assert [row["income"] for row in income] == ["-0.500005", "-0.500005"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"timeInForce": ""}, -1102),
        ({"timeInForce": "GTD"}, -1115),
        ({"quantity": "0"}, -4003),
        ({"quantity": "x"}, -1130),
        ({"quantity": "NaN"}, -1130),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "1001"}, -4005),
        ({"price": "0"}, -4001),
        ({"price": "9000000"}, -4002),
        ({"price": "99000.123"}, -1111),
        ({"price": "99000.05"}, -4014),
        ({"price": "106000"}, -4016),
        ({"price": "90000", "side": "SELL"}, -4024),
        ({"quantity": "0.001", "price": "99000"}, -4164),
        ({"quantity": "900"}, -2019),
        ({"reduceOnly": "true"}, -2022),
        ({"reduceOnly": "perhaps"}, -1130),
        ({"timeInForce": "GTX", "price": "100001"}, -5022),
        ({"timeInForce": "FOK", "price": "99000"}, -5021),
        ({"newClientOrderId": "with space"}, -4015),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"positionSide": "LONG"}, -4061),
        ({"positionSide": "UP"}, -1116),
        ({"selfTradePreventionMode": "NONE"}, -5038),
        ({"newOrderRespType": "FULL"}, -1130),
        ({"priceMatch": "BEST"}, -5037),
        ({"priceMatch": "QUEUE"}, -1106),
        ({"priceMatch": "QUEUE_5", "price": ""}, -5039),
        ({"type": "MARKET"}, -1106),
        ({"type": "MARKET", "price": ""}, -1106),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_order_refusals(world: World, change: dict[str, str], code: int) -> None:
    """Each rule has the venue's code, and nothing is left behind."""
    assert await world.code("POST", ORDER, **(world.limit() | change)) == code
    assert await world.ok("GET", "/fapi/v1/allOrders", symbol=SYMBOL) == []


async def test_client_id_is_unique_among_open_orders(world: World) -> None:
    """Free again once the order has ended."""
    first = await world.ok("POST", ORDER, **world.limit(newClientOrderId="a"))
    assert await world.code("POST", ORDER, **world.limit(newClientOrderId="a")) == -4116
    await world.ok("DELETE", ORDER, symbol=SYMBOL, origClientOrderId="a")
    second = await world.ok("POST", ORDER, **world.limit(newClientOrderId="a"))
    assert second["orderId"] != first["orderId"]


async def test_ioc_that_does_not_fill_expires(world: World) -> None:
    """Accepted, then EXPIRED: no refusal."""
    params = world.limit(timeInForce="IOC", newOrderRespType="RESULT")
    assert (await world.ok("POST", ORDER, **params))["status"] == "EXPIRED"


@pytest.mark.parametrize(
    ("match", "price"), [("OPPONENT", "100001"), ("QUEUE", "99999")], ids=["opponent", "queue"]
)
async def test_price_match(world: World, match: str, price: str) -> None:
    """The venue picks the price from its book."""
    params = world.limit(priceMatch=match, price="")
    assert (await world.ok("POST", ORDER, **params))["price"] == price


async def test_amend(world: World) -> None:
    """Price and quantity change, the id stays; refusals leave the order as it was."""
    number = (await world.ok("POST", ORDER, **world.limit()))["orderId"]
    base = {"symbol": SYMBOL, "orderId": number, "side": "BUY"}
    changed = await world.ok("PUT", ORDER, **base, quantity="0.02", price="98000")
    assert (changed["orderId"], changed["origQty"], changed["price"]) == (number, "0.02", "98000")
    assert await world.code("PUT", ORDER, **base, quantity="0.02", price="98000") == -5027
    assert await world.code("PUT", ORDER, **base, quantity="0.02", price="120000") == -4016
    wrong_side = {**base, "side": "SELL", "quantity": "0.02", "price": "98000"}
    assert await world.code("PUT", ORDER, **wrong_side) == -5025
    unknown = {**base, "orderId": 99, "quantity": "0.02", "price": "98000"}
    assert await world.code("PUT", ORDER, **unknown) == -2013


async def test_batches_have_an_outcome_each(world: World) -> None:
    """In the order of the list; errors do not stop the others."""
    items = [world.limit(newClientOrderId="a"), world.limit(quantity="0"), world.limit()]
    placed = await world.ok("POST", BATCH, batchOrders=json.dumps(items))
    assert [row.get("status", row.get("code")) for row in placed] == ["NEW", -4003, "NEW"]
    amend = {"symbol": SYMBOL, "side": "BUY", "quantity": "0.03", "price": "98000"}
    changed = await world.ok(
        "PUT", BATCH, batchOrders=json.dumps([{**amend, "origClientOrderId": "a"}])
    )
    assert changed[0]["origQty"] == "0.03"
    gone = await world.ok("DELETE", BATCH, symbol=SYMBOL, origClientOrderIdList='["a","b"]')
    assert [row.get("status", row.get("code")) for row in gone] == ["CANCELED", -2011]
    ids = json.dumps([placed[2]["orderId"]])
    [last] = await world.ok("DELETE", BATCH, symbol=SYMBOL, orderIdList=ids)
    assert last["status"] == "CANCELED"


@pytest.mark.parametrize(
    ("value", "code"),
    [("[]", -4082), ("[{},{},{},{},{},{}]", -4082), ("{}", -1130), ("[1]", -1130), ("[", -1130)],
)
async def test_bad_batches_are_refused(world: World, value: str, code: int) -> None:
    """As a whole."""
    assert await world.code("POST", BATCH, batchOrders=value) == code


async def test_too_many_cancels_in_a_batch(world: World) -> None:
    """At most ten."""
    ids = json.dumps(list(range(11)))
    assert await world.code("DELETE", BATCH, symbol=SYMBOL, orderIdList=ids) == -4082


async def test_cancel_all_leaves_algo_orders(world: World) -> None:
    """Of one symbol; stops have an endpoint of their own."""
    await world.ok("POST", ORDER, **world.limit())
    await world.ok("POST", ALGO, **a_stop())
    await world.ok("DELETE", "/fapi/v1/allOpenOrders", symbol=SYMBOL)
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL) == []
    assert len(await world.ok("GET", "/fapi/v1/openAlgoOrders", symbol=SYMBOL)) == 1
    await world.ok("DELETE", "/fapi/v1/algoOpenOrders", symbol=SYMBOL)
    assert await world.ok("GET", "/fapi/v1/openAlgoOrders") == []


async def test_countdown_cancels_when_due(world: World) -> None:
    """Armed, renewed, disarmed by 0."""
    path = "/fapi/v1/countdownCancelAll"
    await world.ok("POST", ORDER, **world.limit())
    reply = await world.ok("POST", path, symbol=SYMBOL, countdownTime=500)
    assert reply == {"symbol": SYMBOL, "countdownTime": "500"}
    await world.ok("POST", path, symbol=SYMBOL, countdownTime=0)
    world.now_ms += 600
    world.exchange.advance()
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL)
    await world.ok("POST", path, symbol=SYMBOL, countdownTime=500)
    world.now_ms += 600
    world.exchange.advance()
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL) == []
    assert await world.code("POST", path, symbol=SYMBOL, countdownTime=-1) == -1130


async def test_outcome_left_open_though_done(world: World) -> None:
    """503 and -1007; the order is there."""
    world.server.leave_outcomes_open(1)
    status, reply = await world.signed("POST", ORDER, **world.limit(newClientOrderId="a"))
    assert (status, reply["code"]) == (503, -1007)
    assert await world.ok("GET", ORDER, symbol=SYMBOL, origClientOrderId="a")
    await world.ok("POST", ORDER, **world.limit())


async def test_halted_symbol(world: World) -> None:
    """Orders are refused, cancels work."""
    number = (await world.ok("POST", ORDER, **world.limit()))["orderId"]
    world.exchange.set_halted(SYMBOL, halted=True)
    assert await world.code("POST", ORDER, **world.limit()) == -4108
    await world.ok("DELETE", ORDER, symbol=SYMBOL, orderId=number)


async def test_stop_waits_apart_from_orders(world: World) -> None:
    """Listed, queried and cancelled on the algo endpoints only."""
    stop = await world.ok("POST", ALGO, **a_stop())
    assert (stop["algoStatus"], stop["orderType"], stop["actualOrderId"]) == (
        "NEW",
        "STOP_MARKET",
        "",
    )
    assert await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL) == []
    assert await world.ok("GET", "/fapi/v1/allOrders", symbol=SYMBOL) == []
    assert await world.code("GET", ORDER, symbol=SYMBOL, origClientOrderId="stop-1") == -2013
    found = await world.ok("GET", ALGO, algoId=stop["algoId"])
    assert found["clientAlgoId"] == "stop-1"
    gone = await world.ok("DELETE", ALGO, clientAlgoId="stop-1")
    assert gone["algoId"] == stop["algoId"]
    assert (await world.ok("GET", ALGO, clientAlgoId="stop-1"))["algoStatus"] == "CANCELED"
    assert await world.code("DELETE", ALGO, clientAlgoId="stop-1") == -2011
    assert await world.code("GET", ALGO, algoId=1) == -2013
    assert await world.code("GET", ALGO) == -1102
    [row] = await world.ok("GET", "/fapi/v1/allAlgoOrders", symbol=SYMBOL)
    assert row["algoStatus"] == "CANCELED"


async def test_triggered_stop_becomes_an_order(world: World) -> None:
    """The order has an id of its own, and the stop names it."""
    await world.ok("POST", ORDER, **world.market())
    await world.ok("POST", ALGO, **a_stop(reduceOnly="true"))
    world.mark("99400")
    done = await world.ok("GET", ALGO, clientAlgoId="stop-1")
    assert done["algoStatus"] == "FINISHED"
    order = await world.ok("GET", ORDER, symbol=SYMBOL, orderId=int(done["actualOrderId"]))
    assert (order["status"], order["type"], order["origType"]) == (
        "FILLED",
        "MARKET",
        "STOP_MARKET",
    )
    assert await world.ok("GET", "/fapi/v3/positionRisk") == []


async def test_triggered_limit_rests_as_an_order(world: World) -> None:
    """It is cancelled like any other, and the stop stays finished."""
    await world.ok("POST", ALGO, **a_stop(type="STOP", price="100500", side="SELL"))
    world.mark("99400")
    [order] = await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL)
    assert (await world.ok("GET", ALGO, clientAlgoId="stop-1"))["algoStatus"] == "TRIGGERED"
    await world.ok("DELETE", ORDER, symbol=SYMBOL, orderId=order["orderId"])
    assert (await world.ok("GET", ALGO, clientAlgoId="stop-1"))["algoStatus"] == "FINISHED"


async def test_close_position_closes_all(world: World) -> None:
    """Without a quantity."""
    await world.ok("POST", ORDER, **world.market(quantity="0.03"))
    params = a_stop(closePosition="true", type="TAKE_PROFIT_MARKET", triggerPrice="100500")
    del params["quantity"]
    await world.ok("POST", ALGO, **params)
    world.mark("100600")
    assert await world.ok("GET", "/fapi/v3/positionRisk") == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algoType": "VP"}, -4500),
        ({"type": "LIMIT"}, -1116),
        ({"triggerPrice": ""}, -1102),
        ({"triggerPrice": "100500"}, -2021),
        ({"workingType": "LAST"}, -1130),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": "", "reduceOnly": "true"}, -1106),
        ({"closePosition": "true", "type": "STOP", "price": "99000"}, -4136),
        ({"positionSide": "LONG"}, -4061),
        ({"clientAlgoId": "x y"}, -4015),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_algo_refusals(world: World, change: dict[str, object], code: int) -> None:
    """Each rule has the venue's code."""
    assert await world.code("POST", ALGO, **a_stop(**change)) == code
