"""OKX's server on loopback, and a client that signs by itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

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
