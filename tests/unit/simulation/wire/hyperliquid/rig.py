"""Hyperliquid's server on loopback, and a client that signs with an agent's key."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import coincurve

from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.hyperliquid import CONTRACTS, PROFILE, Server
from perpbot.simulation.wire.hyperliquid.signing import (
    USER_ACTIONS,
    action_hash,
    agent_digest,
    user_digest,
)
from tests.unit.simulation.wire.client import ClientSocket, ServedRig

SECOND = 1_000_000_000
D = Decimal
SIGNER = "0x14791697260e4c9a71f18484c9f997b308e59325"
CLOID = "0x" + "0" * 31 + "1"


class Sock(ClientSocket):
    """One websocket of the client under test."""

    async def subscribe(self, kind: str, **more: Any) -> None:
        wanted = {"type": kind} | more
        answer = await self.ask({"method": "subscribe", "subscription": wanted})
        data = {"method": "subscribe", "subscription": wanted}
        assert answer == {"channel": "subscriptionResponse", "data": data}

    async def settled(self) -> None:
        """Fail unless nothing but a pong comes."""
        assert await self.ask({"method": "ping"}) == {"channel": "pong"}


class Rig(ServedRig[Sock]):
    """A server on loopback with one book, and a client that signs with an agent's key."""

    def __init__(self, **options: Any) -> None:
        self.now_ns = 1_795_000_000 * SECOND
        exchange = Exchange(PROFILE, CONTRACTS, lambda: self.now_ns, Accountant())
        exchange.open_account("client", {"USDC": D(10_000)})
        self.server = Server(exchange, lambda: self.now_ns, random.Random(7), **options)
        self.user = self.server.credentials()["account_address"]
        self.secret = self.server.credentials()["private_key"]
        self.nonce = self.now_ms
        super().__init__(exchange, self.server, "BTC")

    @property
    def now_ms(self) -> int:
        return self.now_ns // 1_000_000

    def signed(
        self,
        action: dict[str, Any],
        *,
        secret: str = "",
        source: str = "b",
        nonce: int | None = None,
        vault: str | None = None,
        expires: int | None = None,
    ) -> dict[str, Any]:
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        kind = USER_ACTIONS.get(action["type"])
        digest = (
            agent_digest(source, action_hash(action, nonce, vault, expires))
            if kind is None
            else user_digest(kind, action)
        )
        return {
            "action": action,
            "nonce": nonce,
            "signature": signature(secret or self.secret, digest),
            "vaultAddress": vault,
            "expiresAfter": expires,
        }

    async def post(self, path: str, body: Any, *, status: int = 200) -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        async with self.http.post(self.url + path, data=text.encode()) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json() if status == 200 else await reply.text()

    async def act(self, action: dict[str, Any], **options: Any) -> Any:
        return await self.post("/exchange", self.signed(action, **options))

    async def info(self, kind: str, **more: Any) -> Any:
        return await self.post("/info", {"type": kind} | more)

    async def place(self, *wires: dict[str, Any], grouping: str = "na") -> list[Any]:
        action = {"type": "order", "orders": list(wires), "grouping": grouping}
        answer = await self.act(action)
        assert answer["status"] == "ok", answer
        statuses: list[Any] = answer["response"]["data"]["statuses"]
        return statuses

    async def socket(self) -> Sock:
        sock = Sock(await self.http.ws_connect(self.url.replace("http", "ws") + "/ws"))
        self.sockets.append(sock)
        return sock


def signature(secret: str, digest: bytes) -> dict[str, Any]:
    """Sign as wallets do: r and s as hex without leading zeros."""
    signed = coincurve.PrivateKey(bytes.fromhex(secret[2:])).sign_recoverable(digest, hasher=None)
    numbers = [int.from_bytes(signed[at : at + 32], "big") for at in (0, 32)]
    return {"r": hex(numbers[0]), "s": hex(numbers[1]), "v": signed[64] + 27}


def wire(**changes: Any) -> dict[str, Any]:
    """Return a resting buy of one BTC."""
    row = {"a": 0, "b": True, "p": "90", "s": "1", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    return row | changes


def tif(name: str) -> dict[str, Any]:
    """Return the type of a plain order."""
    return {"t": {"limit": {"tif": name}}}


_BY_CLOID = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID}]}
