"""Our books against a venue's answer: a pure comparison that changes nothing.

A part that was not answered is unknown, never empty; what moved while the question was under way
is left for the next time.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from perpbot.domain.events import VenueSnapshot
from perpbot.domain.money import ZERO
from perpbot.domain.sides import RESTING
from perpbot.portfolio.leases import Leg, leg
from perpbot.portfolio.orders import Order
from perpbot.portfolio.positions import PositionBook


class PositionDifference(msgspec.Struct, frozen=True):
    """A leg where the venue holds something else than our books; signed base coins."""

    key: Leg
    ours: Decimal
    theirs: Decimal
    price: Decimal
    """Entry or mark price at the venue, else ours; settle currency."""

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{'/'.join(self.key)}: ours {self.ours}, venue {self.theirs}"


def position_differences(
    snapshot: VenueSnapshot, book: PositionBook
) -> list[PositionDifference] | None:
    """Return the legs that differ, by however little: steps change, and what lies below one stays.

    None when the venue did not answer. What the venue holds of assets that are not traded here
    differs too.
    """
    if snapshot.positions is None:
        return None
    theirs: dict[Leg, tuple[Decimal, Decimal]] = {}
    for report in snapshot.positions:
        key = leg(report.venue, report.account, report.asset, report.position_side)
        theirs[key] = (report.quantity, report.mark_price or report.entry_price)
    ours = {key: value for key, value in book.items() if key[0] == snapshot.venue}
    differences = []
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        mine = ours[key].quantity if key in ours else ZERO
        quantity, price = theirs.get(key, (ZERO, ZERO))
        if mine != quantity:
            fallback = ours[key].entry_price if key in ours else ZERO
            differences.append(PositionDifference(key, mine, quantity, price or fallback))
    return differences


def unlisted_orders(snapshot: VenueSnapshot, orders: Iterable[Order]) -> list[Order]:
    """Return our orders that should rest at the venue but are not among its open orders."""
    if snapshot.orders is None:
        return []
    listed = {report.client_id for report in snapshot.orders if report.client_id}
    return [
        order
        for order in orders
        if order.request.venue == snapshot.venue
        and order.state in RESTING
        and order.request.client_id not in listed
    ]
