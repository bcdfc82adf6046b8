"""Binance's server: signatures, time, limits, public requests."""

from __future__ import annotations

import json

import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.binance.requests import sign
from tests.unit.simulation.wire.binance.rig import BATCH, ORDER
from tests.unit.simulation.wire.binance.world import START_MS, SYMBOL, World


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
