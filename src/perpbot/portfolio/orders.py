"""The order table: one row an order, one state table, nothing forgotten.

`TRANSITIONS` holds every legal move; an illegal pair raises `StateConflict`. Any order of
acknowledgement, fills and cancellation gives the same end: the filled quantity only grows, a full
fill wins over a cancellation, and an end may still receive a late fill.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    CancelOrders,
    Event,
    OrderCancelFailed,
    OrderCancelled,
    OrderExpired,
    OrderFact,
    OrderFailed,
    OrderFilled,
    OrderIntent,
    OrderPlaced,
    OrderProvenAbsent,
    OrderSent,
    OrderUnknown,
    PairPlanned,
    SubmitOrders,
)
from perpbot.domain.money import ZERO
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderState, Purpose

S = OrderState

KEPT_ENDED = 5_000
"""Ended orders that stay in the table for late news; older ones are forgotten."""


class OrderInput(StrEnum):
    """What can happen to an order."""

    SENT = "sent"
    PLACED = "placed"
    PART_FILL = "part_fill"
    FULL_FILL = "full_fill"
    CANCEL_ASKED = "cancel_asked"
    CANCEL_FAILED = "cancel_failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"
    UNKNOWN = "unknown"
    PROVEN_ABSENT = "proven_absent"


I = OrderInput  # noqa: E741 - the table below reads as a table

_MOVES_NOTHING = frozenset({I.SENT, I.FAILED, I.PROVEN_ABSENT})
"""After these no position can have changed: an order that is refused again and again must not keep
a difference from being adjusted. While an order lives, nothing is adjusted anyway."""

_LIVE: dict[OrderInput, OrderState] = {
    I.SENT: S.SENT,
    I.PLACED: S.ACCEPTED,
    I.PART_FILL: S.PARTIALLY_FILLED,
    I.FULL_FILL: S.FILLED,
    I.CANCELLED: S.CANCELLED,
    I.EXPIRED: S.EXPIRED,
}

TRANSITIONS: Mapping[OrderState, Mapping[OrderInput, OrderState]] = {
    S.INTENT: {
        **_LIVE,
        I.FAILED: S.REJECTED,
        I.UNKNOWN: S.UNKNOWN,
        I.CANCEL_ASKED: S.INTENT,
        I.CANCEL_FAILED: S.INTENT,
    },
    S.SENT: {
        **_LIVE,
        I.FAILED: S.REJECTED,
        I.UNKNOWN: S.UNKNOWN,
        I.CANCEL_ASKED: S.SENT,
        I.CANCEL_FAILED: S.SENT,
    },
    S.UNKNOWN: {
        **_LIVE,
        I.SENT: S.UNKNOWN,
        I.FAILED: S.REJECTED,
        I.UNKNOWN: S.UNKNOWN,
        I.PROVEN_ABSENT: S.PROVEN_ABSENT,
        I.CANCEL_ASKED: S.UNKNOWN,
        I.CANCEL_FAILED: S.UNKNOWN,
    },
    S.ACCEPTED: {
        **_LIVE,
        I.SENT: S.ACCEPTED,
        I.UNKNOWN: S.ACCEPTED,
        I.CANCEL_ASKED: S.PENDING_CANCEL,
        I.CANCEL_FAILED: S.ACCEPTED,
    },
    S.PARTIALLY_FILLED: {
        **_LIVE,
        I.SENT: S.PARTIALLY_FILLED,
        I.PLACED: S.PARTIALLY_FILLED,
        I.UNKNOWN: S.PARTIALLY_FILLED,
        I.CANCEL_ASKED: S.PENDING_CANCEL,
        I.CANCEL_FAILED: S.PARTIALLY_FILLED,
    },
    S.PENDING_CANCEL: {
        I.SENT: S.PENDING_CANCEL,
        I.PLACED: S.PENDING_CANCEL,
        I.UNKNOWN: S.PENDING_CANCEL,
        I.PART_FILL: S.PENDING_CANCEL,
        I.FULL_FILL: S.FILLED,
        I.CANCEL_ASKED: S.PENDING_CANCEL,
        I.CANCEL_FAILED: S.ACCEPTED,
        I.CANCELLED: S.CANCELLED,
        I.EXPIRED: S.EXPIRED,
    },
    **{
        end: {
            I.SENT: end,
            I.PLACED: end,
            I.UNKNOWN: end,
            I.PART_FILL: end,
            I.FULL_FILL: S.FILLED,
            I.CANCEL_ASKED: end,
            I.CANCEL_FAILED: end,
            I.CANCELLED: end,
            I.EXPIRED: end,
        }
        for end in (S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED, S.PROVEN_ABSENT)
    },
}


def next_state(state: OrderState, happened: OrderInput) -> OrderState:
    """Return the state after `happened`; raise `StateConflict` for an illegal pair."""
    after = TRANSITIONS[state].get(happened)
    if after is None:
        raise StateConflict(f"an order that is {state} cannot be {happened}")
    return after


class Order(msgspec.Struct, kw_only=True):
    """One order of ours. Quantities in base coins, amounts in USD where named so."""

    request: OrderRequest
    state: OrderState = OrderState.INTENT
    venue_order_id: str = ""
    filled: Decimal = ZERO
    turnover: Decimal = ZERO
    """Sum of price times quantity, settle currency."""
    fee_usd: Decimal = ZERO
    venue_filled: Decimal = ZERO
    """What the venue said was done when the order ended; fills may still be on their way."""
    overfill: Decimal = ZERO
    cancel_asked: bool = False
    created_ns: int = 0
    updated_ns: int = 0
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """What could still fill if the order lives."""
        return max(self.request.quantity - self.filled, ZERO)

    @property
    def average_price(self) -> Decimal | None:
        """Of the fills so far."""
        return self.turnover / self.filled if self.filled else None

    @property
    def settled(self) -> bool:
        """Whether it has ended and every fill that the venue spoke of is booked."""
        return self.state.is_end and self.filled >= self.venue_filled

    @property
    def open_quantity(self) -> Decimal:
        """What may still change the position: the rest of a live order, or fills not yet told."""
        if self.state.is_end:
            return max(self.venue_filled - self.filled, ZERO)
        return self.remaining


class OrderTable:
    """Every live order, and the recent ended ones. Folds from the journal."""

    name = "orders"

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._live: dict[str, Order] = {}
        self._by_venue_id: dict[tuple[str, str], str] = {}
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._changed_ns: dict[tuple[str, str, str], int] = {}
        self.count = 0
        """Orders ever intended."""
        self.overfills = 0

    # --- reading ---

    def get(self, client_id: str) -> Order | None:
        """Return an order by canonical client id."""
        return self._orders.get(client_id)

    def request(self, client_id: str) -> OrderRequest | None:
        """Return the request of an order."""
        order = self._orders.get(client_id)
        return None if order is None else order.request

    def by_venue_id(self, venue: str, venue_order_id: str) -> Order | None:
        """Return an order by the venue's id."""
        client_id = self._by_venue_id.get((venue, venue_order_id))
        return None if client_id is None else self._orders.get(client_id)

    def unsettled(self) -> Iterator[Order]:
        """Yield orders that live, or whose fills are not all booked, oldest first."""
        return iter(tuple(self._live.values()))

    def of_owner(self, owner: str) -> Iterator[Order]:
        """Yield the unsettled orders of a pair, oldest first."""
        return (order for order in tuple(self._live.values()) if order.request.owner == owner)

    def open_reduction(self, venue: str, account: str, asset: str) -> Decimal:
        """Return the signed base quantity that unsettled reductions of a leg may still trade."""
        total = ZERO
        for order in self._live.values():
            request = order.request
            if (request.venue, request.account, request.asset) == (venue, account, asset) and (
                request.purpose in {Purpose.REDUCE, Purpose.PROTECT}
            ):
                total += order.open_quantity * request.side.sign
        return total

    def open_growth(self, venue: str, account: str, asset: str) -> Decimal:
        """Return the base quantity by which unsettled entries and hedges may still grow a leg."""
        total = ZERO
        for order in self._live.values():
            request = order.request
            if (request.venue, request.account, request.asset) == (venue, account, asset) and (
                request.purpose in {Purpose.OPEN, Purpose.HEDGE}
            ):
                total += order.open_quantity
        return total

    def last_change_ns(self, venue: str, account: str, asset: str) -> int:
        """Return when an order last changed so that the leg may have; 0: never in this process."""
        return self._changed_ns.get((venue, account, asset), 0)

    # --- folding ---

    def folds(self) -> Mapping[type[Event], Any]:
        """What the table lives on."""
        return {
            PairPlanned: self._submitted,
            SubmitOrders: self._submitted,
            CancelOrders: self._cancel_asked,
            OrderSent: self._fold(I.SENT),
            OrderPlaced: self._placed,
            OrderFilled: self._filled,
            OrderCancelled: self._ended(I.CANCELLED),
            OrderExpired: self._ended(I.EXPIRED),
            OrderFailed: self._fold(I.FAILED),
            OrderUnknown: self._fold(I.UNKNOWN),
            OrderProvenAbsent: self._fold(I.PROVEN_ABSENT),
            OrderCancelFailed: self._fold(I.CANCEL_FAILED),
        }

    def _submitted(self, event: OrderIntent) -> None:
        for request in event.orders:
            if request.client_id in self._orders:
                raise StateConflict(f"client id {request.client_id} is used twice")
            order = Order(request=request, created_ns=event.ts_ns, updated_ns=event.ts_ns)
            self._orders[request.client_id] = self._live[request.client_id] = order
            self.count += 1

    def _cancel_asked(self, event: CancelOrders) -> None:
        for client_id in event.client_ids:
            order = self._orders.get(client_id)
            if order is not None:
                order.cancel_asked = True
                self._move(order, I.CANCEL_ASKED, event.ts_ns)

    def _fold(self, happened: OrderInput) -> Any:
        def fold(event: OrderFact) -> None:
            order = self._orders.get(event.client_id)
            if order is not None:
                if happened is I.CANCEL_FAILED:
                    order.cancel_asked = False  # it may be asked again
                order.reason = getattr(event, "reason", "") or order.reason
                self._move(order, happened, event.ts_ns)

        return fold

    def _placed(self, event: OrderPlaced) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            return
        self._bind(order, event.venue_order_id)
        self._move(order, I.PLACED, event.ts_ns)

    def _bind(self, order: Order, venue_order_id: str) -> None:
        """Keep the venue's id of an order; a newer one takes the place of the old."""
        if not venue_order_id or venue_order_id == order.venue_order_id:
            return
        venue = order.request.venue
        self._by_venue_id.pop((venue, order.venue_order_id), None)
        order.venue_order_id = venue_order_id
        self._by_venue_id[(venue, venue_order_id)] = order.request.client_id

    def _filled(self, event: OrderFilled) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            return
        if not order.venue_order_id:
            self._bind(order, event.venue_order_id)
        order.filled += event.quantity
        order.turnover += event.quantity * event.price
        order.fee_usd += event.fee_usd
        order.venue_filled = max(order.venue_filled, order.filled)
        if order.filled > order.request.quantity:
            order.overfill = order.filled - order.request.quantity
            self.overfills += 1
        full = order.filled >= order.request.quantity
        self._move(order, I.FULL_FILL if full else I.PART_FILL, event.ts_ns)

    def _ended(self, happened: OrderInput) -> Any:
        def fold(event: OrderCancelled | OrderExpired) -> None:
            order = self._orders.get(event.client_id)
            if order is not None:
                order.venue_filled = max(order.venue_filled, event.filled)
                order.reason = event.reason or order.reason
                self._move(order, happened, event.ts_ns)

        return fold

    def _move(self, order: Order, happened: OrderInput, ts_ns: int) -> None:
        order.state = _resting(order, next_state(order.state, happened))
        order.updated_ns = ts_ns
        request = order.request
        if happened not in _MOVES_NOTHING:
            self._changed_ns[(request.venue, request.account, request.asset)] = ts_ns
        client_id = order.request.client_id
        if not order.settled:
            self._settled.pop(client_id, None)
            self._live[client_id] = order
        elif self._live.pop(client_id, None) is not None:
            self._settled[client_id] = None
            self._forget()

    def _forget(self) -> None:
        """Let go of the order that settled first, when there are too many."""
        if len(self._settled) > KEPT_ENDED:
            oldest, _ = self._settled.popitem(last=False)
            order = self._orders.pop(oldest)
            self._by_venue_id.pop((order.request.venue, order.venue_order_id), None)

    # --- surviving ---

    def snapshot(self) -> object:
        """The table as plain values."""
        return {
            "orders": list(self._orders.values()),
            "live": list(self._live),
            "settled": list(self._settled),
            "count": self.count,
            "overfills": self.overfills,
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        orders = msgspec.convert(state["orders"], list[Order], strict=False)
        self._orders = {order.request.client_id: order for order in orders}
        self._live = {key: self._orders[key] for key in state["live"]}
        self._settled = OrderedDict.fromkeys(state["settled"])
        self._by_venue_id = {
            (order.request.venue, order.venue_order_id): key
            for key, order in self._orders.items()
            if order.venue_order_id
        }
        self.count = state["count"]
        self.overfills = state["overfills"]


def _resting(order: Order, state: OrderState) -> OrderState:
    """Return which of the resting states holds: news in any order give the same one."""
    if state not in {S.ACCEPTED, S.PARTIALLY_FILLED}:
        return state
    if order.cancel_asked:
        return S.PENDING_CANCEL
    return S.PARTIALLY_FILLED if order.filled else S.ACCEPTED
