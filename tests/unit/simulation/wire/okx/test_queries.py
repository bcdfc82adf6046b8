"""OKX's server: public queries."""

from __future__ import annotations

import pytest

from tests.unit.simulation.wire.okx.rig import BTC, CODE, Rig


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
