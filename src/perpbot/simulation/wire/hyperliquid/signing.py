"""Who signed an action: the wallet address behind a Hyperliquid signature.

Read from the protocol: hash = keccak256(msgpack(action) + nonce u64 BE + vault + expiry);
that hash is the connectionId of an EIP-712 message `Agent{source, connectionId}` in the domain
Exchange/1/1337; the signer is what public key recovery gives. The action is hashed in the order of
keys in which it was received, because that is the order in which the sender hashed it.
"""

from __future__ import annotations

from typing import cast

import coincurve
import msgspec
from Crypto.Hash import keccak

MAINNET = "a"
TESTNET = "b"


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 digest (the padding before SHA-3's)."""
    return keccak.new(digest_bits=256, data=data).digest()


def address_of(public_key: coincurve.PublicKey) -> str:
    """Return the lower-case 0x address of a public key."""
    return "0x" + keccak256(public_key.format(compressed=False)[1:])[-20:].hex()


def address_of_secret(private_key: str) -> str:
    """Return the address of a private key given as (0x) hex."""
    secret = bytes.fromhex(private_key.removeprefix("0x").zfill(64))
    return address_of(coincurve.PrivateKey(secret).public_key)


def action_hash(action: object, nonce: int, vault: str | None, expires_ms: int | None) -> bytes:
    """Return the hash that an L1 action's signature commits to."""
    data = msgspec.msgpack.encode(action) + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault.removeprefix("0x"))
    if expires_ms is not None:
        data += b"\x00" + expires_ms.to_bytes(8, "big")
    return keccak256(data)


def _domain(name: str, chain_id: int) -> bytes:
    kind = keccak256(
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    return keccak256(
        kind
        + keccak256(name.encode())
        + keccak256(b"1")
        + chain_id.to_bytes(32, "big")
        + bytes(32)
    )


_EXCHANGE_DOMAIN = _domain("Exchange", 1337)
_AGENT = keccak256(b"Agent(string source,bytes32 connectionId)")


def agent_digest(source: str, connection_id: bytes) -> bytes:
    """Return the EIP-712 digest of an agent message."""
    message = keccak256(_AGENT + keccak256(source.encode()) + connection_id)
    return keccak256(b"\x19\x01" + _EXCHANGE_DOMAIN + message)


class UserAction(msgspec.Struct, frozen=True):
    """How a user-signed action is written down for EIP-712: its type name and fields."""

    primary: str
    fields: tuple[tuple[str, str], ...]


USER_ACTIONS = {
    "approveAgent": UserAction(
        "HyperliquidTransaction:ApproveAgent",
        (
            ("string", "hyperliquidChain"),
            ("address", "agentAddress"),
            ("string", "agentName"),
            ("uint64", "nonce"),
        ),
    ),
    "approveBuilderFee": UserAction(
        "HyperliquidTransaction:ApproveBuilderFee",
        (
            ("string", "hyperliquidChain"),
            ("string", "maxFeeRate"),
            ("address", "builder"),
            ("uint64", "nonce"),
        ),
    ),
}


def user_digest(kind: UserAction, action: dict[str, object]) -> bytes:
    """Return the EIP-712 digest of a user-signed action; ValueError when a field is wrong."""
    layout = ",".join(f"{type_name} {name}" for type_name, name in kind.fields)
    words = [keccak256(f"{kind.primary}({layout})".encode())]
    for type_name, name in kind.fields:
        value = action.get(name)
        if type_name == "string":
            words.append(keccak256(str("" if value is None else value).encode()))
        elif type_name == "address":
            words.append(bytes.fromhex(str(value).removeprefix("0x")).rjust(32, b"\0"))
        else:
            words.append(int(cast("int", value)).to_bytes(32, "big"))
    chain_id = int(str(action.get("signatureChainId", "0x66eee")), 16)
    domain = _domain("HyperliquidSignTransaction", chain_id)
    return keccak256(b"\x19\x01" + domain + keccak256(b"".join(words)))


def recover(digest: bytes, r: str, s: str, v: int) -> str:
    """Return the address whose key signed `digest`; ValueError when no key could have.

    `r` and `s` are 0x hex without regard to leading zeros.
    """
    if v not in (27, 28):
        raise ValueError(f"v was {v}, 27 or 28 was expected")
    numbers = [int(text, 16).to_bytes(32, "big") for text in (r, s)]
    signature = numbers[0] + numbers[1] + bytes([v - 27])
    try:
        return address_of(coincurve.PublicKey.from_signature_and_message(signature, digest, None))
    except Exception as problem:  # coincurve raises bare Exception for unrecoverable points
        raise ValueError(f"no key recovers from this signature: {problem}") from problem
