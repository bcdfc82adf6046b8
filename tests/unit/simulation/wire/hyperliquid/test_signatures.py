"""Hyperliquid's server: what is signed, and how."""

from __future__ import annotations

from typing import Any

import pytest

from perpbot.simulation.wire.hyperliquid.signing import (
    action_hash,
    address_of_secret,
    agent_digest,
    recover,
)
from tests.unit.simulation.wire.hyperliquid.rig import _BY_CLOID, SIGNER, Rig, signature, wire

SECRET = "0x" + "0123456789" * 6 + "0123"
_IOC = {
    "type": "order",
    "orders": [wire(a=4, p="1670.1", s="0.0147", t={"limit": {"tif": "Ioc"}})],
    "grouping": "na",
}
_SMALL = {"type": "order", "orders": [wire(a=1, p="100", s="100")], "grouping": "na"}


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
