"""Binance's server: the account."""

from __future__ import annotations

from tests.unit.simulation.wire.binance.rig import ALGO, ORDER, a_stop
from tests.unit.simulation.wire.binance.world import SYMBOL, World


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
    wrong = a_stop(side="BUY", positionSide="LONG", closePosition="true", triggerPrice="100500")
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
