"""Binance's server: the websocket API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulation.wire.binance.world import SYMBOL, World


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
