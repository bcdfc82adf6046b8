"""What is set aside and what is in use, reservation by reservation. Folds from the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    CapitalReleased,
    CapitalReserved,
    Event,
    OrderFilled,
    OrderIntent,
    PairPlanned,
    ReserveToppedUp,
    SubmitOrders,
)
from perpbot.domain.money import ZERO
from perpbot.domain.sides import Purpose


class Reservation(msgspec.Struct, kw_only=True):
    """Margin of one pair, USD by venue; `used` grows by opening fills, to at most `legs`."""

    reservation_id: str
    pool: str
    owner: str
    legs: dict[str, Decimal]
    leverage: dict[str, Decimal]
    used: dict[str, Decimal]
    expires_ns: int
    sent: bool = False

    def unsent(self, venue: str) -> Decimal:
        """Return what is set aside on a venue and not yet in use."""
        return max(self.legs.get(venue, ZERO) - self.used.get(venue, ZERO), ZERO)


class Reservations:
    """Every reservation that has not ended."""

    name = "reservations"

    def __init__(self) -> None:
        self._open: dict[str, Reservation] = {}
        self._orders: dict[str, str] = {}
        self.topped_up: dict[str, Decimal] = {}
        """What the reserve has lent to the arbitrage pool, by venue, USD."""
        self.loans = 0
        """How often that has changed in this process."""

    def get(self, reservation_id: str) -> Reservation | None:
        """Return a reservation that has not ended."""
        return self._open.get(reservation_id)

    def __iter__(self) -> Iterator[Reservation]:
        return iter(tuple(self._open.values()))

    def held(self, pool: str, venue: str | None = None) -> Decimal:
        """Return what a pool has set aside or in use, USD."""
        if not self._open:
            return ZERO
        return sum(
            (
                amount
                for reservation in self._open.values()
                if reservation.pool == pool
                for name, amount in reservation.legs.items()
                if venue in {None, name}
            ),
            ZERO,
        )

    def in_use(self, pool: str) -> Decimal:
        """Return what a pool has in use, USD."""
        return sum(
            (sum(r.used.values(), ZERO) for r in self._open.values() if r.pool == pool), ZERO
        )

    def unsent(self, venue: str) -> Decimal:
        """Return what is set aside on a venue and not yet margin there, USD."""
        if not self._open:
            return ZERO
        return sum((r.unsent(venue) for r in self._open.values()), ZERO)

    # --- folding ---

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            PairPlanned: self._planned,
            CapitalReserved: self._reserved,
            CapitalReleased: self._released,
            SubmitOrders: self._submitted,
            OrderFilled: self._filled,
            ReserveToppedUp: self._topped_up,
        }

    def _planned(self, event: PairPlanned) -> None:
        self._reserved(event.reservation)
        self._submitted(event)

    def _reserved(self, event: CapitalReserved) -> None:
        if event.reservation_id in self._open:
            raise StateConflict(f"reservation {event.reservation_id} was made twice")
        self._open[event.reservation_id] = Reservation(
            reservation_id=event.reservation_id,
            pool=event.pool,
            owner=event.owner,
            legs=dict(event.legs),
            leverage=dict(event.leverage),
            used=dict.fromkeys(event.legs, ZERO),
            expires_ns=event.expires_ns,
        )

    def _released(self, event: CapitalReleased) -> None:
        if self._open.pop(event.reservation_id, None) is not None:
            self._orders = {k: v for k, v in self._orders.items() if v != event.reservation_id}

    def _submitted(self, event: OrderIntent) -> None:
        for order in event.orders:
            reservation = self._open.get(order.reservation_id)
            if reservation is not None:
                reservation.sent = True
                if order.purpose in {Purpose.OPEN, Purpose.HEDGE}:
                    self._orders[order.client_id] = order.reservation_id

    def _filled(self, event: OrderFilled) -> None:
        reservation = self._open.get(self._orders.get(event.client_id, ""))
        if reservation is None or event.venue not in reservation.legs:
            return
        leverage = reservation.leverage.get(event.venue, Decimal(1))
        margin = event.price * event.quantity * event.usd_rate / leverage
        used = reservation.used[event.venue] + margin
        reservation.used[event.venue] = min(used, reservation.legs[event.venue])

    def _topped_up(self, event: ReserveToppedUp) -> None:
        self.topped_up[event.venue] = self.topped_up.get(event.venue, ZERO) + event.amount_usd
        self.loans += 1

    # --- surviving ---

    def snapshot(self) -> object:
        """The table as plain values."""
        return {
            "open": list(self._open.values()),
            "orders": dict(self._orders),
            "topped_up": dict(self.topped_up),
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        opened = msgspec.convert(state["open"], list[Reservation], strict=False)
        self._open = {reservation.reservation_id: reservation for reservation in opened}
        self._orders = dict(state["orders"])
        self.topped_up = msgspec.convert(state["topped_up"], dict[str, Decimal], strict=False)
        self.loans += 1
