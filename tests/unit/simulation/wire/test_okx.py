from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.okx import CONTRACTS, PROFILE, Server
from perpbot.simulation.wire.okx.auth import expected_sign
from tests.unit.simulation.wire.client import ClientSocket, ServedRig

BTC = "BTC-USDT-SWAP"
CODE = 10459
SECOND = 1_000_000_000
D = Decimal


class Sock(ClientSocket):
    """One websocket of the client under test."""

    async def subscribe(self, channel: str, **arg: str) -> dict[str, Any]:
        args = [{"channel": channel} | arg]
        answer: dict[str, Any] = await self.ask({"op": "subscribe", "args": args})
        assert answer["event"] == "subscribe", answer
        return answer

    async def settled(self) -> None:
        """Fail unless nothing but a pong comes."""
        await self.send("ping")
        assert (await self.raw()).data == "pong"


class Rig(ServedRig[Sock]):
    """A server on loopback with one book, and a client that signs by itself."""

    def __init__(self, **options: Any) -> None:
        self.now_ns = 1_795_000_000 * SECOND
        exchange = Exchange(PROFILE, CONTRACTS, lambda: self.now_ns, Accountant())
        exchange.open_account("client", {"USDT": D(10_000)})
        self.server = Server(exchange, lambda: self.now_ns, random.Random(7), **options)
        self.keys = self.server.credentials()
        super().__init__(exchange, self.server, BTC)

    def headers(self, method: str, path: str, body: str) -> dict[str, str]:
        moment = datetime.fromtimestamp(self.now_ns / SECOND, UTC)
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        secret = self.keys["api_secret"].encode()
        digest = hmac.new(secret, (stamp + method + path + body).encode(), hashlib.sha256)
        return {
            "OK-ACCESS-KEY": self.keys["api_key"],
            "OK-ACCESS-SIGN": base64.b64encode(digest.digest()).decode(),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": self.keys["passphrase"],
            "Content-Type": "application/json",
        }

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        status: int = 200,
    ) -> dict[str, Any]:
        path = f"/api/v5/{path}"
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        signed = self.headers(method, path, text) | (headers or {})
        async with self.http.request(
            method, self.url + path, data=text.encode(), headers=signed
        ) as reply:
            assert reply.status == status, await reply.text()
            value: dict[str, Any] = await reply.json()
            return value

    async def get(self, path: str) -> list[Any]:
        reply = await self.call("GET", path)
        assert reply["code"] == "0", reply
        data: list[Any] = reply["data"]
        return data

    async def place(self, **changes: Any) -> dict[str, Any]:
        reply = await self.call("POST", "trade/order", order(**changes))
        result: dict[str, Any] = reply["data"][0]
        return result

    async def socket(self, kind: str = "public", *, login: bool = False) -> Sock:
        ws = self.url.replace("http", "ws")
        sock = Sock(await self.http.ws_connect(f"{ws}/ws/v5/{kind}"))
        self.sockets.append(sock)
        if login:
            answer = await sock.ask({"op": "login", "args": [self.login()]})
            assert answer["code"] == "0", answer
        return sock

    def login(self, **changes: str) -> dict[str, str]:
        stamp = str(self.now_ns // SECOND)
        sign = expected_sign(self.keys["api_secret"], f"{stamp}GET/users/self/verify")
        return {
            "apiKey": self.keys["api_key"],
            "passphrase": self.keys["passphrase"],
            "timestamp": stamp,
            "sign": sign,
        } | changes


def order(**changes: Any) -> dict[str, Any]:
    """Return a resting buy of two contracts, by name."""
    row = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "90"}
    return row | {"sz": "2"} | changes


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server as the venue is today."""
    async with Rig().served() as made:
        yield made


@pytest.fixture
async def bare_rig() -> AsyncIterator[Rig]:
    """A server whose books start without a snapshot."""
    async with Rig(books_snapshot=False).served() as made:
        yield made


# --- signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prehash", "sign"),
    [
        (
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance",
            "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k=",
        ),
        (
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC",
            "ebNz0sDoc3LoFm1hqjP8LDT0fnRlDERj5C+I4ZqB4Cw=",
        ),
        ("1538054050GET/users/self/verify", "ENpPNQ8mQv8YzDMPhBsB4SrjaKK+FaEh2nozTRW6KU0="),
    ],
    ids=["rest", "query", "login"],
)
def test_expected_sign_equals_known_vectors(prehash: str, sign: str) -> None:
    """The venue's published signatures come out."""
    assert expected_sign("chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO", prehash) == sign


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"OK-ACCESS-KEY": ""}, "50103"),
        ({"OK-ACCESS-PASSPHRASE": ""}, "50104"),
        ({"OK-ACCESS-SIGN": ""}, "50106"),
        ({"OK-ACCESS-TIMESTAMP": ""}, "50107"),
        ({"OK-ACCESS-KEY": "other"}, "50111"),
        ({"OK-ACCESS-TIMESTAMP": "yesterday"}, "50112"),
        ({"OK-ACCESS-TIMESTAMP": "1Z"}, "50112"),
        ({"OK-ACCESS-TIMESTAMP": "2020-12-08T09:08:57.715Z"}, "50102"),
        ({"OK-ACCESS-PASSPHRASE": "wrong"}, "50105"),
        ({"OK-ACCESS-SIGN": "AAAA"}, "50113"),
    ],
)
async def test_rest_with_a_wrong_header_is_denied(
    rig: Rig, change: dict[str, str], code: str
) -> None:
    """Each header is checked and has its own code; nothing happens."""
    reply = await rig.call("POST", "trade/order", order(), headers=change, status=401)
    assert (reply["code"], reply["data"]) == (code, [])
    assert rig.exchange.open_orders("client") == []


async def test_rest_signature_covers_the_body_and_the_query(rig: Rig) -> None:
    """A signature of something else is no signature."""
    signed = rig.headers("POST", "/api/v5/trade/order", "{}")
    assert (await rig.call("POST", "trade/order", order(), headers=signed, status=401))[
        "code"
    ] == ("50113")
    signed = rig.headers("GET", "/api/v5/account/balance", "")
    reply = await rig.call("GET", "account/balance?ccy=BTC", headers=signed, status=401)
    assert reply["code"] == "50113"


async def test_rest_unknown_paths_and_unreadable_bodies_are_refused(rig: Rig) -> None:
    """404 for what does not exist, 400 and 50002 for what is no JSON, 50002 for a wrong shape."""
    assert (await rig.call("GET", "public/nothing", status=404))["code"] == "404"
    assert (await rig.call("DELETE", "trade/order", status=404))["code"] == "404"
    assert (await rig.call("POST", "trade/order", '{"a"', status=400))["code"] == "50002"
    assert (await rig.call("POST", "trade/order", []))["code"] == "50002"
    assert (await rig.call("POST", "trade/batch-orders", {}))["code"] == "50002"
    assert (await rig.call("POST", "trade/batch-orders", []))["code"] == "51000"
    assert (await rig.call("POST", "trade/batch-orders", [order()] * 21))["code"] == "51000"
    wrong = await rig.call("POST", "trade/order", order(), headers={"expTime": "soon"})
    assert wrong["code"] == "51000"


# --- public queries ----------------------------------------------------------------------------


async def test_instruments_tell_contracts_and_codes(rig: Rig) -> None:
    """Ten swaps with contract sizes, steps in contracts and the code of the order entry."""
    data = await rig.get("public/instruments?instType=SWAP")
    assert len(data) == 10
    row = data[0]
    picked = [row[k] for k in ("instId", "ctVal", "ctMult", "lotSz", "minSz", "tickSz", "uly")]
    assert picked == [BTC, "0.01", "1", "0.01", "0.01", "0.1", "BTC-USDT"]
    assert (row["instIdCode"], row["groupId"], row["state"]) == (CODE, "1", "live")
    assert await rig.get("public/instruments?instType=SPOT") == []
    one = await rig.get("public/instruments?instType=SWAP&instId=ETH-USDT-SWAP")
    assert [r["instId"] for r in one] == ["ETH-USDT-SWAP"]
    assert (await rig.call("GET", "public/instruments"))["code"] == "51000"


async def test_market_queries_speak_contracts(rig: Rig) -> None:
    """Books, tickers, trades and candles give sizes in contracts."""
    assert await rig.get("public/time") == [{"ts": str(rig.now_ns // 1_000_000)}]
    book = (await rig.get(f"market/books?instId={BTC}&sz=2&source=0"))[0]
    assert book["bids"] == [["100", "500", "0", "1"], ["99.9", "300", "0", "1"]]
    assert book["seqId"] == rig.exchange.book(BTC).sequence
    await rig.place(ordType="market", px="", sz="3")
    trade = (await rig.get(f"market/trades?instId={BTC}&limit=1"))[0]
    assert (trade["px"], trade["sz"], trade["side"]) == ("100.1", "3", "buy")
    ticker = (await rig.get(f"market/ticker?instId={BTC}"))[0]
    picked = [ticker[k] for k in ("last", "lastSz", "bidPx", "askSz", "vol24h", "volCcy24h")]
    assert picked == ["100.1", "3", "100", "397", "3", "0.03"]
    assert len(await rig.get("market/tickers?instType=SWAP")) == 10
    candle = (await rig.get(f"market/candles?instId={BTC}&bar=1m"))[0]
    assert candle[1:] == ["100.1", "100.1", "100.1", "100.1", "3", "0.03", "3.003", "0"]
    assert await rig.get("system/status") == []


async def test_marks_and_funding_are_told_with_their_history(rig: Rig) -> None:
    """The last rate before the funding time moved on is the one that was paid."""
    rig.mark("101", rate="0.0002")
    rig.mark("102", rate="0.0003", next_s=1_795_032_400)
    assert (await rig.get(f"public/mark-price?instType=SWAP&instId={BTC}"))[0]["markPx"] == "102"
    funding = (await rig.get(f"public/funding-rate?instId={BTC}"))[0]
    assert (funding["fundingRate"], funding["fundingTime"]) == ("0.0003", "1795032400000")
    assert int(funding["nextFundingTime"]) - int(funding["fundingTime"]) == 28_800_000
    history = await rig.get(f"public/funding-rate-history?instId={BTC}")
    assert [(r["realizedRate"], r["fundingTime"]) for r in history] == [
        ("0.0002", "1795003600000")
    ]
    assert (await rig.get("market/index-tickers?instId=BTC-USDT"))[0]["idxPx"] == "102"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("market/books", "51000"),
        ("market/books?instId=XXX", "51001"),
        (f"market/books?instId={BTC}&sz=9999", "51000"),
        (f"market/candles?instId={BTC}&bar=7m", "51000"),
        ("market/index-tickers?instId=X", "51001"),
        ("trade/order?instId=XXX&ordId=1", "51001"),
        (f"trade/order?instId={BTC}", "51000"),
        (f"trade/order?instId={BTC}&ordId=77", "51603"),
        (f"trade/order?instId={BTC}&ordId=x", "51603"),
        ("trade/order-algo?algoId=5", "51603"),
    ],
)
async def test_queries_that_name_nothing_are_refused(rig: Rig, path: str, code: str) -> None:
    """Each has the venue's code."""
    assert (await rig.call("GET", path))["code"] == code


# --- orders by REST ----------------------------------------------------------------------------


async def test_an_order_lives_through_query_amend_and_cancel(rig: Rig) -> None:
    """Contracts become base coins and come back as contracts."""
    placed = await rig.place(clOrdId="abc123", tag="t1")
    assert (placed["sCode"], placed["clOrdId"], placed["tag"]) == ("0", "abc123", "t1")
    assert rig.exchange.open_orders("client")[0].ticket.quantity == D("0.02")
    found = (await rig.get(f"trade/order?instId={BTC}&clOrdId=abc123"))[0]
    assert [found[k] for k in ("ordId", "sz", "px", "state", "accFillSz", "reduceOnly")] == [
        placed["ordId"],
        "2",
        "90",
        "live",
        "0",
        "false",
    ]
    change = {"instId": BTC, "clOrdId": "abc123", "newSz": "3", "newPx": "91", "reqId": "r1"}
    amended = (await rig.call("POST", "trade/amend-order", change))["data"][0]
    assert (amended["sCode"], amended["reqId"], amended["ordId"]) == ("0", "r1", placed["ordId"])
    pending = await rig.get("trade/orders-pending?instType=SWAP")
    assert [(r["sz"], r["px"]) for r in pending] == [("3", "91")]
    name = {"instId": BTC, "ordId": placed["ordId"]}
    assert (await rig.call("POST", "trade/cancel-order", name))["code"] == "0"
    again = await rig.call("POST", "trade/cancel-order", name)
    assert (again["code"], again["data"][0]["sCode"]) == ("1", "51400")
    history = await rig.get("trade/orders-history?instType=SWAP")
    assert [(r["state"], r["cancelSource"]) for r in history] == [("canceled", "1")]
    assert await rig.get("trade/orders-pending") == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"instId": ""}, "51000"),
        ({"instId": "NOPE"}, "51001"),
        ({"tdMode": "isolated"}, "51000"),
        ({"side": "hold"}, "51000"),
        ({"posSide": "long"}, "51000"),
        ({"ordType": "iceberg"}, "51000"),
        ({"sz": "0"}, "51000"),
        ({"sz": "NaN"}, "51000"),
        ({"sz": "many"}, "51000"),
        ({"sz": "0.001"}, "51020"),
        ({"sz": "1.005"}, "51121"),
        ({"px": ""}, "51000"),
        ({"px": "90.05"}, "51000"),
        ({"px": "500"}, "51006"),
        ({"clOrdId": "has-dash"}, "51000"),
        ({"clOrdId": "a" * 33}, "51000"),
        ({"tag": "t" * 17}, "51000"),
        ({"stpMode": "none"}, "51000"),
        ({"sz": "9999999"}, "51008"),
        ({"reduceOnly": True}, "51205"),
    ],
)
async def test_a_wrong_order_is_refused_with_its_code(
    rig: Rig, change: dict[str, Any], code: str
) -> None:
    """Envelope 1, the reason in sCode, no order."""
    reply = await rig.call("POST", "trade/order", order(**change))
    assert (reply["code"], reply["data"][0]["sCode"], reply["data"][0]["ordId"]) == ("1", code, "")
    assert rig.exchange.open_orders("client") == []


async def test_batches_say_code_2_when_only_some_failed(rig: Rig) -> None:
    """Order, amend and cancel in batches; every item has its own result."""
    rows = [order(clOrdId="a1"), order(px="x"), order(clOrdId="a1")]
    reply = await rig.call("POST", "trade/batch-orders", rows)
    assert (reply["code"], [r["sCode"] for r in reply["data"]]) == ("2", ["0", "51000", "51016"])
    changes = [{"instId": BTC, "clOrdId": "a1", "newPx": "92"}, {"instId": BTC, "clOrdId": "zz"}]
    reply = await rig.call("POST", "trade/amend-batch-orders", changes)
    assert (reply["code"], [r["sCode"] for r in reply["data"]]) == ("2", ["0", "51503"])
    names = [{"instId": BTC, "clOrdId": "a1"}, {"instId": BTC}]
    reply = await rig.call("POST", "trade/cancel-batch-orders", names)
    assert (reply["code"], [r["sCode"] for r in reply["data"]]) == ("2", ["0", "51000"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "51000"),
        ({"newPx": "91.01"}, "51000"),
        ({"newSz": "0.015"}, "51121"),
        ({"newSz": "99999999"}, "51008"),
    ],
    ids=["nothing", "tick", "lot", "margin"],
)
async def test_a_wrong_amendment_leaves_the_order_or_cancels_it(
    rig: Rig, change: dict[str, Any], code: str
) -> None:
    """What happens is up to cxlOnFail."""
    await rig.place(clOrdId="keep")
    row = {"instId": BTC, "clOrdId": "keep"} | change
    reply = await rig.call("POST", "trade/amend-order", row)
    assert reply["data"][0]["sCode"] == code
    assert len(rig.exchange.open_orders("client")) == 1
    reply = await rig.call("POST", "trade/amend-order", row | {"cxlOnFail": True})
    assert reply["data"][0]["sCode"] == code
    assert rig.exchange.open_orders("client") == []


async def test_an_expired_request_is_refused(rig: Rig) -> None:
    """An expTime in the past is 50036 for orders and amendments."""
    late = {"expTime": str(rig.now_ns // 1_000_000 - 1)}
    soon = {"expTime": str(rig.now_ns // 1_000_000 + 1_000)}
    reply = await rig.call("POST", "trade/order", order(), headers=late)
    assert reply["data"][0]["sCode"] == "50036"
    reply = await rig.call("POST", "trade/order", order(clOrdId="x1"), headers=soon)
    assert reply["code"] == "0"
    change = {"instId": BTC, "clOrdId": "x1", "newPx": "91"}
    reply = await rig.call("POST", "trade/amend-order", change, headers=late)
    assert reply["data"][0]["sCode"] == "50036"


async def test_fills_positions_balance_and_bills_agree(rig: Rig) -> None:
    """A taker pays 5 bps; fees are negative; the position is in contracts."""
    await rig.place(ordType="market", px="", sz="4")
    fill = (await rig.get(f"trade/fills?instType=SWAP&instId={BTC}"))[0]
    assert [fill[k] for k in ("fillPx", "fillSz", "side", "execType", "fee")] == [
        "100.1",
        "4",
        "buy",
        "T",
        "-0.002002",
    ]
    position = (await rig.get("account/positions"))[0]
    assert [position[k] for k in ("instId", "pos", "posSide", "avgPx", "mgnMode")] == [
        BTC,
        "4",
        "net",
        "100.1",
        "cross",
    ]
    assert await rig.get("account/positions?instId=ETH-USDT-SWAP") == []
    assert await rig.get("account/positions?instType=FUTURES") == []
    detail = (await rig.get("account/balance?ccy=USDT"))[0]["details"][0]
    assert (detail["ccy"], detail["cashBal"]) == ("USDT", "9999.997998")
    assert (await rig.get("account/balance?ccy=BTC"))[0]["details"] == []
    rig.mark("100", rate="0.001")
    rig.exchange.settle_funding(BTC)
    bills = await rig.get("account/bills")
    assert sorted((r["type"], r["balChg"]) for r in bills) == [("2", "-0.002002"), ("8", "-0.004")]
    assert [r["subType"] for r in await rig.get("account/bills?type=8")] == ["173"]
    found = (await rig.get("trade/orders-history?instType=SWAP"))[0]
    assert (found["state"], found["fillSz"], found["ordType"]) == ("filled", "4", "market")


async def test_lists_page_by_id_and_time(rig: Rig) -> None:
    """`after` is older, `before` newer, `limit` the page, newest first."""
    for _ in range(3):
        await rig.place()
        rig.now_ns += SECOND
    ids = [r["ordId"] for r in await rig.get("trade/orders-pending")]
    assert ids == ["3", "2", "1"]
    assert [r["ordId"] for r in await rig.get("trade/orders-pending?after=3&limit=1")] == ["2"]
    assert [r["ordId"] for r in await rig.get("trade/orders-pending?before=2")] == ["3"]
    middle = rig.now_ns // 1_000_000 - 2_000
    path = f"trade/orders-pending?begin={middle}&end={middle}"
    assert [r["ordId"] for r in await rig.get(path)] == ["2"]


async def test_hedge_mode_needs_sides_and_holds_two_legs(rig: Rig) -> None:
    """long_short_mode: posSide required, both legs positive, close-position ends one."""
    wrong = await rig.call("POST", "account/set-position-mode", {"posMode": "both"})
    assert wrong["code"] == "51000"
    reply = await rig.call("POST", "account/set-position-mode", {"posMode": "long_short_mode"})
    assert reply["data"] == [{"posMode": "long_short_mode"}]
    assert (await rig.place())["sCode"] == "51000"
    assert (await rig.place(ordType="market", px="", posSide="long"))["sCode"] == "0"
    short = await rig.place(ordType="market", px="", side="sell", posSide="short", sz="1")
    assert short["sCode"] == "0"
    legs = {r["posSide"]: r["pos"] for r in await rig.get("account/positions")}
    assert legs == {"long": "2", "short": "1"}
    assert (await rig.get("account/config"))[0]["posMode"] == "long_short_mode"
    assert len(await rig.get(f"account/leverage-info?instId={BTC}&mgnMode=cross")) == 2
    busy = await rig.call("POST", "account/set-position-mode", {"posMode": "net_mode"})
    assert busy["code"] == "59000"
    close = {"instId": BTC, "mgnMode": "cross", "posSide": "long"}
    assert (await rig.call("POST", "trade/close-position", close))["code"] == "0"
    assert [r["posSide"] for r in await rig.get("account/positions")] == ["short"]
    assert (await rig.call("POST", "trade/close-position", close))["code"] == "51023"


async def test_close_position_minds_resting_closes(rig: Rig) -> None:
    """With a resting close it needs autoCxl."""
    await rig.place(ordType="market", px="")
    await rig.place(side="sell", px="110", reduceOnly="true")
    close = {"instId": BTC, "mgnMode": "cross"}
    assert (await rig.call("POST", "trade/close-position", close))["code"] == "51405"
    reply = await rig.call("POST", "trade/close-position", close | {"autoCxl": True})
    assert reply["code"] == "0"
    assert await rig.get("account/positions") == []


async def test_leverage_fees_and_config(rig: Rig) -> None:
    """Leverage is kept within its limit; fees are those of the base tier, negative."""
    row = {"instId": BTC, "lever": "5", "mgnMode": "cross"}
    assert (await rig.call("POST", "account/set-leverage", row))["data"][0]["lever"] == "5"
    info = await rig.get(f"account/leverage-info?instId={BTC}&mgnMode=cross")
    assert [(r["lever"], r["posSide"]) for r in info] == [("5", "net")]
    for change, code in (
        ({"lever": "101"}, "59102"),
        ({"lever": "0"}, "51000"),
        ({"mgnMode": "isolated"}, "51000"),
        ({"instId": "X"}, "51001"),
    ):
        assert (await rig.call("POST", "account/set-leverage", row | change))["code"] == code
    fee = (await rig.get("account/trade-fee?instType=SWAP"))[0]
    assert (fee["maker"], fee["taker"]) == ("-0.0002", "-0.0005")
    assert (await rig.get("account/config"))[0]["posMode"] == "net_mode"


async def test_algo_orders_wait_fire_and_cancel(rig: Rig) -> None:
    """Triggers wait apart from orders; a refused one comes in an envelope that says 0."""
    rig.mark("100")
    await rig.place(ordType="market", px="", sz="4")
    stop = {
        "instId": BTC,
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "slTriggerPx": "95",
        "slOrdPx": "-1",
    }
    closing = stop | {"closeFraction": "1", "reduceOnly": True, "algoClOrdId": "stop1"}
    placed = (await rig.call("POST", "trade/order-algo", closing))["data"][0]
    assert placed["sCode"] == "0"
    assert await rig.get("trade/orders-pending") == []
    waiting = (await rig.get("trade/orders-algo-pending?ordType=conditional"))[0]
    assert [waiting[k] for k in ("algoClOrdId", "closeFraction", "slTriggerPx", "sz")] == [
        "stop1",
        "1",
        "95",
        "",
    ]
    for wrong in (
        stop | {"closeFraction": "1"},
        stop | {"ordType": "oco"},
        stop | {"slTriggerPx": "105", "sz": "1"},
        stop | {"sz": "1", "algoClOrdId": "a-b"},
    ):
        reply = await rig.call("POST", "trade/order-algo", wrong)
        assert (reply["code"], reply["data"][0]["algoId"]) == ("0", "")
        assert reply["data"][0]["sCode"] in ("51000", "51280")
    profit = stop | {"slTriggerPx": "", "tpTriggerPx": "120", "tpOrdPx": "119", "sz": "1"}
    second = (await rig.call("POST", "trade/order-algo", profit))["data"][0]["algoId"]
    entry = stop | {"ordType": "trigger", "triggerPx": "130", "orderPx": "130.1", "sz": "1"}
    third = (await rig.call("POST", "trade/order-algo", entry | {"side": "buy"}))["data"][0]
    assert third["sCode"] == "0"
    names = [{"instId": BTC, "algoId": second}, {"instId": BTC, "algoId": "99"}]
    reply = await rig.call("POST", "trade/cancel-algos", names)
    assert (reply["code"], [r["sCode"] for r in reply["data"]]) == ("2", ["0", "51400"])
    rig.mark("94")
    assert await rig.get("account/positions") == []
    states = {r["algoId"]: r["state"] for r in await rig.get("trade/orders-algo-history")}
    assert states == {placed["algoId"]: "effective", second: "canceled"}
    assert (await rig.get("trade/order-algo?algoClOrdId=stop1"))[0]["state"] == "effective"


async def test_cancel_all_after_arms_and_disarms(rig: Rig) -> None:
    """10 to 120 seconds arm, 0 disarms; algo orders stay."""
    path = "trade/cancel-all-after"
    for wrong in ("5", "121", "x"):
        assert (await rig.call("POST", path, {"timeOut": wrong}))["code"] == "51000"
    armed = (await rig.call("POST", path, {"timeOut": "10"}))["data"][0]
    assert int(armed["triggerTime"]) == rig.now_ns // 1_000_000 + 10_000
    off = (await rig.call("POST", path, {"timeOut": "0"}))["data"][0]
    assert off["triggerTime"] == "0"
    await rig.call("POST", path, {"timeOut": "10"})
    placed = await rig.place()
    rig.now_ns += 11 * SECOND
    rig.exchange.advance()
    found = (await rig.get(f"trade/order?instId={BTC}&ordId={placed['ordId']}"))[0]
    assert (found["state"], found["cancelSource"]) == ("canceled", "20")


async def test_faults_answer_in_place_of_the_truth(rig: Rig) -> None:
    """50011 does nothing and is HTTP 429; 50004 acts all the same."""
    rig.server.fail_next("50011", "Too Many Requests")
    reply = await rig.call("POST", "trade/order", order(), status=429)
    assert reply["code"] == "50011"
    assert rig.exchange.open_orders("client") == []
    rig.server.fail_next("50004", "Endpoint request timeout", acted=True)
    assert (await rig.call("POST", "trade/order", order()))["code"] == "50004"
    assert len(rig.exchange.open_orders("client")) == 1


# --- public websocket --------------------------------------------------------------------------


async def test_ping_and_unreadable_frames(rig: Rig) -> None:
    """Text pong; a bad frame comes back inside an error 60012."""
    sock = await rig.socket()
    await sock.settled()
    for frame in ("{nope", "[]", '{"op":"subscribe"}', '{"op":"fly","args":[{}]}'):
        error = await sock.ask(frame)
        assert (error["event"], error["code"]) == ("error", "60012")
        assert frame in error["msg"]
    error = await sock.ask({"id": "5", "op": "subscribe", "args": ["books"]})
    assert (error["code"], error["id"]) == ("60012", "5")


@pytest.mark.parametrize(
    "arg",
    [
        {"channel": "dreams", "instId": BTC},
        {"channel": "books", "instId": "NOPE"},
        {"channel": "instruments", "instType": "SPOT"},
        {"channel": "orders", "instType": "SWAP"},
    ],
    ids=["channel", "instrument", "kind", "private"],
)
async def test_what_does_not_exist_is_60018(rig: Rig, arg: dict[str, str]) -> None:
    """Unknown channels and instruments, and private channels on the public path."""
    sock = await rig.socket()
    error = await sock.ask({"id": "1", "op": "subscribe", "args": [arg]})
    assert (error["event"], error["code"], error["id"]) == ("error", "60018", "1")


async def test_bbo_is_told_when_the_best_changes_at_most_each_10_ms(rig: Rig) -> None:
    """Snapshot first; depth behind the best is silent; a burst becomes one frame."""
    sock = await rig.socket()
    answer = await sock.subscribe("bbo-tbt", instId=BTC)
    assert answer["arg"] == {"channel": "bbo-tbt", "instId": BTC}
    first = await sock.next()
    assert first["arg"] == answer["arg"]
    assert first["data"][0]["bids"] == [["100", "500", "0", "1"]]
    rig.quote("100.0x5 99.8x3", "100.1x4 100.2x6")
    await sock.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await sock.next())["data"][0]["bids"][0][1] == "600"
    rig.quote("100.0x7", "100.1x4")
    rig.quote("100.0x8", "100.1x4")
    await sock.settled()
    rig.now_ns += 10_000_000
    assert (await sock.next())["data"][0]["bids"][0][1] == "800"
    await sock.send({"op": "unsubscribe", "args": [{"channel": "bbo-tbt", "instId": BTC}]})
    assert (await sock.next())["event"] == "unsubscribe"
    assert list(rig.server.topics.topics()) == []


async def test_books_start_with_a_snapshot_and_chain(rig: Rig) -> None:
    """Each prevSeqId is the last seqId through merged updates; checksum 0; then a keep-alive."""
    sock = await rig.socket()
    await sock.subscribe("books", instId=BTC)
    snapshot = await sock.next()
    assert (snapshot["action"], snapshot["data"][0]["prevSeqId"]) == ("snapshot", -1)
    sequence = snapshot["data"][0]["seqId"]
    rig.quote("100.0x6", "100.1x4 100.2x6")
    update = await sock.next()
    row = update["data"][0]
    assert (update["action"], row["prevSeqId"], row["checksum"]) == ("update", sequence, 0)
    assert row["bids"] == [["100", "600", "0", "1"], ["99.9", "0", "0", "0"]]
    sequence = row["seqId"]
    rig.quote("100.0x7", "100.1x4 100.2x6")
    rig.quote("100.0x7", "100.1x4 100.3x6")
    await sock.settled()
    rig.now_ns += 100_000_000
    row = (await sock.next())["data"][0]
    assert (row["prevSeqId"], row["seqId"]) == (sequence, sequence + 2)
    assert [level[0] for level in row["asks"]] == ["100.2", "100.3"]
    rig.now_ns += 60 * SECOND
    row = (await sock.next())["data"][0]
    assert (row["bids"], row["asks"], row["prevSeqId"]) == ([], [], row["seqId"])


async def test_a_second_book_client_stands_where_the_first_does(rig: Rig) -> None:
    """What waits is sent to the first before the second gets its snapshot."""
    first = await rig.socket()
    await first.subscribe("books", instId=BTC)
    await first.next()
    rig.quote("100.0x6", "100.1x4")
    await first.next()
    rig.quote("100.0x7", "100.1x4")
    second = await rig.socket()
    await second.subscribe("books", instId=BTC)
    snapshot = (await second.next())["data"][0]
    assert (await first.next())["data"][0]["seqId"] == snapshot["seqId"]
    rig.now_ns += 100_000_000
    rig.quote("100.0x8", "100.1x4")
    ends = [(await sock.next())["data"][0]["prevSeqId"] for sock in (first, second)]
    assert ends == [snapshot["seqId"]] * 2


async def test_books_without_snapshot_and_with_a_gap(bare_rig: Rig) -> None:
    """The switch leaves the snapshot out; a lost update shows as a broken chain."""
    sock = await bare_rig.socket()
    await sock.subscribe("books", instId=BTC)
    await sock.settled()
    bare_rig.quote("100.0x6", "100.1x4")
    first = await sock.next()
    assert first["action"] == "update"
    bare_rig.server.streams.lose_update(BTC)
    for size in ("7", "8"):
        bare_rig.now_ns += 100_000_000
        bare_rig.quote(f"100.0x{size}", "100.1x4")
    assert (await sock.next())["data"][0]["prevSeqId"] != first["data"][0]["seqId"]


async def test_other_public_channels(rig: Rig) -> None:
    """books5, tickers, trades, mark-price, funding-rate, index-tickers and instruments."""
    sock = await rig.socket()
    await sock.subscribe("instruments", instType="SWAP")
    assert len((await sock.next())["data"]) == 10
    await sock.subscribe("books5", instId=BTC)
    assert len((await sock.next())["data"][0]["bids"]) == 2
    await sock.subscribe("trades", instId=BTC)
    rig.exchange.take(BTC, Side.SELL, D("0.02"))
    frames = [await sock.next(), await sock.next()]
    by_channel = {frame["arg"]["channel"]: frame["data"][0] for frame in frames}
    assert (by_channel["trades"]["sz"], by_channel["trades"]["side"]) == ("2", "sell")
    assert by_channel["books5"]["bids"][0] == ["100", "498", "0", "1"]
    for channel, name in (
        ("tickers", BTC),
        ("mark-price", BTC),
        ("funding-rate", BTC),
        ("index-tickers", "BTC-USDT"),
    ):
        await sock.subscribe(channel, instId=name)
        assert (await sock.next())["arg"] == {"channel": channel, "instId": name}
    rig.mark("101", rate="0.0007")
    frames = [await sock.next() for _ in range(3)]
    by_channel = {frame["arg"]["channel"]: frame["data"][0] for frame in frames}
    assert by_channel["mark-price"]["markPx"] == "101"
    assert by_channel["funding-rate"]["fundingRate"] == "0.0007"
    assert by_channel["index-tickers"]["idxPx"] == "101"


async def test_a_silent_connection_is_closed_after_30_s(rig: Rig) -> None:
    """A pong counts as a push."""
    sock = await rig.socket()
    rig.now_ns += 29 * SECOND
    await sock.settled()
    rig.now_ns += 29 * SECOND
    await sock.settled()
    rig.now_ns += 31 * SECOND
    message = await sock.raw()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4004)


async def test_an_upgrade_is_announced(rig: Rig) -> None:
    """Notice 64008 before the venue closes."""
    sock = await rig.socket()
    await sock.settled()
    rig.server.notify_upgrade()
    notice = await sock.next()
    assert (notice["event"], notice["code"]) == ("notice", "64008")


async def test_a_dead_client_leaves_the_others_alone(rig: Rig) -> None:
    """A client that vanishes is forgotten; the others keep their stream."""
    dead, alive = await rig.socket(), await rig.socket()
    for sock in (dead, alive):
        await sock.subscribe("bbo-tbt", instId=BTC)
        await sock.next()
    assert dead.socket._response.connection is not None
    assert dead.socket._response.connection.transport is not None
    dead.socket._response.connection.transport.abort()
    for _ in range(100):
        if len(rig.server.clients) == 1:
            break
        await alive.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await alive.next())["data"][0]["bids"][0][1] == "600"
    assert len(list(rig.server.topics.listeners(f"bbo-tbt:{BTC}"))) == 1


# --- private websocket -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"apiKey": "x"}, "60005"),
        ({"timestamp": "soon"}, "60004"),
        ({"timestamp": "Infinity"}, "60004"),
        ({"timestamp": "1538054050"}, "60006"),
        ({"passphrase": "x"}, "60024"),
        ({"sign": "x"}, "60007"),
        ({"sign": "ü"}, "60007"),
    ],
)
async def test_a_wrong_login_is_refused(rig: Rig, change: dict[str, str], code: str) -> None:
    """Each part of the login has its code, and the connection stays outside."""
    sock = await rig.socket("private")
    error = await sock.ask({"op": "login", "args": [rig.login(**change)]})
    assert (error["event"], error["code"]) == ("error", code)
    arg = {"channel": "account"}
    assert (await sock.ask({"op": "subscribe", "args": [arg]}))["code"] == "60011"
    entry = {"id": "1", "op": "order", "args": [ws_order()]}
    assert (await sock.ask(entry))["code"] == "60011"


async def test_login_needs_its_path_and_arguments(rig: Rig) -> None:
    """The public path has no login; a login without arguments is 60012."""
    sock = await rig.socket()
    assert (await sock.ask({"op": "login", "args": [rig.login()]}))["code"] == "60009"
    sock = await rig.socket("private")
    assert (await sock.ask({"op": "login", "args": []}))["code"] == "60012"


def ws_order(**changes: Any) -> dict[str, Any]:
    """Return the same by code."""
    row = order(**changes) | {"instIdCode": CODE}
    del row["instId"]
    return row | changes


async def test_order_entry_takes_the_code_alone(rig: Rig) -> None:
    """The code places; instId alone is 51000, an unknown code 51001."""
    sock = await rig.socket("private", login=True)
    reply = await sock.ask({"id": "77", "op": "order", "args": [ws_order(clOrdId="b1")]})
    assert [reply[k] for k in ("id", "op", "code", "msg")] == ["77", "order", "0", ""]
    assert (reply["data"][0]["clOrdId"], reply["data"][0]["sCode"]) == ("b1", "0")
    old = await sock.ask({"id": "1", "op": "order", "args": [order()]})
    assert (old["code"], old["data"][0]["sCode"]) == ("1", "51000")
    assert "instIdCode" in old["data"][0]["sMsg"]
    for code in (1, "10459"):
        bad = await sock.ask({"op": "order", "args": [ws_order(instIdCode=code)]})
        assert bad["data"][0]["sCode"] == "51001"


async def test_order_operations_by_websocket(rig: Rig) -> None:
    """Batches, amendments, cancels, expTime, and arguments of the wrong size."""
    sock = await rig.socket("private", login=True)
    two = [ws_order(clOrdId="c1"), ws_order(clOrdId="c2", px="89")]
    reply = await sock.ask({"id": "1", "op": "batch-orders", "args": two})
    assert [r["sCode"] for r in reply["data"]] == ["0", "0"]
    name = {"instIdCode": CODE, "clOrdId": "c1"}
    reply = await sock.ask({"op": "amend-order", "args": [name | {"newPx": "91"}]})
    assert reply["code"] == "0"
    reply = await sock.ask({"op": "batch-amend-orders", "args": [name | {"newSz": "5"}]})
    assert reply["code"] == "0"
    assert rig.exchange.open_orders("client")[-1].ticket.quantity == D("0.05")
    reply = await sock.ask({"op": "cancel-order", "args": [name]})
    assert reply["code"] == "0"
    both = [name, {"instIdCode": CODE, "clOrdId": "c2"}]
    reply = await sock.ask({"id": "9", "op": "batch-cancel-orders", "args": both})
    assert (reply["code"], [r["sCode"] for r in reply["data"]]) == ("2", ["51400", "0"])
    late = str(rig.now_ns // 1_000_000 - 1)
    reply = await sock.ask({"op": "order", "expTime": late, "args": [ws_order()]})
    assert reply["data"][0]["sCode"] == "50036"
    for args in ([], [ws_order()] * 2, ["x"]):
        error = await sock.ask({"id": "3", "op": "order", "args": args})
        assert (error["code"], error["id"]) == ("60013", "3")


async def test_orders_channel_tells_life_and_fills(rig: Rig) -> None:
    """No snapshot; live, then the fill with price, role and fee, contracts throughout."""
    await rig.place(clOrdId="before")
    sock = await rig.socket("private", login=True)
    answer = await sock.subscribe("orders", instType="ANY")
    assert answer["arg"] == {"channel": "orders", "instType": "ANY"}
    await sock.settled()
    await rig.place(px="100.1", clOrdId="taker", sz="2")
    live, filled = (await sock.next())["data"][0], (await sock.next())["data"][0]
    assert (live["state"], live["fillSz"], live["tradeId"]) == ("live", "0", "")
    picked = ("state", "accFillSz", "fillPx", "fillSz", "execType", "fillFee", "fee", "avgPx")
    assert [filled[k] for k in picked] == [
        "filled",
        "2",
        "100.1",
        "2",
        "T",
        "-0.001001",
        "-0.001001",
        "100.1",
    ]
    assert filled["tradeId"] == "1"
    rig.quote("88.0x5", "89.9x5")
    maker = (await sock.next())["data"][0]
    assert (maker["clOrdId"], maker["execType"]) == ("before", "M")


async def test_post_only_that_would_take_is_accepted_then_cancelled(rig: Rig) -> None:
    """First sCode 0, then state canceled with cancelSource 31."""
    sock = await rig.socket("private", login=True)
    await sock.subscribe("orders", instType="SWAP", instId=BTC)
    await sock.send({"id": "1", "op": "order", "args": [ws_order(ordType="post_only", px="101")]})
    frames = [await sock.next() for _ in range(3)]
    states = [f["data"][0].get("state") for f in frames if "arg" in f]
    assert states == ["live", "canceled"]
    assert frames[1]["data"][0]["cancelSource"] == "31"
    assert frames[2]["data"][0]["sCode"] == "0"


@pytest.mark.parametrize(
    ("change", "source"),
    [
        ({"ordType": "fok", "px": "100.1", "sz": "500"}, "13"),
        ({"ordType": "ioc", "px": "100.1", "sz": "500"}, "14"),
    ],
)
async def test_what_cannot_fill_says_why_it_ended(
    rig: Rig, change: dict[str, Any], source: str
) -> None:
    """Fill-or-kill without a fill, immediate-or-cancel with the rest."""
    placed = await rig.place(**change)
    row = (await rig.get(f"trade/order?instId={BTC}&ordId={placed['ordId']}"))[0]
    assert (row["state"], row["cancelSource"]) == ("canceled", source)
    assert row["accFillSz"] == ("0" if source == "13" else "400")


async def test_amendments_tell_their_request_id(rig: Rig) -> None:
    """The push that an amendment causes carries amendResult 0 and the reqId."""
    sock = await rig.socket("private", login=True)
    await sock.subscribe("orders", instType="SWAP")
    await rig.place(clOrdId="am")
    await sock.next()
    row = {"instId": BTC, "clOrdId": "am", "newPx": "91", "reqId": "req7"}
    await rig.call("POST", "trade/amend-order", row)
    push = (await sock.next())["data"][0]
    assert (push["amendResult"], push["reqId"], push["px"]) == ("0", "req7", "91")


async def test_positions_account_and_balances_are_pushed(rig: Rig) -> None:
    """A snapshot on subscription, then changes; a closed leg comes with size 0."""
    sock = await rig.socket("private", login=True)
    await sock.subscribe("positions", instType="SWAP")
    assert (await sock.next())["data"] == []
    await sock.subscribe("account")
    assert (await sock.next())["data"][0]["details"][0]["cashBal"] == "10000"
    await sock.subscribe("balance_and_position")
    assert (await sock.next())["data"][0]["eventType"] == "snapshot"
    await rig.place(ordType="market", px="", sz="4")
    frames = {f["arg"]["channel"]: f["data"][0] for f in [await sock.next() for _ in range(3)]}
    assert frames["positions"]["pos"] == "4"
    assert frames["account"]["details"][0]["cashBal"] == "9999.997998"
    both = frames["balance_and_position"]
    assert (both["eventType"], both["balData"][0]["cashBal"]) == ("filled", "9999.997998")
    await rig.place(ordType="market", px="", sz="4", side="sell", reduceOnly=True)
    frames = {f["arg"]["channel"]: f["data"][0] for f in [await sock.next() for _ in range(3)]}
    assert frames["positions"]["pos"] == "0"
    rig.now_ns += 5 * SECOND
    repeated = {(await sock.next())["arg"]["channel"] for _ in range(2)}
    assert repeated == {"positions", "account"}


async def test_positions_can_be_of_one_instrument(rig: Rig) -> None:
    """A subscription with instId hears only of that one; an unknown one is 60018."""
    sock = await rig.socket("private", login=True)
    arg = {"channel": "positions", "instType": "SWAP", "instId": "NOPE"}
    assert (await sock.ask({"op": "subscribe", "args": [arg]}))["code"] == "60018"
    arg = {"channel": "positions", "instType": "OPTION"}
    assert (await sock.ask({"op": "subscribe", "args": [arg]}))["code"] == "60018"
    await sock.subscribe("positions", instType="SWAP", instId="ETH-USDT-SWAP")
    await sock.next()
    await sock.subscribe("orders", instType="SWAP", instId="ETH-USDT-SWAP")
    await rig.place(ordType="market", px="", sz="4")
    await sock.settled()
    arg = {"channel": "orders", "instType": "SWAP", "instId": "ETH-USDT-SWAP"}
    assert (await sock.ask({"op": "unsubscribe", "args": [arg]}))["event"] == "unsubscribe"


async def test_algo_orders_are_told_on_the_business_path(rig: Rig) -> None:
    """Waiting, then effective; the order that it became is on `orders`."""
    rig.mark("100")
    business = await rig.socket("business", login=True)
    await business.subscribe("orders-algo", instType="SWAP")
    private = await rig.socket("private", login=True)
    await private.subscribe("orders", instType="SWAP")
    entry = order(side="buy", ordType="trigger", triggerPx="105", orderPx="-1", sz="1")
    await rig.call("POST", "trade/order-algo", entry | {"algoClOrdId": "go"})
    assert (await business.next())["data"][0]["state"] == "live"
    await private.settled()
    rig.mark("105")
    assert (await business.next())["data"][0]["state"] == "effective"
    row = (await private.next())["data"][0]
    assert (row["algoClOrdId"], row["state"]) == ("go", "live")


def test_credentials_are_made_from_the_seed_and_contracts_are_sound() -> None:
    """The same seed gives the same keys; names and codes are unique; the step fits the size."""
    made = [Server.make_credentials(random.Random(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert sorted(made[0]) == ["api_key", "api_secret", "passphrase"]
    assert len({c.symbol for c in Server.contracts()}) == 10
    assert len({c.wire_code for c in Server.contracts()}) == 10
    assert Server.profile().name == Server.venue == "okx"
