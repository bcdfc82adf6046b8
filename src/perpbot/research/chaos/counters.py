"""What really happened: fault rows, edges of the state tables, kill points."""

from __future__ import annotations

from collections import Counter

from perpbot.app.core import Core
from perpbot.domain.events import (
    CancelOrders,
    OrderFact,
    OrderIntent,
    PairStateChanged,
)
from perpbot.domain.sides import OrderState


class Counters:
    """Counts of one seed, or of many."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.order_edges: Counter[str] = Counter()
        self.pair_edges: Counter[str] = Counter()
        self.kill_points: Counter[str] = Counter()

    def hit(self, row: str) -> None:
        """A fault of this row did something."""
        self.rows[row] += 1

    def add(self, other: Counters) -> None:
        """Add the counts of another seed."""
        self.rows.update(other.rows)
        self.order_edges.update(other.order_edges)
        self.pair_edges.update(other.pair_edges)
        self.kill_points.update(other.kill_points)

    def watch(self, core: Core) -> None:
        """Count the edges that an incarnation of the node takes; call after the folds."""
        states = {order.request.client_id: order.state for order in core.folds.orders.unsettled()}

        def submitted(event: OrderIntent) -> None:
            for order in event.orders:
                states[order.client_id] = OrderState.INTENT

        def moved(client_id: str, what: str) -> None:
            order = core.folds.orders.get(client_id)
            if order is not None:
                before = states.get(client_id, OrderState.INTENT)
                self.order_edges[f"{before} {what} {order.state}"] += 1
                states[client_id] = order.state

        def paired(event: PairStateChanged) -> None:
            self.pair_edges[f"{event.before} {event.after}"] += 1

        def cancelled(event: CancelOrders) -> None:
            for client_id in event.client_ids:
                moved(client_id, event.kind)

        core.bus.subscribe(OrderIntent, submitted)
        core.bus.subscribe(OrderFact, lambda event: moved(event.client_id, event.kind))
        core.bus.subscribe(CancelOrders, cancelled)
        core.bus.subscribe(PairStateChanged, paired)
