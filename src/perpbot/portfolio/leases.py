"""Who owns which leg. Every position has an owner; nobody touches a leg that another one owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import Event, LeaseReleased, PairPlanned
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import PositionSide

Leg = tuple[str, str, str, str]
"""(venue, account, asset, position side)."""


def leg(venue: str, account: str, asset: str, side: PositionSide = PositionSide.NET) -> Leg:
    """Return the key of a leg."""
    return (venue, account, asset, str(side))


def legs_of(plan: PairPlan) -> tuple[Leg, Leg]:
    """Return the keys of both legs of a pair: long, short."""
    return (
        leg(plan.long_venue, plan.account_long, plan.asset, plan.side_long),
        leg(plan.short_venue, plan.account_short, plan.asset, plan.side_short),
    )


class Leases:
    """The legs that are owned, and by whom. Folds from the journal."""

    name = "leases"

    def __init__(self) -> None:
        self._owners: dict[Leg, str] = {}

    def owner(self, key: Leg) -> str | None:
        """Return who owns a leg, or None."""
        return self._owners.get(key)

    def items(self) -> Iterator[tuple[Leg, str]]:
        """Yield every leg that is owned, with its owner."""
        return iter(self._owners.items())

    def of_owner(self, owner: str) -> list[Leg]:
        """Return the legs of an owner."""
        return [key for key, holder in self._owners.items() if holder == owner]

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {PairPlanned: self._planned, LeaseReleased: self._released}

    def _planned(self, event: PairPlanned) -> None:
        owner = event.plan.pair_id
        for key in legs_of(event.plan):
            holder = self._owners.setdefault(key, owner)
            if holder != owner:
                raise StateConflict(f"leg {'/'.join(key)} is owned by {holder}, not free")

    def _released(self, event: LeaseReleased) -> None:
        key = leg(event.venue, event.account, event.asset, event.position_side)
        if self._owners.get(key) == event.owner:
            del self._owners[key]

    def snapshot(self) -> object:
        """The table as plain values."""
        return [[*key, owner] for key, owner in self._owners.items()]

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self._owners = {(row[0], row[1], row[2], row[3]): row[4] for row in state}
