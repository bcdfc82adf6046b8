"""Positions that no pair holds: nobody hedges them, and what to do about each.

A stray execution or an adjustment that no pair explains leaves one. Nothing opens on such a leg
(the rule `legs_clear`) until the venue holds nothing there and the books have followed: by the
venue's own telling of the execution, else by the next comparisons of positions.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.money import plain
from perpbot.operations.sources import Sources
from perpbot.portfolio.leases import Leg, legs_of


class Unowned(msgspec.Struct, frozen=True, kw_only=True):
    """One leg that is not flat and belongs to no pair."""

    venue: str
    account: str
    asset: str
    position_side: str
    quantity: Decimal
    """Signed base coins."""
    blocks_opening: bool
    """False for dust, and for what is not traded here: nothing would open there anyway."""

    @property
    def text(self) -> str:
        """What it is and what to do, one line for people."""
        act = "Sell" if self.quantity > 0 else "Buy"
        what = (
            f"{self.venue}, account {self.account}: {plain(self.quantity)} {self.asset} "
            f"({self.position_side}) belongs to no pair; nobody hedges it"
        )
        if not self.blocks_opening:
            return f"{what}, and it keeps nothing from opening"
        return (
            f"{what} and nothing opens there. {act} {plain(abs(self.quantity))} there by hand: "
            "once the venue has told it, or the positions were compared again, it is booked and "
            "opening resumes"
        )


def unowned_positions(sources: Sources) -> list[Unowned]:
    """Return every leg that is held and belongs to no pair."""
    owned = {key for pair in sources.pairs for key in legs_of(pair.plan)}
    return [
        Unowned(
            venue=key[0],
            account=key[1],
            asset=key[2],
            position_side=key[3],
            quantity=position.quantity,
            blocks_opening=_keeps_from_opening(sources, key, position.quantity),
        )
        for key, position in sources.positions.held()
        if key not in owned
    ]


def _keeps_from_opening(sources: Sources, key: Leg, quantity: Decimal) -> bool:
    instrument = sources.instruments.get((key[0], key[2]))
    return instrument is not None and not instrument.is_dust(
        quantity, sources.quotes.mark(key[0], key[2])
    )
