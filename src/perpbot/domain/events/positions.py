"""Positions, funding, transfers, leases."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide


@event(EventKind.POSITION_UPDATED)
class PositionUpdated(Event, frozen=True, kw_only=True):
    """The net of one asset over venues after a change; USD at the last marks."""

    asset: str
    per_venue: dict[str, Decimal]
    net_usd: Decimal
    gross_usd: Decimal


@event(EventKind.POSITION_ADJUSTED)
class PositionAdjusted(Event, frozen=True, kw_only=True):
    """Our book was brought to the venue's truth by `delta` base coins, with a reason."""

    venue: str
    account: str
    asset: str
    position_side: PositionSide
    delta: Decimal
    price: Decimal
    reason: str
    takes_back_ns: int = 0
    """Time of an earlier adjustment that this one takes back: the execution was told that it had
    stood for. 0 for one that stands."""


@event(EventKind.FUNDING_PAID)
class FundingPaid(Event, frozen=True, kw_only=True):
    """One funding payment in USD; positive was received."""

    venue: str
    account: str
    asset: str
    payment_id: str
    amount_usd: Decimal
    unpriced: str = ""
    """Amount and currency where the currency has no USD rate; `amount_usd` is 0 then."""
    owner: str = ""
    venue_ns: int = 0


@event(EventKind.TRANSFER)
class Transfer(Event, frozen=True, kw_only=True):
    """Money moved in (positive) or out of an account, in USD; not profit."""

    venue: str
    account: str
    amount_usd: Decimal
    """0 where the currency has no USD rate: then its balance counts as nothing either."""
    reference: str
    """The venue's id of it."""
    currency: str = ""
    amount: Decimal = ZERO
    """As the venue told it, in `currency`."""
    reason: str = ""
    """The venue's own word for it."""
    venue_ns: int = 0


@event(EventKind.LEASE_RELEASED)
class LeaseReleased(Event, frozen=True, kw_only=True):
    """The leg is free again."""

    venue: str
    account: str
    asset: str
    position_side: PositionSide
    owner: str
