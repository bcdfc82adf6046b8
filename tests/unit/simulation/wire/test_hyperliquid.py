from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import coincurve
import pytest

from perpbot.domain.sides import Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.hyperliquid import CONTRACTS, PROFILE, Server
from perpbot.simulation.wire.hyperliquid.rows import direction
from perpbot.simulation.wire.hyperliquid.signing import (
    USER_ACTIONS,
    action_hash,
    address_of_secret,
    agent_digest,
    recover,
    user_digest,
)
from tests.unit.simulation.wire.client import ClientSocket, ServedRig

SECOND = 1_000_000_000
D = Decimal
SECRET = "0x" + "0123456789" * 6 + "0123"
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


def trigger(price: str, kind: str = "sl", *, is_market: bool = True) -> dict[str, Any]:
    """Return the type of a stop or take profit."""
    return {"t": {"trigger": {"isMarket": is_market, "triggerPx": price, "tpsl": kind}}}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server as the venue is today."""
    async with Rig().served() as made:
        yield made


@pytest.fixture
async def old_rig() -> AsyncIterator[Rig]:
    """A server that greets as older ones did."""
    async with Rig(greets=True).served() as made:
        yield made


# --- signatures --------------------------------------------------------------------------------

_IOC = {
    "type": "order",
    "orders": [wire(a=4, p="1670.1", s="0.0147", t={"limit": {"tif": "Ioc"}})],
    "grouping": "na",
}
_SMALL = {"type": "order", "orders": [wire(a=1, p="100", s="100")], "grouping": "na"}
_BY_CLOID = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID}]}


def test_action_hash_equals_the_known_vector() -> None:
    """The official client's own test vector."""
    assert action_hash(_IOC, 1677777606040, None, None).hex() == (
        "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    )


@pytest.mark.parametrize(
    ("action", "nonce", "expires", "source", "r", "s", "v"),
    [
        (
            _IOC,
            1677777606040,
            1677777666040,
            "a",
            "0x4c29171c51e709f64856e9051bac8fe8d53d01905496cb8a3f5d13f2df74c276",
            "0x516eb3d1446e567d130e2b63a6dd9fa7261d369d214dde34fd3904323afca76a",
            28,
        ),
        (
            _BY_CLOID,
            1700000000000,
            None,
            "a",
            "0x80bc61ec5a6bd1931885c88ccb664ac5543ba861475262636445d21263b97318",
            "0x6bbfac7cec115672a533ce377a822433f48a320f1e3c3ce09d2f38184f82979c",
            27,
        ),
        (
            _SMALL,
            0,
            None,
            "a",
            "0xd65369825a9df5d80099e513cce430311d7d26ddf477f5b3a33d2806b100d78e",
            "0x2b54116ff64054968aa237c20ca9ff68000f977c93289157748a3162b6ea940e",
            28,
        ),
        (
            _SMALL,
            0,
            None,
            "b",
            "0x82b2ba28e76b3d761093aaded1b1cdad4960b3af30212b343fb2e6cdfa4e3d54",
            "0x6b53878fc99d26047f4d7e8c90eb98955a109f44209163f52d8dc4278cbbd9f5",
            27,
        ),
        (
            {"type": "scheduleCancel"},
            0,
            None,
            "a",
            "0x6cdfb286702f5917e76cd9b3b8bf678fcc49aec194c02a73e6d4f16891195df9",
            "0x6557ac307fa05d25b8d61f21fb8a938e703b3d9bf575f6717ba21ec61261b2a0",
            27,
        ),
    ],
    ids=["expires", "cloid", "mainnet", "testnet", "no fields"],
)
def test_known_signatures_recover_their_signer(
    action: dict[str, Any], nonce: int, expires: int | None, source: str, r: str, s: str, v: int
) -> None:
    """What the official client signs leads back to its address."""
    digest = agent_digest(source, action_hash(action, nonce, None, expires))
    assert recover(digest, r, s, v) == SIGNER == address_of_secret(SECRET)


def test_signatures_with_leading_zeros_left_out_recover() -> None:
    """`r` and `s` come without leading zeros; a nonsense signature is a ValueError."""
    for nonce in range(600):
        digest = agent_digest("a", action_hash({"type": "noop"}, nonce, None, None))
        signed = signature(SECRET, digest)
        if len(signed["r"]) < 66:
            break
    assert len(signed["r"]) < 66
    assert recover(digest, signed["r"], signed["s"], signed["v"]) == SIGNER
    for r, s, v in (("0x0", "0x0", 27), ("0x1", "0x1", 5), ("zz", "0x1", 27)):
        with pytest.raises(ValueError, match=r"recovers|expected|invalid"):
            recover(digest, r, s, v)


async def test_an_agent_signs_for_its_master_on_either_network(rig: Rig) -> None:
    """Source a and b are both let in; the account is the master's."""
    for source in ("a", "b"):
        answer = await rig.act({"type": "noop"}, source=source)
        assert answer == {"status": "ok", "response": {"type": "default"}}


async def test_a_wrong_signer_is_named_and_refused(rig: Rig) -> None:
    """Another key, another body than the signed one, numbers with trailing zeros."""
    answer = await rig.act({"type": "noop"}, secret=SECRET)
    refusal = f"User or API Wallet {SIGNER} does not exist."
    assert answer == {"status": "err", "response": refusal}
    body = rig.signed({"type": "order", "orders": [wire()], "grouping": "na"})
    body["action"]["orders"][0]["p"] = "91"
    answer = await rig.post("/exchange", body)
    assert answer["response"].startswith("User or API Wallet 0x")
    padded = {"type": "order", "orders": [wire(p="90.0")], "grouping": "na"}
    assert "does not exist" in (await rig.act(padded))["response"]
    modify = {"type": "batchModify", "modifies": [{"oid": 1, "order": wire(s="1.10")}]}
    assert "does not exist" in (await rig.act(modify))["response"]
    assert rig.exchange.order_history("client") == []


async def test_the_order_of_keys_is_part_of_the_signature(rig: Rig) -> None:
    """The same action with its keys in another order is another action."""
    body = rig.signed({"type": "scheduleCancel", "time": rig.now_ms + 60_000})
    body["action"] = {"time": rig.now_ms + 60_000, "type": "scheduleCancel"}
    assert "does not exist" in (await rig.post("/exchange", body))["response"]


async def test_nonces_are_used_once_and_within_their_window(rig: Rig) -> None:
    """Duplicate, two days old, a day ahead, and below the hundred that are kept."""
    noop = {"type": "noop"}
    base = rig.now_ms
    assert (await rig.act(noop, nonce=base))["status"] == "ok"
    again = await rig.act(noop, nonce=base)
    assert again == {"status": "err", "response": "Invalid nonce: duplicate nonce"}
    for nonce in (base - 2 * 86_400_000, base + 86_400_000):
        assert (await rig.act(noop, nonce=nonce))["response"].startswith("Invalid nonce")
    for step in range(1, 101):
        assert (await rig.act(noop, nonce=base + step))["status"] == "ok"
    assert "below" in (await rig.act(noop, nonce=base - 1))["response"]


async def test_deadline_and_vault_are_signed_and_checked(rig: Rig) -> None:
    """An expired action and one for an unknown vault do nothing."""
    noop = {"type": "noop"}
    assert (await rig.act(noop, expires=rig.now_ms + 1))["status"] == "ok"
    assert "expired" in (await rig.act(noop, expires=rig.now_ms - 1))["response"]
    assert "Vault" in (await rig.act(noop, vault="0x" + "1" * 40))["response"]


@pytest.mark.parametrize(
    "change",
    [
        {"action": "order"},
        {"action": {}},
        {"nonce": "now"},
        {"nonce": -1},
        {"signature": {"r": "0x1", "s": "0x1"}},
        {"signature": {"r": "0x0", "s": "0x0", "v": 27}},
        {"signature": {"r": "0x" + "f" * 70, "s": "0x1", "v": 27}},
        {"vaultAddress": "0xzz"},
    ],
)
async def test_a_malformed_envelope_is_422(rig: Rig, change: dict[str, Any]) -> None:
    """The venue cannot read it, and says so in text."""
    body = rig.signed({"type": "noop"}) | change
    assert "deserialize" in await rig.post("/exchange", body, status=422)


@pytest.mark.parametrize(
    "action",
    [
        {"type": "order"},
        {"type": "order", "orders": [wire(p=90)], "grouping": "na"},
        {"type": "order", "orders": [wire(t={})], "grouping": "na"},
        {"type": "order", "orders": [wire(t={"limit": {"tif": "Fok"}})], "grouping": "na"},
        {"type": "order", "orders": [wire(p="much")], "grouping": "na"},
        {"type": "order", "orders": [wire(p="NaN")], "grouping": "na"},
        {"type": "order", "orders": [wire(s="-1")], "grouping": "na"},
        {"type": "order", "orders": [wire(c="abc")], "grouping": "na"},
        {"type": "cancel", "cancels": [{"a": 0}]},
        {"type": "modify", "oid": None, "order": wire()},
    ],
)
async def test_a_malformed_action_is_422(rig: Rig, action: dict[str, Any]) -> None:
    """Signed or not, what has the wrong shape is not read."""
    assert "deserialize" in await rig.post("/exchange", rig.signed(action), status=422)
    assert rig.exchange.order_history("client") == []


async def test_unreadable_bodies_and_unknown_queries_are_422(rig: Rig) -> None:
    """No JSON, no type, an unknown type, a wrong address, an unknown coin."""
    for path in ("/info", "/exchange"):
        await rig.post(path, "{", status=422)
        await rig.post(path, "[]", status=422)
    for body in (
        {"type": "dreams"},
        {"type": "meta", "dex": "xyz"},
        {"type": "openOrders", "user": "me"},
        {"type": "l2Book", "coin": "NOPE"},
        {"type": "orderStatus", "user": rig.user, "oid": None},
        {"type": "candleSnapshot", "coin": "BTC"},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m"}},
    ):
        await rig.post("/info", body, status=422)


async def test_an_unknown_action_is_an_error(rig: Rig) -> None:
    """Status err, once the signature is known."""
    answer = await rig.act({"type": "fly"})
    assert answer == {"status": "err", "response": "Unknown action type: fly"}


async def test_agents_are_approved_by_the_master_alone(rig: Rig) -> None:
    """An agent cannot approve another one; the master's approval opens the door."""
    master = "0x" + "ab" * 32
    rig.server.gate.master = address_of_secret(master)
    action = {
        "type": "approveAgent",
        "hyperliquidChain": "Testnet",
        "signatureChainId": "0x66eee",
        "agentAddress": SIGNER,
        "agentName": "two",
        "nonce": rig.now_ms,
    }
    assert "does not exist" in (await rig.act(action, nonce=rig.now_ms))["response"]
    assert (await rig.act(action, nonce=rig.now_ms, secret=master))["status"] == "ok"
    assert (await rig.act({"type": "noop"}, secret=SECRET))["status"] == "ok"
    body = rig.signed(action | {"agentAddress": "0x12"}, secret=master)
    await rig.post("/exchange", body, status=422)
    fee = {
        "type": "approveBuilderFee",
        "hyperliquidChain": "Testnet",
        "signatureChainId": "0x66eee",
        "maxFeeRate": "0.001%",
        "builder": SIGNER,
        "nonce": rig.now_ms + 7,
    }
    assert (await rig.act(fee))["status"] == "ok"
    assert (await rig.act({"type": "setReferrer", "code": "X"}))["status"] == "ok"
    roles = [await rig.info("userRole", user=user) for user in (rig.server.gate.master, SIGNER)]
    assert [role["role"] for role in roles] == ["user", "agent"]
    assert (await rig.info("userRole", user="0x" + "9" * 40)) == {"role": "missing"}
    agents = await rig.info("extraAgents", user=rig.server.gate.master)
    assert SIGNER in [row["address"] for row in agents]
    assert await rig.info("extraAgents", user=SIGNER) == []


# --- orders ------------------------------------------------------------------------------------


async def test_orders_rest_fill_or_say_why_not(rig: Rig) -> None:
    """Resting, filled with average price, and an error, each in its place of one answer."""
    statuses = await rig.place(
        wire(c=CLOID), wire(p="100.2", s="5", **tif("Ioc")), wire(p="95", **tif("Ioc"))
    )
    assert statuses == [
        {"resting": {"oid": 1, "cloid": CLOID}},
        {"filled": {"totalSz": "5", "avgPx": "100.12", "oid": 2}},
        {"error": "Order could not immediately match against any resting orders. asset=0"},
    ]
    assert (await rig.info("openOrders", user=rig.user)) == [
        {
            "coin": "BTC",
            "side": "B",
            "limitPx": "90.0",
            "sz": "1.0",
            "oid": 1,
            "timestamp": rig.now_ms,
            "origSz": "1.0",
            "cloid": CLOID,
        }
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"a": 77}, "Asset is not listed. asset=77"),
        ({"a": 2}, "Asset is not listed. asset=2"),
        ({"p": "90.001", "s": "2"}, "Price must be divisible by tick size. asset=0"),
        ({"p": "98.4515"}, "Price must be divisible by tick size. asset=0"),
        ({"p": "101001.5", "s": "0.001"}, "Price must be divisible by tick size. asset=0"),
        ({"s": "0"}, "Order has zero size. asset=0"),
        ({"s": "0.000001"}, "Order has invalid size. asset=0"),
        ({"s": "0.1"}, "Order must have minimum value of $10. asset=0"),
        ({"s": "5000"}, "Insufficient margin to place order. asset=0"),
        ({"r": True}, "Reduce only order would increase position. asset=0"),
        (
            {"p": "101"} | tif("Alo"),
            "Post only order would have immediately matched, bbo was 100.0@100.1. asset=0",
        ),
        (
            {"p": "500"},
            "Order price cannot be more than 80% away from the reference price asset=0",
        ),
        (trigger("200") | {"b": False}, "Invalid TP/SL price. asset=0"),
    ],
)
async def test_a_wrong_order_is_an_error_inside_ok(
    rig: Rig, change: dict[str, Any], text: str
) -> None:
    """In the venue's sentence; nothing rests."""
    assert await rig.place(wire(**change)) == [{"error": text}]
    assert rig.exchange.open_orders("client") == []


async def test_integer_prices_are_always_allowed(rig: Rig) -> None:
    """Five significant digits bind only where there are decimals."""
    rig.quote("100001x5", "100002x5", "ETH")
    eth = wire(a=1, p="100003", s="0.001")
    assert "filled" in (await rig.place(eth))[0]


async def test_cancels_by_id_and_by_client_id(rig: Rig) -> None:
    """Success once, then the sentence for what is gone; the asset must be right."""
    await rig.place(wire(), wire(c=CLOID))
    missing = "Order was never placed, already canceled, or filled. asset="
    cancels = [{"a": 1, "o": 1}, {"a": 0, "o": 1}, {"a": 0, "o": 1}, {"a": 99, "o": 1}]
    answer = await rig.act({"type": "cancel", "cancels": cancels})
    assert answer["response"] == {
        "type": "cancel",
        "data": {
            "statuses": [
                {"error": missing + "1"},
                "success",
                {"error": missing + "0"},
                {"error": "Asset is not listed. asset=99"},
            ]
        },
    }
    answer = await rig.act(_BY_CLOID)
    assert answer["response"]["data"]["statuses"] == ["success"]
    assert rig.exchange.open_orders("client") == []


async def test_a_modification_is_a_new_order_with_both_events(rig: Rig) -> None:
    """New oid, same cloid; the new order is told first, the next time the old one."""
    sock = await rig.socket()
    await sock.subscribe("orderUpdates", user=rig.user)
    await rig.place(wire(c=CLOID))
    await sock.next()
    action = {"type": "batchModify", "modifies": [{"oid": 1, "order": wire(p="91", s="2")}]}
    answer = await rig.act(action)
    new = {"resting": {"oid": 2, "cloid": CLOID}}
    assert answer["response"] == {"type": "order", "data": {"statuses": [new]}}
    rows = [(await sock.next())["data"][0] for _ in range(2)]
    told = [(row["order"]["oid"], row["status"], row["order"]["cloid"]) for row in rows]
    assert told == [(2, "open", CLOID), (1, "canceled", CLOID)]
    answer = await rig.act({"type": "modify", "oid": CLOID, "order": wire(p="92", c=CLOID)})
    assert answer["response"] == {"type": "default"}
    rows = [(await sock.next())["data"][0] for _ in range(2)]
    assert [(r["order"]["oid"], r["status"]) for r in rows] == [(2, "canceled"), (3, "open")]
    gone = await rig.act({"type": "modify", "oid": 1, "order": wire()})
    assert gone == {"status": "err", "response": "Cannot modify canceled or filled order"}


async def test_triggers_wait_fire_and_close_the_position(rig: Rig) -> None:
    """A stop without size closes what is there; its life is told."""
    rig.mark("100")
    await rig.place(wire(p="100.1", **tif("Ioc")))
    sock = await rig.socket()
    await sock.subscribe("orderUpdates", user=rig.user)
    stop = wire(b=False, p="90", s="0", r=True, **trigger("95"))
    assert await rig.place(stop, grouping="positionTpsl") == ["waitingForTrigger"]
    profit = wire(b=False, p="111", r=True, **trigger("110", "tp", is_market=False))
    assert "resting" in (await rig.place(profit))[0]
    waiting = await rig.info("frontendOpenOrders", user=rig.user)
    assert [(r["orderType"], r["triggerCondition"], r["isPositionTpsl"]) for r in waiting] == [
        ("Stop Market", "Price below 95", True),
        ("Take Profit Limit", "Price above 110", False),
    ]
    assert [(await sock.next())["data"][0]["status"] for _ in range(2)] == ["open", "open"]
    rig.mark("94")
    assert [(await sock.next())["data"][0]["status"] for _ in range(2)] == ["triggered", "filled"]
    assert (await rig.info("clearinghouseState", user=rig.user))["assetPositions"] == []
    answer = await rig.act({"type": "order", "orders": [stop], "grouping": "normalTpsl"})
    assert answer["status"] == "err"


async def test_leverage_and_margin_settings(rig: Rig) -> None:
    """Cross leverage within the asset's limit; isolated margin is not served."""
    action = {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5}
    assert (await rig.act(action))["status"] == "ok"
    assert rig.exchange.leverage("client", "BTC") == 5
    for change in ({"asset": 99}, {"isCross": False}, {"leverage": 41}, {"leverage": 0}):
        assert (await rig.act(action | change))["status"] == "err"
    await rig.place(wire(s="500"))
    assert "Insufficient" in (await rig.act(action | {"leverage": 1}))["response"]
    margin = {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": 1}
    assert (await rig.act(margin))["status"] == "err"


async def test_schedule_cancel_takes_everything_away(rig: Rig) -> None:
    """At least five seconds ahead; it can be disarmed; triggers go too."""
    rig.mark("100")
    early = await rig.act({"type": "scheduleCancel", "time": rig.now_ms + 4_999})
    assert early["status"] == "err"
    await rig.place(wire(p="100.1", **tif("Ioc")), wire())
    await rig.place(wire(b=False, r=True, **trigger("95")))
    at = {"type": "scheduleCancel", "time": rig.now_ms + 5_000}
    assert (await rig.act(at))["status"] == "ok"
    assert (await rig.act({"type": "scheduleCancel"}))["status"] == "ok"
    rig.now_ns += 6 * SECOND
    rig.exchange.advance()
    assert len(rig.exchange.open_orders("client")) == 2
    await rig.act({"type": "scheduleCancel", "time": rig.now_ms + 5_000})
    rig.now_ns += 5 * SECOND
    rig.exchange.advance()
    assert rig.exchange.open_orders("client") == []
    status = await rig.info("orderStatus", user=rig.user, oid=2)
    assert status["order"]["status"] == "scheduledCancel"


async def test_the_request_budget_grows_with_volume(rig: Rig) -> None:
    """Beyond it orders are refused, cancels have twice as much."""
    rig.server.gate.request_buffer = 1
    await rig.place(wire(p="100.1", **tif("Ioc")))
    limit = await rig.info("userRateLimit", user=rig.user)
    assert limit == {
        "cumVlm": "100.1",
        "nRequestsUsed": 1,
        "nRequestsCap": 101,
        "nRequestsSurplus": 0,
    }
    rig.server.gate.requests = 101
    action = {"type": "order", "orders": [wire()], "grouping": "na"}
    refused = await rig.act(action)
    assert refused["response"].startswith("Too many cumulative requests sent (102 > 101)")
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": 5}]}
    assert (await rig.act(cancel))["status"] == "ok"
    rig.server.gate.requests = 202
    assert (await rig.act(cancel))["status"] == "err"
    stranger = await rig.info("userRateLimit", user=SIGNER)
    assert stranger["nRequestsUsed"] == 0


async def test_faults_answer_in_place_of_the_truth(rig: Rig) -> None:
    """Without effect, or after it."""
    action = {"type": "order", "orders": [wire()], "grouping": "na"}
    rig.server.fail_next("Service unavailable")
    assert await rig.act(action) == {"status": "err", "response": "Service unavailable"}
    assert rig.exchange.open_orders("client") == []
    rig.server.fail_next("Timeout", acted=True)
    assert (await rig.act(action))["status"] == "err"
    assert len(rig.exchange.open_orders("client")) == 1


# --- queries -----------------------------------------------------------------------------------


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


# --- websocket ---------------------------------------------------------------------------------


async def test_ping_greeting_and_unreadable_frames(rig: Rig, old_rig: Rig) -> None:
    """A pong; a line of plain text from old servers; errors for what cannot be read."""
    sock = await rig.socket()
    await sock.settled()
    for frame in ("{nope", "[]", '{"method":"fly"}', '{"method":"post","id":"x"}'):
        error = await sock.ask(frame)
        assert error["channel"] == "error"
        assert frame in error["data"]
    old = await old_rig.socket()
    assert (await old.raw()).data == "Websocket connection established."
    await old.settled()


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        {"type": "dreams"},
        {"type": "bbo", "coin": "NOPE"},
        {"type": "bbo"},
        {"type": "orderUpdates"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 3},
    ],
)
async def test_what_does_not_exist_cannot_be_subscribed(rig: Rig, wanted: Any) -> None:
    """An error on its own channel; the connection stays."""
    sock = await rig.socket()
    error = await sock.ask({"method": "subscribe", "subscription": wanted})
    assert error["channel"] == "error"
    assert error["data"].startswith("Invalid subscription")
    await sock.settled()


async def test_subscribing_twice_is_an_error(rig: Rig) -> None:
    """And so is unsubscribing from what one does not listen to."""
    sock = await rig.socket()
    wanted = {"type": "trades", "coin": "BTC"}
    await sock.subscribe("trades", coin="BTC")
    assert (await sock.next())["data"] == []
    again = await sock.ask({"method": "subscribe", "subscription": wanted})
    assert again["data"].startswith("Already subscribed")
    answer = await sock.ask({"method": "unsubscribe", "subscription": wanted})
    assert answer["channel"] == "subscriptionResponse"
    assert list(rig.server.topics.topics()) == []
    again = await sock.ask({"method": "unsubscribe", "subscription": wanted})
    assert again["data"].startswith("Already unsubscribed")


async def test_bbo_is_told_when_the_best_changes(rig: Rig) -> None:
    """The present value first; then changes of the best, merged; an empty side is null."""
    sock = await rig.socket()
    await sock.subscribe("bbo", coin="BTC")
    first = await sock.next()
    assert first["data"]["bbo"] == [
        {"px": "100.0", "sz": "5.0", "n": 1},
        {"px": "100.1", "sz": "4.0", "n": 1},
    ]
    rig.quote("100.0x5 99.8x3", "100.1x4 100.2x6")
    await sock.settled()
    rig.quote("100.0x6", "")
    second = await sock.next()
    assert (second["data"]["bbo"][0]["sz"], second["data"]["bbo"][1]) == ("6.0", None)
    rig.quote("100.0x7", "")
    rig.quote("100.0x8", "")
    other = await rig.socket()
    await other.subscribe("bbo", coin="BTC")
    assert (await other.next())["data"] == (await sock.next())["data"]


async def test_l2book_comes_whole_and_at_most_each_half_second(rig: Rig) -> None:
    """No deltas; a stalled stream is silent while the connection lives."""
    sock = await rig.socket()
    await sock.subscribe("l2Book", coin="BTC")
    assert len((await sock.next())["data"]["levels"][0]) == 2
    rig.quote("100.0x6", "100.1x4")
    assert (await sock.next())["data"]["levels"][0] == [{"px": "100.0", "sz": "6.0", "n": 1}]
    rig.quote("100.0x7", "100.1x4")
    rig.now_ns += 400_000_000
    await sock.settled()
    rig.now_ns += 100_000_000
    assert (await sock.next())["data"]["levels"][0][0]["sz"] == "7.0"
    rig.server.streams.stall("l2Book", "BTC")
    rig.now_ns += SECOND
    rig.quote("100.0x8", "100.1x4")
    await sock.settled()
    rig.server.streams.stall("l2Book", "BTC", stalled=False)
    rig.quote("100.0x9", "100.1x4")
    assert (await sock.next())["data"]["levels"][0][0]["sz"] == "9.0"


async def test_other_market_channels(rig: Rig) -> None:
    """Trades with a snapshot, middles, context, candle."""
    rig.exchange.take("BTC", Side.BUY, D(1))
    sock = await rig.socket()
    await sock.subscribe("trades", coin="BTC")
    assert [row["side"] for row in (await sock.next())["data"]] == ["B"]
    await sock.subscribe("candle", coin="BTC", interval="1m")
    assert (await sock.next())["data"]["n"] == 1
    rig.exchange.take("BTC", Side.SELL, D(1))
    frames = {f["channel"]: f["data"] for f in [await sock.next(), await sock.next()]}
    assert (frames["trades"][0]["side"], frames["candle"]["n"]) == ("A", 2)
    await sock.subscribe("allMids")
    assert (await sock.next())["data"] == {"mids": {"BTC": "100.05"}}
    await sock.subscribe("activeAssetCtx", coin="BTC")
    await sock.next()
    rig.mark("101", rate="0.0007")
    context = (await sock.next())["data"]
    assert (context["coin"], context["ctx"]["funding"], context["ctx"]["markPx"]) == (
        "BTC",
        "0.0007",
        "101.0",
    )


async def test_private_channels_tell_orders_fills_and_funding(rig: Rig) -> None:
    """Snapshots where there are some; the fill comes before the answer that caused it."""
    sock = await rig.socket()
    await sock.subscribe("userFills", user=rig.user)
    snapshot = (await sock.next())["data"]
    assert (snapshot["isSnapshot"], snapshot["fills"]) == (True, [])
    await sock.subscribe("orderUpdates", user=rig.user)
    await sock.subscribe("userEvents", user=rig.user)
    action = {"type": "order", "orders": [wire(p="100.1", **tif("Ioc"))], "grouping": "na"}
    post = {"type": "action", "payload": rig.signed(action)}
    await sock.send({"method": "post", "id": 5, "request": post})
    frames = [await sock.next() for _ in range(5)]
    assert [f["channel"] for f in frames] == [
        "orderUpdates",
        "userFills",
        "user",
        "orderUpdates",
        "post",
    ]
    assert "isSnapshot" not in frames[1]["data"]
    assert frames[2]["data"]["fills"] == frames[1]["data"]["fills"]
    row = frames[3]["data"][0]
    assert (row["status"], row["order"]["sz"], row["order"]["origSz"]) == ("filled", "0.0", "1.0")
    answer = frames[4]["data"]
    assert (answer["id"], answer["response"]["type"]) == (5, "action")
    assert answer["response"]["payload"]["status"] == "ok"
    await sock.subscribe("userFundings", user=rig.user)
    assert (await sock.next())["data"]["fundings"] == []
    rig.mark("100", rate="0.001")
    rig.exchange.settle_funding("BTC")
    frames = [await sock.next(), await sock.next()]
    assert frames[0]["data"]["funding"]["usdc"] == "-0.1"
    assert frames[1]["data"]["fundings"][0]["szi"] == "1.0"


async def test_state_channels_follow_the_account(rig: Rig) -> None:
    """clearinghouseState, openOrders, activeAssetData, webData2 and the empty spot state."""
    sock = await rig.socket()
    for kind in ("clearinghouseState", "openOrders", "webData2", "spotState"):
        await sock.subscribe(kind, user=rig.user)
        assert (await sock.next())["channel"] == kind
    await sock.subscribe("activeAssetData", user=rig.user, coin="BTC")
    data = (await sock.next())["data"]
    assert (data["leverage"]["value"], data["availableToTrade"][0]) == (10, "10000.0")
    await rig.place(wire(p="100.1", **tif("Ioc")), wire())
    seen: dict[str, Any] = {}
    while len(seen) < 4:
        frame = await sock.next()
        seen[frame["channel"]] = frame["data"]
        rig.now_ns += 200_000_000
    assert sorted(seen) == ["activeAssetData", "clearinghouseState", "openOrders", "webData2"]
    positions = seen["clearinghouseState"]["clearinghouseState"]["assetPositions"]
    assert positions[0]["position"]["szi"] == "1.0"


async def test_posts_answer_queries_and_errors(rig: Rig) -> None:
    """An info has its type inside; what cannot be read is an error with the id."""
    sock = await rig.socket()
    request: Any = {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}
    answer = (await sock.ask({"method": "post", "id": 1, "request": request}))["data"]
    assert (answer["id"], answer["response"]["type"]) == (1, "info")
    assert answer["response"]["payload"]["type"] == "l2Book"
    assert answer["response"]["payload"]["data"]["coin"] == "BTC"
    for request in (None, {"type": "x"}, {"type": "action", "payload": {}}, {"type": "info"}):
        answer = (await sock.ask({"method": "post", "id": 2, "request": request}))["data"]
        assert (answer["id"], answer["response"]["type"]) == (2, "error")


async def test_a_silent_connection_is_closed_after_60_s(rig: Rig) -> None:
    """A pong counts as a message."""
    sock = await rig.socket()
    rig.now_ns += 59 * SECOND
    await sock.settled()
    rig.now_ns += 59 * SECOND
    await sock.settled()
    rig.now_ns += 61 * SECOND
    assert (await sock.raw()).type is aiohttp.WSMsgType.CLOSE


async def test_a_dead_client_leaves_the_others_alone(rig: Rig) -> None:
    """A client that vanishes is forgotten; the others keep their stream."""
    dead, alive = await rig.socket(), await rig.socket()
    for sock in (dead, alive):
        await sock.subscribe("bbo", coin="BTC")
        await sock.next()
    connection = dead.socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    for _ in range(100):
        if len(rig.server.clients) == 1:
            break
        await alive.settled()
    rig.quote("100.0x6", "100.1x4")
    assert (await alive.next())["data"]["bbo"][0]["sz"] == "6.0"
    assert len(list(rig.server.topics.listeners("bbo|BTC"))) == 1


def test_credentials_are_made_from_the_seed() -> None:
    """A master's address and another key, that of its agent; the same seed gives the same."""
    made = [Server.make_credentials(random.Random(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert sorted(made[0]) == ["account_address", "private_key"]
    assert address_of_secret(made[0]["private_key"]) != made[0]["account_address"]
    assert len(Server.contracts()) == 10
    assert Server.profile().name == Server.venue == "hyperliquid"
