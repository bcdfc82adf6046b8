"""What a node remembers: every component whose state is the fold of durable events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perpbot.domain.events import (
    Event,
    JournalRepaired,
    RecordPassedOver,
    RunStarted,
    VenueReconciled,
)
from perpbot.execution.nonces import NonceMarks
from perpbot.execution.pair import PairBook
from perpbot.execution.reconcile import OVERLAP_NS
from perpbot.kernel.fold import DurableState
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.leases import Leases
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.reservations import Reservations
from perpbot.portfolio.transfers import BookedTransfers
from perpbot.risk.latches import RiskLatches

BOOKS = frozenset({Reservations.name, PairBook.name, RiskLatches.name})
"""What an order need not wait for. The order table and the leases speak before it leaves: an id or
a leg that is taken stops it."""


class Folds:
    """Every component whose state is the fold of durable events."""

    def __init__(self) -> None:
        self.orders = OrderTable()
        self.booked = BookedTrades()
        self.transfers = BookedTransfers()
        self.positions = PositionBook()
        self.leases = Leases()
        self.reservations = Reservations()
        self.equity = EquityBook()
        self.pairs = PairBook()
        self.latches = RiskLatches()
        self.runs = Runs()
        self.nonces = NonceMarks()

    def in_use(self) -> frozenset[tuple[str, str]]:
        """Return the (venue, asset) that pairs which are not flat and orders at work need."""
        legs = {(pair.venue(index), pair.plan.asset) for pair in self.pairs for index in (0, 1)}
        orders = {(o.request.venue, o.request.asset) for o in self.orders.unsettled()}
        return frozenset(legs | orders)

    def state(self) -> DurableState:
        """Return them as one state."""
        return DurableState(
            (
                self.orders,
                self.booked,
                self.transfers,
                self.positions,
                self.leases,
                self.reservations,
                self.equity,
                self.pairs,
                self.latches,
                self.runs,
                self.nonces,
            )
        )


class Runs:
    """The number of the run that wrote last, and up to when our books are whole, by venue.

    Ids of a new run never repeat an old one's. Before the first run nothing was ours: what an
    account did then is not booked.
    """

    name = "runs"

    def __init__(self) -> None:
        self.epoch = 0
        self.lost_ns = 0
        """When it last came out that these books may lack records (UTC); 0 where that never was.

        A repair left some out, a person passed one over, or the machine went down before the disk
        had them."""
        self._born_ns = 0
        self._agreed_ns: dict[str, int] = {}

    def whole_until_ns(self, venue: str) -> int:
        """Return when it last agreed (UTC, with a margin), else when the first run began."""
        return self._agreed_ns.get(venue, self._born_ns)

    @property
    def born_ns(self) -> int:
        """When the first run began (UTC); 0 before it."""
        return self._born_ns

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            RunStarted: self._started,
            VenueReconciled: self._reconciled,
            JournalRepaired: self._repaired,
            RecordPassedOver: self._passed_over,
        }

    def _started(self, event: RunStarted) -> None:
        self.epoch = event.epoch
        self._born_ns = self._born_ns or event.ts_ns
        if event.may_lack:
            self.lost_ns = event.ts_ns

    def _passed_over(self, event: RecordPassedOver) -> None:
        self.lost_ns = event.ts_ns

    def _repaired(self, event: JournalRepaired) -> None:
        self.epoch = max(self.epoch, event.epoch)
        if event.lost:
            self.lost_ns = event.ts_ns

    def _reconciled(self, event: VenueReconciled) -> None:
        if event.agreed:
            self._agreed_ns[event.venue] = max(event.ts_ns - OVERLAP_NS, self._born_ns)

    def snapshot(self) -> object:
        """The runs as plain values."""
        return {
            "epoch": self.epoch,
            "lost_ns": self.lost_ns,
            "born_ns": self._born_ns,
            "agreed_ns": self._agreed_ns,
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self.epoch, self.lost_ns = state["epoch"], state["lost_ns"]
        self._born_ns = state["born_ns"]
        self._agreed_ns = dict(state["agreed_ns"])
