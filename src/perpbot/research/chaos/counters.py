"""What really happened: fault rows, edges of the state tables, kill points, unhedged spells."""

from __future__ import annotations

from collections import Counter

from perpbot.app.core import Core
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
    PairStateChanged,
    TradeCompleted,
)
from perpbot.domain.sides import OrderState
from perpbot.portfolio.orders import Order, OrderInput
from perpbot.portfolio.reservations import Reservation

_INPUTS: dict[type[OrderFact], OrderInput] = {
    OrderSent: OrderInput.SENT,
    OrderPlaced: OrderInput.PLACED,
    OrderCancelFailed: OrderInput.CANCEL_FAILED,
    OrderCancelled: OrderInput.CANCELLED,
    OrderExpired: OrderInput.EXPIRED,
    OrderFailed: OrderInput.FAILED,
    OrderUnknown: OrderInput.UNKNOWN,
    OrderProvenAbsent: OrderInput.PROVEN_ABSENT,
}


class Counters:
    """Counts of one seed, or of many."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.order_edges: Counter[str] = Counter()
        """`state input`, as in the table of orders."""
        self.pair_edges: Counter[str] = Counter()
        self.reservation_edges: Counter[str] = Counter()
        self.kill_points: Counter[str] = Counter()
        self.journalled: Counter[str] = Counter()
        """Records by kind."""
        self.healthy_ms: Counter[int] = Counter()
        """How long a net stayed open while its venues and the node worked: ms, and how often."""
        self.blocked_ms: Counter[int] = Counter()
        """The same where something kept the cover from being sent or known."""

    def hit(self, row: str) -> None:
        """A fault of this row did something."""
        self.rows[row] += 1

    def add(self, other: Counters) -> None:
        """Add the counts of another seed."""
        for name, counts in vars(self).items():
            counts.update(getattr(other, name))

    def watch(self, core: Core) -> None:
        """Count the edges that an incarnation of the node takes; call after the folds."""
        _OrderWatch(core, self.order_edges)
        _ReservationWatch(core, self.reservation_edges)

        def paired(event: PairStateChanged) -> None:
            self.pair_edges[f"{event.before} {event.after}"] += 1

        core.bus.subscribe(PairStateChanged, paired)


class _OrderWatch:
    """Follows the state of every order."""

    def __init__(self, core: Core, edges: Counter[str]) -> None:
        self._orders = core.folds.orders
        self._edges = edges
        self._states = {o.request.client_id: o.state for o in self._orders.unsettled()}
        core.bus.subscribe(OrderIntent, self._submitted)
        core.bus.subscribe(OrderFact, self._told)
        core.bus.subscribe(CancelOrders, self._cancelled)

    def _submitted(self, event: OrderIntent) -> None:
        for order in event.orders:
            self._states[order.client_id] = OrderState.INTENT

    def _told(self, event: OrderFact) -> None:
        order = self._orders.get(event.client_id)
        if order is not None:
            self._moved(order, _INPUTS.get(type(event)) or _fill(order))

    def _cancelled(self, event: CancelOrders) -> None:
        for client_id in event.client_ids:
            order = self._orders.get(client_id)
            if order is not None:
                self._moved(order, OrderInput.CANCEL_ASKED)

    def _moved(self, order: Order, happened: OrderInput) -> None:
        client_id = order.request.client_id
        before = self._states.get(client_id)
        if before is not None:
            self._edges[f"{before} {happened}"] += 1
        self._states[client_id] = order.state


def _fill(order: Order) -> OrderInput:
    full = order.filled >= order.request.quantity
    return OrderInput.FULL_FILL if full else OrderInput.PART_FILL


class _ReservationWatch:
    """Follows what every reservation is: reserved, sent, in use, released."""

    def __init__(self, core: Core, edges: Counter[str]) -> None:
        self._reservations = core.folds.reservations
        self._edges = edges
        self._states = {r.reservation_id: _state(r) for r in self._reservations}
        for kind in (OrderIntent, OrderFilled, TradeCompleted):
            core.bus.subscribe(kind, self._look)

    def _look(self, _event: Event) -> None:
        now = {r.reservation_id: _state(r) for r in self._reservations}
        before = self._states
        for name, state in now.items():
            if before.get(name) != state:
                self._edges[f"{before.get(name, 'none')} {state}"] += 1
        for name, state in before.items():
            if name not in now:
                self._edges[f"{state} released"] += 1
        self._states = now


def _state(reservation: Reservation) -> str:
    if any(reservation.used.values()):
        return "in_use"
    return "sent" if reservation.sent else "reserved"
