"""What is to be done: orders, pairs, questions to venues."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.events.capital import CapitalReserved
from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan


class Measure(msgspec.Struct, frozen=True, array_like=True):
    """One measured value against its limit: a number with its unit, or words alone."""

    passed: bool
    limit: str
    words: str = ""
    number: Decimal | None = None

    @property
    def value(self) -> str:
        """The measured value in plain words, to six decimals."""
        return self.words if self.number is None else plain(round(self.number, 6)) + self.words

    def __str__(self) -> str:
        return f"{self.value} ({self.limit})"


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate measured when it let an order pass; journalled with the order."""

    gate: str
    """open, hedge or reduce."""
    checks: dict[str, Measure]
    """By rule, in the order in which they were asked."""
    ts_ns: int


class OrderIntent(Event, frozen=True, kw_only=True):
    """Base of what sends orders: one atomic decision, one record."""

    orders: tuple[OrderRequest, ...]
    decision: GateDecision
    read_ns: int = 0
    """Monotonic time of the market frame that led here; 0 where there was none."""


@event(EventKind.SUBMIT_ORDERS)
class SubmitOrders(OrderIntent, frozen=True, kw_only=True):
    """Send these orders of a pair that is under way."""


@event(EventKind.PAIR_PLANNED)
class PairPlanned(OrderIntent, frozen=True, kw_only=True):
    """An opportunity is taken: gates passed, capital reserved, legs leased, both entries sent.

    The pair owns the legs of its plan from here on.
    """

    plan: PairPlan
    reservation: CapitalReserved


@event(EventKind.CANCEL_ORDERS)
class CancelOrders(Event, frozen=True, kw_only=True):
    """Cancel these orders of ours."""

    client_ids: tuple[str, ...]
    reason: str


@event(EventKind.CANCEL_FORGOTTEN)
class CancelForgotten(Event, frozen=True, kw_only=True):
    """Cancel a resting order of an earlier run of ours whose intent the journal has lost."""

    order: OrderRequest
    """As the venue tells it."""
    venue_order_id: str
    reason: str


@event(EventKind.CLOSE_PAIR)
class ClosePair(Event, frozen=True, kw_only=True):
    """Leave a pair: convergence, take_profit, stop, max_hold, funding, shutdown, kill."""

    pair_id: str
    reason: str
    detail: dict[str, str] = {}


@event(EventKind.EVALUATE_PAIR)
class EvaluatePair(Event, frozen=True, kw_only=True, gc=False):
    """Decide what a pair does next.

    On the stream lane: after every durable event has been folded, so two decisions never overlap.
    """

    pair_id: str


@event(EventKind.QUERY_ORDER)
class QueryOrder(Event, frozen=True, kw_only=True, gc=False):
    """Ask the venue what became of an order; the answer comes as reports."""

    client_id: str


@event(EventKind.RECONCILE_VENUE)
class ReconcileVenue(Event, frozen=True, kw_only=True, gc=False):
    """Ask a venue for orders, positions, balances, and what happened since times (UTC)."""

    venue: str
    reason: str
    fills_since_ns: int
    funding_since_ns: int | None = None
    """From when on funding payments are asked for; None: as far back as executions."""
    transfers_since_ns: int | None = None
    """From when on transfers are asked for; None: not at all."""

    @property
    def funding_from_ns(self) -> int:
        """From when on funding payments are asked for."""
        since_ns = self.funding_since_ns
        return self.fills_since_ns if since_ns is None else since_ns


@event(EventKind.LIST_INSTRUMENTS)
class ListInstruments(Event, frozen=True, kw_only=True, gc=False):
    """Ask a venue what it trades now, and in which steps."""

    venue: str
    reason: str
