"""Actions: what can be asked of the exchange, and the bytes of a signed request.

An action is packed twice, as msgpack for its hash and as JSON for the wire, from the same struct:
field order is the order the venue hashes, and what is UNSET is absent from both. Numbers of prices
and sizes are strings without trailing zeros, addresses are lower case.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from perpbot.venues.hyperliquid.signing import Signature


class Limit(msgspec.Struct, frozen=True):
    """Time in force: `Gtc`, `Ioc` or `Alo` (post only)."""

    tif: Literal["Gtc", "Ioc", "Alo"]


class LimitType(msgspec.Struct, frozen=True):
    """The order type of a limit order."""

    limit: Limit


class Trigger(msgspec.Struct, frozen=True, rename="camel"):
    """A stop (`sl`) or take-profit (`tp`) that fires at a mark price."""

    is_market: bool
    trigger_px: str
    tpsl: Literal["tp", "sl"]


class TriggerType(msgspec.Struct, frozen=True):
    """The order type of a trigger order."""

    trigger: Trigger


class OrderItem(msgspec.Struct, frozen=True):
    """One order: asset, is buy, price, size, reduce only, type, client id."""

    a: int
    b: bool
    p: str
    s: str
    r: bool
    t: LimitType | TriggerType
    c: str | UnsetType = UNSET


class PlaceOrders(msgspec.Struct, frozen=True, tag_field="type", tag="order"):
    """Place orders; `grouping` ties stops to an order or position."""

    orders: tuple[OrderItem, ...]
    grouping: Literal["na", "normalTpsl", "positionTpsl"] = "na"


class CancelItem(msgspec.Struct, frozen=True):
    """One cancel by the venue's order id."""

    a: int
    o: int


class CancelOrders(msgspec.Struct, frozen=True, tag_field="type", tag="cancel"):
    """Cancel by order ids."""

    cancels: tuple[CancelItem, ...]


class CloidItem(msgspec.Struct, frozen=True):
    """One cancel by client id."""

    asset: int
    cloid: str


class CancelByCloid(msgspec.Struct, frozen=True, tag_field="type", tag="cancelByCloid"):
    """Cancel by client ids."""

    cancels: tuple[CloidItem, ...]


class UpdateLeverage(
    msgspec.Struct, frozen=True, rename="camel", tag_field="type", tag="updateLeverage"
):
    """Set the leverage of one asset."""

    asset: int
    is_cross: bool
    leverage: int


class ScheduleCancel(msgspec.Struct, frozen=True, tag_field="type", tag="scheduleCancel"):
    """Cancel everything of the account at `time` (ms); without a time the schedule is removed."""

    time: int | UnsetType = UNSET


class Noop(msgspec.Struct, frozen=True, tag_field="type", tag="noop"):
    """Do nothing but use up a nonce."""


Action = PlaceOrders | CancelOrders | CancelByCloid | UpdateLeverage | ScheduleCancel | Noop


def request_bytes(
    action: Action,
    nonce: int,
    signature: Signature,
    *,
    vault_address: str = "",
    expires_ms: int | None = None,
) -> bytes:
    """Return the signed request: the body of POST /exchange, the payload of a websocket post."""
    vault = b'"%b"' % vault_address.lower().encode() if vault_address else b"null"
    expiry = b',"expiresAfter":%d' % expires_ms if expires_ms is not None else b""
    return (
        b'{"action":%b,"nonce":%d,"signature":{"r":"0x%b","s":"0x%b","v":%d},"vaultAddress":%b%b}'
        % (
            msgspec.json.encode(action),
            nonce,
            signature.r.hex().encode(),
            signature.s.hex().encode(),
            signature.v,
            vault,
            expiry,
        )
    )


def post_frame(request_id: int, request: bytes) -> bytes:
    """Return the websocket frame that posts a signed request."""
    return b'{"method":"post","id":%d,"request":{"type":"action","payload":%b}}' % (
        request_id,
        request,
    )
