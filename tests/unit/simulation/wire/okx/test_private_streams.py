"""OKX's server: the private websocket."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perpbot.simulation.wire.okx import Server
from tests.unit.simulation.wire.okx.rig import BTC, CODE, SECOND, D, Rig, order


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
