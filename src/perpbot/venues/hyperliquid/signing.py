"""Signatures of exchange actions: msgpack, keccak and EIP-712 over secp256k1.

An action is signed by hash: `keccak(msgpack(action) ++ nonce ++ vault ++ expiry)` becomes the
`connectionId` of a phantom agent, and that agent's EIP-712 digest is what the key signs. The
source is "a" on mainnet and "b" on testnet; what does not depend on the action is hashed once.
Nothing here reads a clock: nonces come from the caller.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from coincurve import PrivateKey
from Crypto.Hash import keccak

from perpbot.domain.errors import InvalidValue

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_PRIVATE_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 digest (the pre-standard padding that Ethereum uses)."""
    return keccak.new(digest_bits=256, data=data).digest()


# The EIP-712 domain of level-1 actions: name Exchange, version 1, chain id 1337, no contract.
_DOMAIN_SEPARATOR = keccak256(
    keccak256(
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    + keccak256(b"Exchange")
    + keccak256(b"1")
    + (1337).to_bytes(32, "big")
    + bytes(32)
)
_AGENT_TYPE = keccak256(b"Agent(string source,bytes32 connectionId)")
_AGENT_PREFIX = {
    mainnet: _AGENT_TYPE + keccak256(b"a" if mainnet else b"b") for mainnet in (True, False)
}
_DIGEST_PREFIX = b"\x19\x01" + _DOMAIN_SEPARATOR


class Signature(NamedTuple):
    """`r` and `s` as 32 bytes, `v` as 27 or 28."""

    r: bytes
    s: bytes
    v: int


def address_bytes(address: str, field: str = "address") -> bytes:
    """Return the 20 bytes of a hex address; raise `InvalidValue` naming `field` otherwise."""
    if not _ADDRESS.fullmatch(address):
        raise InvalidValue(f"{field} was {address!r}, 0x and 40 hex digits were expected")
    return bytes.fromhex(address[2:])


def action_hash(
    packed_action: bytes, nonce: int, *, vault: bytes | None = None, expires_ms: int | None = None
) -> bytes:
    """Return the hash that stands for an action: 32 bytes.

    `packed_action` is msgpack with the keys in the venue's order, `vault` 20 bytes.
    """
    data = packed_action + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + vault
    if expires_ms is not None:
        data += b"\x00" + expires_ms.to_bytes(8, "big")
    return keccak256(data)


class ActionSigner:
    """Signs actions with one key. One signer, one process: the venue counts nonces by signer."""

    def __init__(self, private_key: str, *, mainnet: bool, vault_address: str = "") -> None:
        if not _PRIVATE_KEY.fullmatch(private_key):
            raise InvalidValue("hyperliquid private_key was not 64 hex digits (0x is optional)")
        try:
            self._key = PrivateKey(bytes.fromhex(private_key.removeprefix("0x")))
        except ValueError:
            raise InvalidValue("hyperliquid private_key was not a key of secp256k1") from None
        self._vault = address_bytes(vault_address, "vault_address") if vault_address else None
        self._prefix = _AGENT_PREFIX[mainnet]
        public_key = self._key.public_key.format(compressed=False)
        self.address = "0x" + keccak256(public_key[1:])[-20:].hex()
        """The signer's own address, lower case; the agent's where an agent wallet signs."""

    def sign_hash(self, connection_id: bytes) -> Signature:
        """Sign the phantom agent of an action hash."""
        agent = keccak256(self._prefix + connection_id)
        compact = self._key.sign_recoverable(keccak256(_DIGEST_PREFIX + agent), hasher=None)
        return Signature(compact[:32], compact[32:64], compact[64] + 27)

    def sign(
        self, action: msgspec.Struct, nonce: int, *, expires_ms: int | None = None
    ) -> Signature:
        """Sign `action` (field order is wire order) for the vault this signer acts for."""
        packed = msgspec.msgpack.encode(action)
        return self.sign_hash(action_hash(packed, nonce, vault=self._vault, expires_ms=expires_ms))
