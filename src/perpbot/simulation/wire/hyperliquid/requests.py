"""Actions as Hyperliquid's `/exchange` takes them; what does not fit is refused with HTTP 422."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Signature(msgspec.Struct, frozen=True):
    """Recoverable signature; `r` and `s` are hex without regard to leading zeros."""

    r: str
    s: str
    v: int


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What is posted: the action stays as received, because its order of keys is signed."""

    action: dict[str, Any]
    nonce: int
    signature: Signature
    vault_address: str | None = None
    expires_after: int | None = None


class Limit(msgspec.Struct, frozen=True):
    """A plain order."""

    tif: Literal["Gtc", "Ioc", "Alo", "FrontendMarket"]


class Trigger(msgspec.Struct, frozen=True, rename="camel"):
    """A stop or take profit."""

    is_market: bool
    trigger_px: str
    tpsl: Literal["tp", "sl"]


class Kind(msgspec.Struct, frozen=True):
    """One of the two."""

    limit: Limit | None = None
    trigger: Trigger | None = None


class OrderWire(msgspec.Struct, frozen=True):
    """Asset, is buy, price, size, reduce-only, type, client id."""

    a: int
    b: bool
    p: str
    s: str
    r: bool
    t: Kind
    c: str | None = None


class OrderAction(msgspec.Struct, frozen=True):
    """`order`."""

    orders: list[OrderWire]
    grouping: Any = "na"


class CancelWire(msgspec.Struct, frozen=True):
    """Asset and order id."""

    a: int
    o: int


class CancelAction(msgspec.Struct, frozen=True):
    """`cancel`."""

    cancels: list[CancelWire]


class CancelByCloidWire(msgspec.Struct, frozen=True):
    """Asset and client id."""

    asset: int
    cloid: str


class CancelByCloidAction(msgspec.Struct, frozen=True):
    """`cancelByCloid`."""

    cancels: list[CancelByCloidWire]


class ModifyWire(msgspec.Struct, frozen=True):
    """What replaces what."""

    oid: int | str
    order: OrderWire


class BatchModifyAction(msgspec.Struct, frozen=True):
    """`batchModify`."""

    modifies: list[ModifyWire]


class LeverageAction(msgspec.Struct, frozen=True, rename="camel"):
    """`updateLeverage`."""

    asset: int
    is_cross: bool
    leverage: int


class MarginAction(msgspec.Struct, frozen=True, rename="camel"):
    """`updateIsolatedMargin`."""

    asset: int
    is_buy: bool
    ntli: int


class ScheduleCancelAction(msgspec.Struct, frozen=True):
    """`scheduleCancel`; without a time it disarms."""

    time: int | None = None


class ApproveAgentAction(msgspec.Struct, frozen=True, rename="camel"):
    """`approveAgent`."""

    agent_address: str
    agent_name: str | None = None
