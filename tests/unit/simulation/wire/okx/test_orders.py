"""OKX's server: orders by REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulation.wire.okx.rig import BTC, SECOND, D, Rig, order


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
