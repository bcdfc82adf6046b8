"""What may be spent: snapshots, reservations, safe mode, equity."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind


@event(EventKind.CAPITAL_SNAPSHOT_UPDATE)
class CapitalSnapshotUpdated(Event, frozen=True, kw_only=True):
    """Balances of one venue in USD as the venue told them."""

    venue: str
    equity_usd: Decimal
    free_usd: Decimal
    wallet_usd: Decimal
    from_stream: bool


@event(EventKind.CAPITAL_UPDATED)
class CapitalUpdated(Event, frozen=True, kw_only=True):
    """Pools after a change: pool -> {total, reserved, in_use, available} in USD."""

    pools: dict[str, dict[str, Decimal]]
    drawdown: Decimal


@event(EventKind.FOLLOW_CAPITAL)
class FollowCapital(Event, frozen=True, kw_only=True, gc=False):
    """Look at the pools again, once everything durable of this moment has been folded."""


@event(EventKind.CAPITAL_RESERVED)
class CapitalReserved(Event, frozen=True, kw_only=True):
    """Margin set aside on every venue of a trade, all or none; `legs` venue -> USD."""

    reservation_id: str
    pool: str
    owner: str
    legs: dict[str, Decimal]
    leverage: dict[str, Decimal]
    expires_ns: int
    """UTC ns; an unsent reservation falls back after it."""


@event(EventKind.CAPITAL_RELEASED)
class CapitalReleased(Event, frozen=True, kw_only=True):
    """A reservation ended; everything it held is free again."""

    reservation_id: str
    reason: str


@event(EventKind.CAPITAL_REJECTED)
class CapitalRejected(Event, frozen=True, kw_only=True):
    """A reservation did not fit."""

    pool: str
    venue: str
    asked_usd: Decimal
    free_usd: Decimal
    reason: str


@event(EventKind.RESERVE_TOPPED_UP)
class ReserveToppedUp(Event, frozen=True, kw_only=True):
    """The reserve pool lent `amount_usd` to `pool` on `venue` (negative gives it back)."""

    venue: str
    pool: str
    amount_usd: Decimal


@event(EventKind.SAFE_MODE_CHANGED)
class SafeModeChanged(Event, frozen=True, kw_only=True):
    """A venue entered or left safe mode; drawdown is positive."""

    venue: str
    active: bool
    drawdown: Decimal


@event(EventKind.EQUITY_SAMPLED)
class EquitySampled(Event, frozen=True, kw_only=True):
    """Equity in USD by venue: our books less what is missing there; the peaks fold from it."""

    per_venue: dict[str, Decimal]
    total_usd: Decimal
    protected: dict[str, Decimal] = {}
    """The same without what hedged legs moved between venues: safe mode looks at this."""
    unexplained: dict[str, Decimal] = {}
    """By venue: how far our books have stood above what the venue tells (negative: below)."""
    opening: dict[str, Decimal] = {}
    """By venue: what our books began with, and the transfers that the sample contains."""


@event(EventKind.DAY_STARTED)
class DayStarted(Event, frozen=True, kw_only=True):
    """A UTC day began with this equity."""

    day: str
    equity_usd: Decimal
