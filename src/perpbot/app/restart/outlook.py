"""What a rehearsal tells: orders and pairs with their next steps, and what is held beside them."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Step(msgspec.Struct, frozen=True):
    """Something that the restart does."""

    after_ms: int
    kind: str
    text: str


class OrderOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One order that was at work, and what becomes of it."""

    client_id: str
    pair: str
    venue: str
    asset: str
    purpose: str
    side: str
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    state: str
    since_ns: int
    awaits: str
    """What ends it: an answer, its fills, a proof of absence."""
    steps: tuple[Step, ...]


class PairOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One pair that is not flat, and its next action."""

    pair: str
    asset: str
    state: str
    long_venue: str
    long_quantity: Decimal
    short_venue: str
    short_quantity: Decimal
    imbalance: Decimal
    unhedged_since_ns: int
    close_reason: str
    orders: tuple[str, ...]
    steps: tuple[Step, ...]
    state_after: str
    """After these steps, before any venue has answered."""
    next_look_ms: int | None
    """When it is looked at again by itself; None where only news moves it."""
    waits_for: tuple[str, ...]
    """Venues that have to agree first: our books lack what happened there."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A leg with a position that no pair holds: dust, or something that nobody hedges."""

    venue: str
    account: str
    asset: str
    side: str
    quantity: Decimal
    held_by_pairs: Decimal
    dust: bool
    """Whether what no pair holds is less than one step of the instrument."""


class VenueOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One venue: nothing opens there before it has agreed with our books."""

    venue: str
    whole_until_ns: int
    """Up to when the books are known to be whole: executions are asked for from then on."""
    refusal: str
    """Why nothing opens there at first."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a restart would find and do."""

    epoch: int
    """The run that would begin."""
    orders: tuple[OrderOutlook, ...]
    pairs: tuple[PairOutlook, ...]
    reservations: tuple[dict[str, object], ...]
    leases: tuple[dict[str, str], ...]
    latches: dict[str, object]
    venues: tuple[VenueOutlook, ...]
    holdings: tuple[Holding, ...]
    others: tuple[Step, ...]
    """Steps that belong to no order and no pair."""
    halted: str
    """What would stop the restart at once; empty where nothing does."""
