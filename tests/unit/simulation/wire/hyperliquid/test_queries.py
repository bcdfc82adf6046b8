"""Hyperliquid's server: questions."""

from __future__ import annotations

import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.wire.hyperliquid import Server
from perpbot.simulation.wire.hyperliquid.rows import direction
from perpbot.simulation.wire.hyperliquid.signing import address_of_secret
from tests.unit.simulation.wire.hyperliquid.rig import CLOID, D, Rig, tif, wire


async def test_the_universe_keeps_the_slots_of_the_delisted(rig: Rig) -> None:
    """The asset number is the index; contexts have the same places."""
    meta, contexts = await rig.info("metaAndAssetCtxs")
    assert meta == await rig.info("meta") == (await rig.info("allPerpMetas"))[0]
    names = [row["name"] for row in meta["universe"]]
    assert names.index("SOL") == 3
    assert meta["universe"][2]["isDelisted"] is True
    assert all(names[c.wire_code] == c.symbol for c in Server.contracts())
    assert len(contexts) == len(names)
    assert (contexts[0]["midPx"], contexts[2]["midPx"]) == ("100.05", None)
    assert await rig.info("perpDexs") == [None]
    assert (await rig.info("spotMeta"))["universe"] == []
    assert (await rig.info("spotMetaAndAssetCtxs"))[1] == []
    assert (await rig.info("exchangeStatus"))["time"] == rig.now_ms


async def test_market_queries(rig: Rig) -> None:
    """Books, middles, trades, candles, funding with its history."""
    book = await rig.info("l2Book", coin="BTC")
    assert (book["coin"], book["time"]) == ("BTC", rig.now_ms)
    assert book["levels"][0][0] == {"px": "100.0", "sz": "5.0", "n": 1}
    assert await rig.info("allMids") == {"BTC": "100.05"}
    rig.exchange.take("BTC", Side.SELL, D(1))
    trade = (await rig.info("recentTrades", coin="BTC"))[0]
    assert (trade["side"], trade["px"], trade["sz"]) == ("A", "100.0", "1.0")
    request = {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": rig.now_ms}
    candle = (await rig.info("candleSnapshot", req=request))[0]
    assert (candle["o"], candle["v"], candle["n"]) == ("100.0", "1.0", 1)
    rig.mark("101", rate="0.0002")
    rig.mark("102", rate="0.0003", next_s=1_795_007_200)
    history = await rig.info("fundingHistory", coin="BTC", startTime=0)
    assert [(r["fundingRate"], r["time"]) for r in history] == [("0.0002", 1_795_003_600_000)]
    assert await rig.info("fundingHistory", coin="BTC", startTime=rig.now_ms * 2) == []
    predicted = {coin: rows[0][1] for coin, rows in await rig.info("predictedFundings")}
    assert predicted["BTC"]["fundingRate"] == "0.0003"


async def test_account_queries_follow_a_trade(rig: Rig) -> None:
    """Position, fees, fills with start position and direction, funding, order status."""
    await rig.place(wire(p="100.1", s="2", c=CLOID, **tif("Ioc")))
    rig.mark("100", rate="0.001")
    rig.exchange.settle_funding("BTC")
    state = await rig.info("clearinghouseState", user=rig.user.upper().replace("0X", "0x"))
    position = state["assetPositions"][0]["position"]
    assert [position[k] for k in ("coin", "szi", "entryPx", "positionValue")] == [
        "BTC",
        "2.0",
        "100.1",
        "200.0",
    ]
    assert position["cumFunding"]["sinceOpen"] == "0.2"
    assert state["marginSummary"]["accountValue"] == "9999.50991"
    assert state["marginSummary"]["totalRawUsd"] == "9799.50991"
    await rig.place(wire(b=False, p="100", s="3", **tif("Ioc")))
    fills = await rig.info("userFills", user=rig.user)
    assert [(f["dir"], f["startPosition"], f["fee"]) for f in fills] == [
        ("Long > Short", "2.0", "0.135"),
        ("Open Long", "0.0", "0.09009"),
    ]
    assert await rig.info("userFillsByTime", user=rig.user, startTime=rig.now_ms + 1) == []
    by_time = await rig.info("userFillsByTime", user=rig.user, startTime=0, endTime=rig.now_ms)
    assert by_time == fills[::-1]
    funding = await rig.info("userFunding", user=rig.user, startTime=0)
    assert (funding[0]["delta"]["usdc"], funding[0]["delta"]["coin"]) == ("-0.2", "BTC")
    status = await rig.info("orderStatus", user=rig.user, oid=CLOID)
    assert (status["status"], status["order"]["status"]) == ("order", "filled")
    assert await rig.info("orderStatus", user=rig.user, oid=99) == {"status": "unknownOid"}
    assert len(await rig.info("historicalOrders", user=rig.user)) == 2
    assert (await rig.info("userFees", user=rig.user))["userCrossRate"] == "0.00045"


async def test_an_agent_address_has_no_account(rig: Rig) -> None:
    """Queries by the agent's address are empty, as at the venue."""
    await rig.place(wire(), wire(p="100.1", **tif("Ioc")))
    agent = address_of_secret(rig.secret)
    state = await rig.info("clearinghouseState", user=agent)
    assert (state["assetPositions"], state["withdrawable"]) == ([], "0.0")
    for kind in ("openOrders", "frontendOpenOrders", "userFills", "historicalOrders"):
        assert await rig.info(kind, user=agent) == []
    assert await rig.info("userFunding", user=agent, startTime=0) == []
    assert await rig.info("orderStatus", user=agent, oid=1) == {"status": "unknownOid"}
    assert await rig.info("spotClearinghouseState", user=rig.user) == {"balances": []}
    assert await rig.info("userAbstraction", user=rig.user) == "disabled"
    assert await rig.info("maxBuilderFee", user=rig.user, builder=agent) == 0


@pytest.mark.parametrize(
    ("start", "change", "words"),
    [
        ("0", "1", "Open Long"),
        ("1", "1", "Open Long"),
        ("0", "-1", "Open Short"),
        ("-1", "-1", "Open Short"),
        ("2", "-1", "Close Long"),
        ("2", "-2", "Close Long"),
        ("-2", "2", "Close Short"),
        ("1", "-2", "Long > Short"),
        ("-1", "2", "Short > Long"),
    ],
)
def test_direction_names_what_a_fill_did(start: str, change: str, words: str) -> None:
    """In the venue's words."""
    assert direction(D(start), D(change)) == words
