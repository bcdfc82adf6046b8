"""Counts what happened in a run, from the bus; nothing depends on it."""

from __future__ import annotations

from perpbot.domain.events import (
    AlertFired,
    OrderFilled,
    OrderIntent,
    PairPlanned,
    TradeCompleted,
)
from perpbot.kernel.bus import EventBus

RECENT = 50


class RunTally:
    """Counts of this process; sinks that must survive read the journal instead."""

    def __init__(self, bus: EventBus) -> None:
        self.orders = 0
        self.fills = 0
        self.pairs_opened = 0
        self.pairs_closed = 0
        self.worst_unhedged_ns = 0
        self.edges_bps: list[float] = []
        self.trades: list[TradeCompleted] = []
        self.alerts: list[AlertFired] = []
        self._planned: dict[str, float] = {}
        bus.subscribe(OrderIntent, self._submitted, core=False)
        bus.subscribe(OrderFilled, self._filled, core=False)
        bus.subscribe(PairPlanned, self._plan, core=False)
        bus.subscribe(TradeCompleted, self._completed, core=False)
        bus.subscribe(AlertFired, self._alert, core=False)

    def _submitted(self, event: OrderIntent) -> None:
        self.orders += len(event.orders)

    def _filled(self, _event: OrderFilled) -> None:
        self.fills += 1

    def _plan(self, event: PairPlanned) -> None:
        self._planned[event.plan.pair_id] = event.plan.opportunity.edge.edge_bps

    def _completed(self, event: TradeCompleted) -> None:
        edge_bps = self._planned.pop(event.pair_id, None)
        self.worst_unhedged_ns = max(self.worst_unhedged_ns, event.worst_unhedged_ns)
        if event.opened:
            self.pairs_opened += 1
            self.pairs_closed += 1
            if edge_bps is not None:
                self.edges_bps.append(edge_bps)
        self.trades.append(event)
        del self.trades[:-RECENT]

    def _alert(self, event: AlertFired) -> None:
        self.alerts.append(event)
        del self.alerts[:-RECENT]
