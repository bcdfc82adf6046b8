from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.binance.requests import sign
from perpbot.simulation.wire.binance.server import MAX_CONNECTION_NS, PING_EVERY_NS
from perpbot.simulation.wire.binance.user_stream import LISTEN_KEY_LIFE_NS
from tests.unit.simulation.wire.binance_world import START_MS, SYMBOL, Socket, World

ORDER = "/fapi/v1/order"
ALGO = "/fapi/v1/algoOrder"
BATCH = "/fapi/v1/batchOrders"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server that answers, with a book around 100000."""
    found = World()
    async with found.open():
        yield found


# --- signatures, time, limits --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "payload", "expected"),
    [
        (
            "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9",
            (
                "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
                "&recvWindow=5000&timestamp=1591702613943"
            ),
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
            "timestamp=1578963600000",
            "d84e6641b1e328e7b418fff030caed655c266299c9355e36ce801ed14631eed4",
        ),
    ],
    ids=["documentation", "timestamp only"],
)
def test_signature_vectors(secret: str, payload: str, expected: str) -> None:
    """The public vectors of the protocol."""
    assert sign(secret, payload) == expected


@pytest.mark.parametrize("split", [0, 3, 99], ids=["body", "mixed", "query"])
async def test_parameters_may_be_in_query_body_or_both(world: World, split: int) -> None:
    """The signature is over query and body, joined without a separator."""
    pairs = [f"{key}={value}" for key, value in world.limit(timestamp=world.now_ms).items()]
    query, body = "&".join(pairs[:split]), "&".join(pairs[split:])
    signature = f"signature={world.sign(query + body)}"
    if body:
        body += f"&{signature}"
    else:
        query += f"&{signature}"
    status, reply = await world.raw("POST", ORDER, query=query, body=body)
    assert (status, reply["status"]) == (200, "NEW")


async def test_signature_may_be_in_the_query_of_a_body(world: World) -> None:
    """As some clients send it."""
    body = "&".join(f"{key}={value}" for key, value in world.limit(timestamp=START_MS).items())
    status, _ = await world.raw("POST", ORDER, query=f"signature={world.sign(body)}", body=body)
    assert status == 200


async def test_wrong_signature_is_refused(world: World) -> None:
    """-1022, and nothing happens."""
    query = f"symbol={SYMBOL}&timestamp={START_MS}"
    wrong = world.sign(query, "another secret")
    status, reply = await world.raw(
        "DELETE", "/fapi/v1/allOpenOrders", query=f"{query}&signature={wrong}"
    )
    assert (status, reply["code"]) == (400, -1022)


async def test_missing_signature_is_refused(world: World) -> None:
    """-1102."""
    status, reply = await world.raw("GET", "/fapi/v3/balance", query=f"timestamp={START_MS}")
    assert (status, reply["code"]) == (400, -1102)


@pytest.mark.parametrize(("key", "code"), [("", -2014), ("stranger", -2015)])
async def test_wrong_key_is_refused(world: World, key: str, code: int) -> None:
    """401 with the code that says which."""
    status, reply = await world.raw("GET", "/fapi/v3/balance", key=key)
    assert (status, reply["code"]) == (401, code)


@pytest.mark.parametrize(
    ("offset_ms", "window", "code"),
    [
        (-5_000, 5_000, None),
        (-5_001, 5_000, -1021),
        (999, 5_000, None),
        (1_000, 5_000, -1021),
        (0, 60_001, -1131),
        (0, 0, -1131),
    ],
    ids=["just in time", "expired", "a bit early", "too early", "window too long", "no window"],
)
async def test_timestamp_window(
    world: World, offset_ms: int, window: int, code: int | None
) -> None:
    """A request counts from one second before to recvWindow after its timestamp."""
    _, reply = await world.signed(
        "GET", "/fapi/v3/balance", timestamp=START_MS + offset_ms, recvWindow=window
    )
    assert (reply["code"] if isinstance(reply, dict) else None) == code


async def test_unknown_route(world: World) -> None:
    """404 with a JSON body that names path and method."""
    status, reply = await world.raw("GET", "/fapi/v1/nothing")
    assert status == 404
    assert reply == {"code": -5000, "msg": "Path /fapi/v1/nothing, Method GET is invalid"}
    status, _ = await world.raw("PATCH", ORDER)
    assert status == 404


async def test_weights_are_counted_and_limited(world: World) -> None:
    """Headers tell the use; over the limit 429 with Retry-After, then a ban with 418."""
    await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
    assert world.headers["X-MBX-USED-WEIGHT-1M"] == "20"
    for _ in range(119):
        await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
    assert world.headers["X-MBX-USED-WEIGHT-1M"] == "2400"
    status, reply = await world.raw("GET", "/fapi/v1/time")
    assert (status, reply["code"]) == (429, -1003)
    assert int(world.headers["Retry-After"]) == 60 - (START_MS // 1000) % 60
    for _ in range(20):
        await world.raw("GET", "/fapi/v1/time")
    status, _ = await world.raw("GET", "/fapi/v1/time")
    assert (status, world.headers["Retry-After"]) == (418, "120")
    world.now_ms += 120_000
    await world.get("/fapi/v1/time")
    assert world.headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_orders_are_counted_and_limited(world: World) -> None:
    """300 in ten seconds; a batch counts each of its orders."""
    item = json.dumps([world.limit(quantity="0")] * 5, separators=(",", ":"))
    for _ in range(59):
        await world.ok("POST", BATCH, batchOrders=item)
    for _ in range(5):
        await world.ok("POST", ORDER, **world.limit())
    assert world.headers["X-MBX-ORDER-COUNT-10S"] == "300"
    assert world.headers["X-MBX-ORDER-COUNT-1M"] == "300"
    assert await world.code("POST", ORDER, **world.limit()) == -1015
    assert "Retry-After" in world.headers
    world.now_ms += 10_000
    await world.ok("POST", ORDER, **world.limit())
    assert world.headers["X-MBX-ORDER-COUNT-10S"] == "1"


# --- public requests -----------------------------------------------------------------------------


async def test_exchange_info(world: World) -> None:
    """Ten contracts with filters; precisions are not the steps."""
    info = await world.get("/fapi/v1/exchangeInfo")
    assert len(info["symbols"]) == 10
    [btc] = [row for row in info["symbols"] if row["symbol"] == SYMBOL]
    filters = {row["filterType"]: row for row in btc["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert filters["MIN_NOTIONAL"]["notional"] == "100"
    assert {row["rateLimitType"] for row in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}


async def test_public_market_data(world: World) -> None:
    """Ping, time, book, tickers, mark."""
    assert await world.get("/fapi/v1/ping") == {}
    assert await world.get("/fapi/v1/time") == {"serverTime": START_MS}
    book = await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=5")
    assert book["bids"] == [["99999", "5"], ["99989", "50"]]
    ticker = await world.get("/fapi/v1/ticker/bookTicker", "symbol=BTCUSDT")
    assert (ticker["bidPrice"], ticker["askPrice"]) == ("99999", "100001")
    assert ticker["lastUpdateId"] == book["lastUpdateId"]
    assert len(await world.get("/fapi/v1/ticker/bookTicker")) == 10
    mark = await world.get("/fapi/v1/premiumIndex", "symbol=BTCUSDT")
    assert (mark["markPrice"], mark["lastFundingRate"]) == ("100000", "0.00010000")
    assert mark["nextFundingTime"] == START_MS + 1_000
    assert await world.get("/fapi/v1/fundingInfo") == []


async def test_public_trades_and_candles(world: World) -> None:
    """Trades with the maker's side, candles by minute, the day."""
    world.outsider(Side.BUY, "1")
    world.now_ms += 60_000
    world.outsider(Side.SELL, "2")
    trades = await world.get("/fapi/v1/trades", "symbol=BTCUSDT")
    assert [(row["price"], row["isBuyerMaker"]) for row in trades] == [
        ("100001", False),
        ("99999", True),
    ]
    agg = await world.get("/fapi/v1/aggTrades", f"symbol=BTCUSDT&startTime={world.now_ms}")
    assert [(row["q"], row["m"]) for row in agg] == [("2", True)]
    rows = await world.get("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m")
    assert [(row[1], row[5], row[8]) for row in rows] == [("100001", "1", 1), ("99999", "2", 1)]
    [hour] = await world.get("/fapi/v1/klines", "symbol=BTCUSDT&interval=1h&startTime=1")
    assert (hour[1], hour[2], hour[3], hour[4], hour[5]) == (
        "100001",
        "100001",
        "99999",
        "99999",
        "3",
    )
    day = await world.get("/fapi/v1/ticker/24hr", "symbol=BTCUSDT")
    assert (day["openPrice"], day["lastPrice"], day["count"]) == ("100001", "99999", 2)
    price = await world.get("/fapi/v2/ticker/price", "symbol=BTCUSDT")
    assert price["price"] == "99999"


async def test_funding_rates_are_kept(world: World) -> None:
    """A rate is history once its time has passed."""
    assert await world.get("/fapi/v1/fundingRate", "symbol=BTCUSDT") == []
    world.mark("100100", rate="0.0002", next_ms=START_MS + 9_000)
    [row] = await world.get("/fapi/v1/fundingRate", "symbol=BTCUSDT")
    assert (row["fundingRate"], row["fundingTime"]) == ("0.00010000", START_MS + 1_000)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/fapi/v1/depth", "", -1102),
        ("/fapi/v1/depth", "symbol=NOPE", -1121),
        ("/fapi/v1/depth", "symbol=BTCUSDT&limit=7", -4021),
        ("/fapi/v1/depth", "symbol=BTCUSDT&limit=x", -1130),
        ("/fapi/v1/klines", "symbol=BTCUSDT&interval=7m", -1120),
        ("/fapi/v1/trades", "symbol=BTCUSDT&limit=0", -1130),
    ],
)
async def test_public_refusals(world: World, path: str, query: str, code: int) -> None:
    """Bad parameters are named."""
    status, reply = await world.raw("GET", path, query=query)
    assert (status, reply["code"]) == (400, code)


# --- orders --------------------------------------------------------------------------------------


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
    await world.ok("POST", ALGO, **_stop())
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


# --- conditional orders --------------------------------------------------------------------------


def _stop(**change: object) -> dict[str, object]:
    return {
        "algoType": "CONDITIONAL",
        "symbol": SYMBOL,
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.01",
        "triggerPrice": "99500",
        "clientAlgoId": "stop-1",
        **change,
    }


async def test_stop_waits_apart_from_orders(world: World) -> None:
    """Listed, queried and cancelled on the algo endpoints only."""
    stop = await world.ok("POST", ALGO, **_stop())
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
    await world.ok("POST", ALGO, **_stop(reduceOnly="true"))
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
    await world.ok("POST", ALGO, **_stop(type="STOP", price="100500", side="SELL"))
    world.mark("99400")
    [order] = await world.ok("GET", "/fapi/v1/openOrders", symbol=SYMBOL)
    assert (await world.ok("GET", ALGO, clientAlgoId="stop-1"))["algoStatus"] == "TRIGGERED"
    await world.ok("DELETE", ORDER, symbol=SYMBOL, orderId=order["orderId"])
    assert (await world.ok("GET", ALGO, clientAlgoId="stop-1"))["algoStatus"] == "FINISHED"


async def test_close_position_closes_all(world: World) -> None:
    """Without a quantity."""
    await world.ok("POST", ORDER, **world.market(quantity="0.03"))
    params = _stop(closePosition="true", type="TAKE_PROFIT_MARKET", triggerPrice="100500")
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
    assert await world.code("POST", ALGO, **_stop(**change)) == code


# --- the account ---------------------------------------------------------------------------------


async def test_balances_and_account(world: World) -> None:
    """Both versions tell the same money."""
    await world.ok("POST", ORDER, **world.market())
    [balance] = await world.ok("GET", "/fapi/v2/balance")
    assert (balance["asset"], balance["balance"]) == ("USDT", "99999.499995")
    for version, positions in (("v2", 10), ("v3", 1)):
        account = await world.ok("GET", f"/fapi/{version}/account")
        assert account["totalWalletBalance"] == "99999.499995"
        assert account["totalUnrealizedProfit"] == "-0.01"
        assert len(account["positions"]) == positions
    assert len(await world.ok("GET", "/fapi/v2/positionRisk")) == 10
    [only] = await world.ok("GET", "/fapi/v2/positionRisk", symbol=SYMBOL)
    assert (only["positionAmt"], only["marginType"]) == ("0.01", "cross")


async def test_hedge_mode(world: World) -> None:
    """LONG and SHORT side by side; reduceOnly must not be sent; closing is the other side."""
    path = "/fapi/v1/positionSide/dual"
    assert await world.code("POST", path, dualSidePosition="false") == -4059
    await world.ok("POST", path, dualSidePosition="true")
    assert await world.ok("GET", path) == {"dualSidePosition": True}
    assert await world.code("POST", ORDER, **world.market()) == -4061
    long = world.market(positionSide="LONG")
    assert await world.code("POST", ORDER, **long, reduceOnly="true") == -1106
    await world.ok("POST", ORDER, **long)
    await world.ok("POST", ORDER, **world.market("SELL", positionSide="SHORT"))
    rows = await world.ok("GET", "/fapi/v3/positionRisk")
    assert {row["positionSide"]: row["positionAmt"] for row in rows} == {
        "LONG": "0.01",
        "SHORT": "-0.01",
    }
    assert len(await world.ok("GET", "/fapi/v2/positionRisk", symbol=SYMBOL)) == 2
    assert await world.code("POST", path, dualSidePosition="false") == -4068
    wrong = _stop(side="BUY", positionSide="LONG", closePosition="true", triggerPrice="100500")
    del wrong["quantity"]
    assert await world.code("POST", ALGO, **wrong) == -4061
    await world.ok("POST", ORDER, **world.market("SELL", positionSide="LONG"))
    await world.ok("POST", ORDER, **world.market("BUY", positionSide="SHORT"))
    await world.ok("POST", ORDER, **world.limit(positionSide="LONG"))
    assert await world.code("POST", path, dualSidePosition="false") == -4067


async def test_account_settings(world: World) -> None:
    """Leverage, margin type, asset mode, fees, brackets."""
    reply = await world.ok("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=7)
    assert reply["leverage"] == 7
    assert await world.code("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=126) == -4028
    [config] = await world.ok("GET", "/fapi/v1/symbolConfig", symbol=SYMBOL)
    assert (config["leverage"], config["marginType"]) == (7, "CROSSED")
    path = "/fapi/v1/marginType"
    assert await world.code("POST", path, symbol=SYMBOL, marginType="CROSSED") == -4046
    assert await world.code("POST", path, symbol=SYMBOL, marginType="ISOLATED") == -4168
    assert await world.code("POST", path, symbol=SYMBOL, marginType="X") == -1130
    path = "/fapi/v1/multiAssetsMargin"
    assert await world.ok("GET", path) == {"multiAssetsMargin": False}
    assert await world.code("POST", path, multiAssetsMargin="true") == -4171
    assert await world.code("POST", path, multiAssetsMargin="false") == -4171
    fees = await world.ok("GET", "/fapi/v1/commissionRate", symbol=SYMBOL)
    assert (fees["makerCommissionRate"], fees["takerCommissionRate"]) == ("0.0002", "0.0005")
    [bracket] = await world.ok("GET", "/fapi/v1/leverageBracket", symbol=SYMBOL)
    assert bracket["brackets"][0]["initialLeverage"] == 125
    assert (await world.ok("GET", "/fapi/v1/accountConfig"))["dualSidePosition"] is False
    assert len(await world.ok("GET", "/fapi/v1/rateLimit/order")) == 2


async def test_leverage_that_equity_does_not_carry(world: World) -> None:
    """Refused as margin."""
    await world.ok("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=100)
    await world.ok("POST", ORDER, **world.market(quantity="5"))
    assert await world.code("POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=1) == -2019


async def test_income_has_profit_and_funding(world: World) -> None:
    """Each with its type; a symbol and a time narrow it."""
    await world.ok("POST", ORDER, **world.market())
    world.now_ms += 10
    world.exchange.settle_funding(SYMBOL)
    await world.ok("POST", ORDER, **world.market("SELL"))
    rows = await world.ok("GET", "/fapi/v1/income", symbol=SYMBOL)
    assert [row["incomeType"] for row in rows] == [
        "COMMISSION",
        "COMMISSION",
        "REALIZED_PNL",
        "FUNDING_FEE",
    ]
    [fee] = await world.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert fee["income"] == "-0.1"
    assert await world.ok("GET", "/fapi/v1/income", symbol="ETHUSDT", startTime=1) == []


# --- public streams ------------------------------------------------------------------------------


async def test_book_ticker_is_told_when_it_changes(world: World) -> None:
    """At once, with the update id of the book; deeper changes are silent."""
    async with world.socket("/public/ws") as socket:
        await socket.subscribe("btcusdt@bookTicker")
        world.quote("99998")
        frame = await socket.next()
        book = world.exchange.book(SYMBOL, 1)
        assert (frame["e"], frame["b"], frame["a"], frame["u"]) == (
            "bookTicker",
            "99998",
            "100001",
            book.sequence,
        )
        await world.ok("POST", ORDER, **world.limit())
        await socket.is_silent()
        world.exchange.quote(SYMBOL, [], [])
        await socket.is_silent()


async def test_depth_is_a_chain_that_meets_the_snapshot(world: World) -> None:
    """Each pu is the u before; the snapshot lies inside; applied, the books agree."""
    async with world.socket("/public/stream?streams=btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        frames: list[Any] = []
        for step in range(3):
            world.quote(str(99_990 + step), size=str(step + 1))
            world.quote(str(99_995 + step), size=str(step + 2))
            if step == 0:
                snapshot = await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
            world.now_ms += 100
            message = await socket.next()
            assert message["stream"] == "btcusdt@depth@100ms"
            frames.append(message["data"])
        first = frames[0]
        assert first["U"] <= snapshot["lastUpdateId"] <= first["u"]
        assert [frame["pu"] for frame in frames[1:]] == [frame["u"] for frame in frames[:-1]]
        assert all(frame["U"] <= frame["u"] for frame in frames)
        for side, name in (("b", "bids"), ("a", "asks")):
            book[side].update(dict(snapshot[name]))
            for frame in frames:
                book[side].update(dict(frame[side]))
        found = await world.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000")
        for side, name in (("b", "bids"), ("a", "asks")):
            assert {k: v for k, v in book[side].items() if v != "0"} == dict(found[name])


async def test_partial_depth_tells_the_best_levels(world: World) -> None:
    """Five levels, whole."""
    async with world.socket("/public/ws/btcusdt@depth5@500ms") as socket:
        await socket.is_silent()
        world.quote("99998")
        world.now_ms += 500
        frame = await socket.next()
        assert frame["b"] == [["99998", "5"], ["99988", "50"]]


async def test_lost_depth_frame_breaks_the_chain(world: World) -> None:
    """The fault that book keepers must notice."""
    async with world.socket("/public/ws/btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        world.quote("99990")
        world.now_ms += 100
        before = await socket.next()
        world.server.lose_depth(SYMBOL)
        world.quote("99991")
        world.now_ms += 100
        world.server.pump()
        world.quote("99992")
        world.now_ms += 100
        after = await socket.next()
        assert after["pu"] > before["u"]


async def test_trades_are_told_on_both_routes(world: World) -> None:
    """Single ones on /public, aggregated on /market; m says that the buyer was the maker."""
    async with (
        world.socket("/public/ws/btcusdt@trade") as public,
        world.socket("/market/ws/btcusdt@aggTrade") as market,
    ):
        await public.is_silent()
        await market.is_silent()
        world.outsider(Side.SELL, "1")
        trade, agg = await public.next(), await market.next()
        assert (trade["e"], trade["p"], trade["m"]) == ("trade", "99999", True)
        assert (agg["e"], agg["q"], agg["a"]) == ("aggTrade", "1", trade["t"])


async def test_streams_of_the_market_route(world: World) -> None:
    """Marks of one and of all, the day's ticker, candles: told by the clock."""
    world.outsider(Side.BUY, "1")
    names = ["btcusdt@markPrice@1s", "!markPrice@arr@1s", "btcusdt@ticker", "btcusdt@kline_1m"]
    async with world.socket("/market/stream") as socket:
        await socket.subscribe(*names)
        world.now_ms += 1_000
        told: dict[str, Any] = {}
        while len(told) < len(names):
            message = await socket.next()
            told[message["stream"]] = message["data"]
        assert told[names[0]]["r"] == "0.00010000"
        assert len(told[names[1]]) == 10
        assert told[names[2]]["c"] == "100001"
        assert told[names[3]]["k"]["n"] == 1


async def test_all_book_tickers(world: World) -> None:
    """One name for all symbols."""
    async with world.socket("/public/ws/!bookTicker") as socket:
        await socket.is_silent()
        world.exchange.quote(
            "ETHUSDT", [(Decimal(3000), Decimal(1))], [(Decimal(3001), Decimal(1))]
        )
        assert (await socket.next())["s"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("route", "name"),
    [
        ("/market", "btcusdt@bookTicker"),
        ("/public", "btcusdt@markPrice@1s"),
        ("", "btcusdt@aggTrade"),
        ("/public", "nopeusdt@bookTicker"),
        ("/public", "btcusdt@nothing"),
        ("/market", "btcusdt@kline_7m"),
    ],
)
async def test_wrong_route_is_acknowledged_and_silent(world: World, route: str, name: str) -> None:
    """As the venue does since the split."""
    async with world.socket(f"{route}/ws") as socket:
        await socket.subscribe(name)
        world.quote("99990")
        world.outsider(Side.BUY, "1")
        world.now_ms += 5_000
        world.server.pump()
        reply = await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 5})
        assert reply == {"result": [name], "id": 5}


async def test_old_route_serves_public_streams(world: World) -> None:
    """Without a category."""
    async with world.socket("/ws/btcusdt@bookTicker") as socket:
        await socket.is_silent()
        world.quote("99990")
        assert (await socket.next())["b"] == "99990"


async def test_unsubscribe_ends_a_stream(world: World) -> None:
    """And the last listener ends its making."""
    async with world.socket("/public/ws") as socket:
        await socket.subscribe("btcusdt@depth@100ms", "btcusdt@bookTicker")
        reply = await socket.ask(
            {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 2}
        )
        assert reply == {"result": None, "id": 2}
        world.quote("99990")
        world.now_ms += 1_000
        world.server.pump()
        assert (await socket.next())["e"] == "bookTicker"
        await socket.is_silent()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ({"method": "SUBSCRIBE", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2),
        ({"method": "JUMP", "params": [], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [f"x{n}@trade" for n in range(1025)], "id": 1}, 4),
    ],
    ids=["not json", "not an object", "no params", "not names", "unknown method", "too many"],
)
async def test_bad_stream_requests(world: World, message: object, code: int) -> None:
    """An error reply; the connection lives."""
    async with world.socket("/public/ws") as socket:
        assert (await socket.ask(message))["error"]["code"] == code
        await socket.is_silent()


async def test_too_many_messages_end_the_connection(world: World) -> None:
    """Ten a second."""
    async with world.socket("/public/ws") as socket:
        for _ in range(10):
            await socket.is_silent()
        await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert (await socket.socket.receive()).type is not aiohttp.WSMsgType.TEXT


async def test_pings_and_the_24_hour_cut(world: World) -> None:
    """A ping every three minutes; after a day the connection ends."""
    url = world.serving.ws_url + "/public/ws"
    async with world.web.ws_connect(url, autoping=False) as socket:
        await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        await socket.receive()
        world.now_ms += PING_EVERY_NS // 1_000_000
        world.server.pump()
        assert (await socket.receive()).type is aiohttp.WSMsgType.PING
        world.now_ms += MAX_CONNECTION_NS // 1_000_000
        world.server.pump()
        assert (await socket.receive()).type in {
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        }


async def test_dead_stream_client_leaves_nothing(world: World) -> None:
    """News after its end meets nobody."""
    async with world.socket("/public/ws/btcusdt@depth@100ms") as socket:
        await socket.is_silent()
        connection = socket.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        async with asyncio.timeout(5):
            while world.server.clients:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
    world.quote("99990")
    world.now_ms += 100
    world.server.pump()


# --- the user stream -----------------------------------------------------------------------------


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
        await world.ok("POST", ALGO, **_stop())
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
        await world.ok("POST", ALGO, **_stop())
        await world.ok("DELETE", ALGO, clientAlgoId="stop-1")
        assert [(await socket.next())["o"]["X"] for _ in range(2)] == ["NEW", "CANCELED"]
        await world.ok("POST", ALGO, **_stop(reduceOnly="true"))
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


# --- the websocket API ---------------------------------------------------------------------------


def _api(world: World, method: str, **params: object) -> dict[str, Any]:
    given = {"apiKey": world.keys["api_key"], "timestamp": world.now_ms, **params}
    payload = "&".join(f"{key}={_word(given[key])}" for key in sorted(given))
    return {"id": "r1", "method": method, "params": {**given, "signature": world.sign(payload)}}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def test_api_order_life(world: World) -> None:
    """Place, status, modify, cancel; each reply with its limits."""
    async with world.socket("/ws-fapi/v1") as socket:
        params = world.limit(reduceOnly=False)
        placed = await socket.ask(_api(world, "order.place", **params))
        assert (placed["id"], placed["status"]) == ("r1", 200)
        assert placed["rateLimits"][1]["count"] == 1
        name = {"symbol": SYMBOL, "orderId": placed["result"]["orderId"]}
        status = await socket.ask(_api(world, "order.status", **name))
        assert status["result"]["status"] == "NEW"
        change = {**name, "side": "BUY", "quantity": "0.02", "price": "98000"}
        changed = await socket.ask(_api(world, "order.modify", **change))
        assert changed["result"]["origQty"] == "0.02"
        gone = await socket.ask(_api(world, "order.cancel", **name))
        assert gone["result"]["status"] == "CANCELED"
        again = await socket.ask(_api(world, "order.cancel", **name))
        assert (again["status"], again["error"]["code"]) == (400, -2011)


async def test_api_account_market_and_keys(world: World) -> None:
    """The other methods; a leading slash is accepted."""
    async with world.socket("/ws-fapi/v1") as socket:
        balance = await socket.ask(_api(world, "/v2/account.balance"))
        assert balance["result"][0]["balance"] == "100000"
        ticker = {"id": 1, "method": "ticker.book", "params": {"symbol": SYMBOL}}
        assert (await socket.ask(ticker))["result"]["bidPrice"] == "99999"
        key = {"id": 2, "method": "userDataStream.start", "params": {}}
        assert (await socket.ask(key))["error"]["code"] == -2014
        key["params"] = {"apiKey": world.keys["api_key"]}
        assert (await socket.ask(key))["result"]["listenKey"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", -1135),
        ("[]", -1135),
        ({"id": 1, "method": "nothing"}, -1100),
        ({"id": 1, "method": "order.place", "params": [1]}, -1130),
        ({"id": 1, "method": "account.balance", "params": {"apiKey": "x"}}, -2015),
    ],
    ids=["not json", "not an object", "unknown", "params", "key"],
)
async def test_api_refusals(world: World, message: object, code: int) -> None:
    """An error reply; the connection lives."""
    async with world.socket("/ws-fapi/v1") as socket:
        for _ in range(2):
            assert (await socket.ask(message))["error"]["code"] == code


async def test_api_wrong_signature(world: World) -> None:
    """-1022."""
    request = _api(world, "account.balance")
    request["params"]["timestamp"] += 1
    async with world.socket("/ws-fapi/v1") as socket:
        assert (await socket.ask(request))["error"]["code"] == -1022
