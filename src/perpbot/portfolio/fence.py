"""Notices that another node trades on one of our accounts, and then opens nothing any more.

Two nodes in one state directory exclude each other by a lock; two with directories of their own,
or on two machines, meet only at the venue. Every order of ours carries account and run in its id,
so an order or an execution under an id of our account that this journal never gave away is another
node's: of a later run, or of any other after this one began. The halt is latched in both nodes
until a person has ended one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from perpbot.domain.events import (
    AlertFired,
    FillReported,
    HaltLatched,
    OrderReported,
    VenueSnapshot,
)
from perpbot.domain.orders import FillReport, OrderReport
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.kernel.ids import IdMaker, OrderIdentity, decode_order_id, stable_bits
from perpbot.portfolio.orders import OrderTable

RULE = "two_nodes"
CLOCKS_NS = 10 * SECOND
"""By which a venue's clock may be ahead of ours: an old order of ours is no stranger's new one."""


class InstanceFence:
    """See the module. Listens to what venues report of orders and executions."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        orders: OrderTable,
        ids: IdMaker,
        account_of: Callable[[str], str],
        friends: Collection[str] = (),
    ) -> None:
        """Subscribe.

        `account_of(venue)` is our name for the account; `friends` are strategies of others that
        may act on it (the guardian has a fence of its own).
        """
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._ids = ids
        self._account_of = account_of
        self._friends = frozenset(stable_bits(name) for name in friends)
        self._began_ns = clock.now_ns()
        self._told: set[tuple[str, int]] = set()
        bus.subscribe(OrderReported, lambda event: self._look(event.report))
        bus.subscribe(FillReported, lambda event: self._look(event.report))
        bus.subscribe(VenueSnapshot, self._look_through)

    def _look_through(self, snapshot: VenueSnapshot) -> None:
        for order in snapshot.orders or ():
            self._look(order)
        for fill in snapshot.fills or ():
            self._look(fill)

    def _look(self, report: OrderReport | FillReport) -> None:
        if not report.client_id or self._orders.get(report.client_id) is not None:
            return
        identity = decode_order_id(report.client_id)
        if identity is None or not self._is_strange(report, identity):
            return
        key = (report.venue, identity.epoch)
        if key not in self._told:
            self._told.add(key)
            self._stop(report, identity.epoch)

    def _is_strange(self, report: OrderReport | FillReport, identity: OrderIdentity) -> bool:
        """Whether an id that is not in our books cannot be one that we gave away and forgot."""
        account = stable_bits(self._account_of(report.venue))
        if identity.account != account or identity.strategy in self._friends:
            return False
        if identity.epoch == self._ids.epoch:
            return identity.sequence > self._ids.sequence
        if identity.epoch > self._ids.epoch:
            return True
        return report.venue_ns > self._began_ns + CLOCKS_NS

    def _stop(self, report: OrderReport | FillReport, epoch: int) -> None:
        now_ns = self._clock.now_ns()
        self._bus.publish(
            HaltLatched(
                ts_ns=now_ns,
                rule=RULE,
                value=f"order {report.client_id} of run {epoch} at {report.venue}",
                limit=f"orders of this journal, now run {self._ids.epoch}",
            )
        )
        self._bus.publish(
            AlertFired(
                ts_ns=now_ns,
                name=RULE,
                severity="critical",
                text=f"another perpbot trades on the account "
                f"{self._account_of(report.venue)} of {report.venue}: order {report.client_id} "
                f"of its run {epoch} is not in the journal of this one (run {self._ids.epoch}). "
                "Nothing opens any more; end one of the two, then clear the halt: "
                f"`perpbot risk reset {RULE}`",
            )
        )
