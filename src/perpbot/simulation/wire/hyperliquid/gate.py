"""Who may act: signer, nonce, deadline and the address's request budget.

Nonces are milliseconds; the hundred highest of each signer are kept, and a new one must be unused,
above the smallest kept once a hundred are kept, and between two days ago and one day ahead.
"""

from __future__ import annotations

import copy
from decimal import Decimal, InvalidOperation
from typing import Any

from perpbot.domain.money import ZERO, plain
from perpbot.simulation.wire.hyperliquid.requests import Envelope
from perpbot.simulation.wire.hyperliquid.signing import (
    MAINNET,
    TESTNET,
    USER_ACTIONS,
    action_hash,
    agent_digest,
    recover,
    user_digest,
)

_DAY_MS = 86_400_000
_KEPT_NONCES = 100
REQUEST_BUFFER = 10_000


class Refused(Exception):
    """Status err, with the venue's words."""


class Malformed(Exception):
    """HTTP 422: the body is not what the venue can read."""


class Gate:
    """Lets in what the master or one of its approved agents signed."""

    def __init__(self, master: str, agents: set[str]) -> None:
        self.master = master
        self.agents = agents
        self.request_buffer = REQUEST_BUFFER
        self.requests = 0
        self.volume = ZERO
        self._nonces: dict[str, set[int]] = {}

    @property
    def request_cap(self) -> int:
        """Requests that the traded volume allows: one a dollar beyond the buffer."""
        return self.request_buffer + int(self.volume)

    def admit(self, envelope: Envelope, now_ms: int) -> str:
        """Return who signed; raise `Refused` or `Malformed`."""
        signer = self._signer(envelope)
        if signer != self.master and signer not in self.agents:
            raise Refused(f"User or API Wallet {signer} does not exist.")
        self._use_nonce(signer, envelope.nonce, now_ms)
        if envelope.expires_after is not None and now_ms > envelope.expires_after:
            raise Refused(f"Action expired: expiresAfter {envelope.expires_after} has passed")
        if envelope.vault_address is not None:
            raise Refused(f"Vault not registered: {envelope.vault_address}")
        return signer

    def count(self, items: int, *, cancels: bool) -> None:
        """Charge a batch to the address's budget; cancels have up to twice as much."""
        cap = self.request_cap
        limit = min(cap + 100_000, 2 * cap) if cancels else cap
        if self.requests + items > limit:
            raise Refused(
                f"Too many cumulative requests sent ({self.requests + items} > {limit}) for "
                f"cumulative volume traded ${plain(round(self.volume, 2))}. Place taker orders "
                "to free up 1 request per USDC traded."
            )
        self.requests += items

    def spend_nonce(self, nonce: int) -> None:
        """Let every agent have used a nonce already, as a second program with their keys does."""
        for agent in self.agents:
            self._nonces.setdefault(agent, set()).add(nonce)

    def _signer(self, envelope: Envelope) -> str:
        signature = envelope.signature
        kind = USER_ACTIONS.get(str(envelope.action.get("type")))
        try:
            if kind is not None:
                digest = user_digest(kind, envelope.action)
                return recover(digest, signature.r, signature.s, signature.v)
            connection = action_hash(
                as_read(envelope.action),
                envelope.nonce,
                envelope.vault_address,
                envelope.expires_after,
            )
            # Mainnet signs with source "a", testnet and the SDK on loopback with "b".
            signers = [
                recover(agent_digest(source, connection), signature.r, signature.s, signature.v)
                for source in (TESTNET, MAINNET)
            ]
            known = [name for name in signers if name == self.master or name in self.agents]
            return (known or signers)[0]
        except (OverflowError, TypeError, ValueError) as problem:
            raise Malformed(str(problem)) from problem

    def _use_nonce(self, signer: str, nonce: int, now_ms: int) -> None:
        if not now_ms - 2 * _DAY_MS < nonce < now_ms + _DAY_MS:
            raise Refused(f"Invalid nonce: {nonce} is too far from {now_ms}")
        kept = self._nonces.setdefault(signer, set())
        if nonce in kept:
            raise Refused("Invalid nonce: duplicate nonce")
        if len(kept) >= _KEPT_NONCES:
            lowest = min(kept)
            if nonce < lowest:
                raise Refused(f"Invalid nonce: {nonce} is below the lowest kept, {lowest}")
            kept.remove(lowest)
        kept.add(nonce)


def as_read(action: dict[str, Any]) -> dict[str, Any]:
    """Return the action as the venue reads it before it hashes: numbers without trailing zeros.

    A sender that signs "1.50" hence signs something else, and another address is recovered.
    """
    orders = [
        *_dicts(action.get("orders")),
        *_dicts([action.get("order")]),
        *_dicts([modify.get("order") for modify in _dicts(action.get("modifies"))]),
    ]
    if all(_is_plain(order.get(name)) for order in orders for name in ("p", "s")):
        return action
    read = copy.deepcopy(action)
    for order in [
        *_dicts(read.get("orders")),
        *_dicts([read.get("order")]),
        *_dicts([modify.get("order") for modify in _dicts(read.get("modifies"))]),
    ]:
        for name in ("p", "s"):
            if not _is_plain(order.get(name)):
                order[name] = plain(Decimal(order[name]))
    return read


def _dicts(values: Any) -> list[dict[str, Any]]:
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def _is_plain(text: Any) -> bool:
    if not isinstance(text, str):
        return True
    try:
        value = Decimal(text)
    except InvalidOperation:
        return True
    return not value.is_finite() or plain(value) == text
