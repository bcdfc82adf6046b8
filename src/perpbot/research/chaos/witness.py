"""The invariants, held by code that shares nothing with the node.

`Witness` hears executions from the exchanges, requests from the wire and records from the journal,
and passes each to those parts of its testimony that keep books of it: a violation is one line that
says what, where and by how much. Time here is the true time of the world, not any venue's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from perpbot.domain.orders import OrderRequest
from perpbot.kernel.clock import Clock
from perpbot.research.chaos.plan import Plan
from perpbot.research.chaos.testimony.books import Books
from perpbot.research.chaos.testimony.capital import Capital
from perpbot.research.chaos.testimony.exposure import Exposure
from perpbot.research.chaos.testimony.orders import RESOLVES, Orders
from perpbot.research.chaos.testimony.told import Told
from perpbot.research.chaos.testimony.truth import Truth
from perpbot.research.chaos.testimony.verdict import Verdict
from perpbot.simulation.model import Execution


class Witness:
    """See the module. Read `violations` at the end."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._clock = clock
        self._verdict = Verdict(clock)
        self.violate = self._verdict.violate
        self.told = Told(self._verdict, clock)
        self.truth = Truth(clock)
        self.books = Books(self._verdict, self.truth)
        self.orders = Orders(self._verdict, clock, plan, self.truth, self.books)
        self.exposure = Exposure(plan, clock, self.truth, self.books, self.orders)
        self.capital = Capital(self._verdict, plan)
        self.killed: str | None = None
        """What the kill switch is engaged for: a venue, "" the whole node, None nothing."""
        self.may_halt = False
        """Whether the core may halt now: its queues are tiny, or the disk is full."""
        self.full_since_ns = 0
        """Since when the disk is full; 0 while there is room."""
        self._handlers: dict[str, Callable[[Any], None]] = {
            "SUBMIT_ORDERS": self.orders.intended,
            "ORDER_FILLED": self._filled,
            "ORDER_UNKNOWN": self.orders.unanswered,
            "POSITION_ADJUSTED": self._adjusted,
            "TRADE_COMPLETED": self.books.completed,
            "ALERT_FIRED": self.books.alarmed,
            "PAIR_PLANNED": self._planned,
            "COMPONENT_ERROR": self._failed,
        }

    @property
    def violations(self) -> list[str]:
        """What was broken until now."""
        return self._verdict.violations

    def died(self) -> None:
        """The node died: the next one knows only the journal."""
        self.told.died()
        self.orders.died()

    # --- the wire and the exchanges --------------------------------------------------------------

    def sent(self, order: OrderRequest) -> None:
        """A request leaves the node."""
        self.orders.sent(order)
        self.told.check_grid(order)
        if order.purpose == "open":
            self._opening(order)
        else:
            self.orders.check_cover(order)

    def _opening(self, order: OrderRequest) -> None:
        if 0 < self.full_since_ns < self._clock.now_ns():
            self.violate(f"R2 opened on {order.venue} with a full disk")
        if self.killed in {"", order.venue}:
            self.violate(f"R5 opened on {order.venue} with the kill switch engaged")
        self.told.check_opening(order)

    def executed(self, execution: Execution, venue: str, asset: str) -> None:
        """One true execution of the account."""
        place = (venue, asset)
        moved = self.truth.executed(execution, place)
        if execution.client_id:
            self.orders.executed(execution.client_id, execution.quantity, place, moved)
        self.exposure.executed(asset)

    # --- the journal -----------------------------------------------------------------------------

    def journalled(self, event: Any) -> None:
        """A record was written."""
        if event.kind in RESOLVES:
            asset = self.orders.resolved(event)
            if asset is not None:
                self.exposure.doubted(asset)
        handler = self._handlers.get(event.kind)
        if handler is not None:
            handler(event)

    def relearn(self, events: Iterable[Any]) -> None:
        """The power failed and took records: know what the others say."""
        self.books.forget()
        self.orders.forget()
        with self._verdict.muted():
            for event in events:
                self.journalled(event)

    def _planned(self, event: Any) -> None:
        self.orders.intended(event)
        self.books.planned(event)

    def _filled(self, event: Any) -> None:
        self.books.filled(event, self.orders.filled(event))

    def _adjusted(self, event: Any) -> None:
        self.books.adjusted(event)
        self.exposure.doubted(event.asset)

    def _failed(self, event: Any) -> None:
        if self.may_halt and event.component.startswith("core"):
            return
        self.violate(f"E3 {event.component}: {event.error}")

    # --- every step, and the end -----------------------------------------------------------------

    def inspect(self, core: Any, started_ns: int) -> None:
        """Look at a living node between two steps."""
        self.orders.inspect(core, started_ns)
        self.books.inspect(core)
        self.capital.inspect(core)
        self.check_latches(core.folds.latches)

    def check_latches(self, latches: Any) -> None:
        """The node knows what a person has stopped."""
        if (self.killed == "" and latches.kill_level == 0) or (
            self.killed and self.killed not in latches.venue_kills
        ):
            self.violate("R5 the kill switch was forgotten")

    def settled(self, core: Any) -> list[str]:
        """Return what keeps the world from being settled, or an empty list."""
        open_ = [
            f"{order.state} {order.request.purpose} order on {order.request.venue}"
            for order in core.folds.orders.unsettled()
        ]
        open_ += [
            f"pair {pair.state} holds {pair.long.quantity} / {pair.short.quantity}"
            for pair in core.folds.pairs
        ]
        open_ += self.books.disagreements()
        open_ += self.exposure.unhedged()
        if not open_ and core.capital.reserved_total() != 0:
            open_.append(f"C3 {core.capital.reserved_total()} USD reserved though all is flat")
        return open_
