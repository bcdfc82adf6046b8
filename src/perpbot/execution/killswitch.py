"""The kill switch ladder.

K1 no opens, K2 and cancel resting, K3 and flatten what is unhedged, K4 flatten all, K5 exit.
K1 to K4 also for one venue: then they hold for orders there, and for pairs with a leg there.

Latched and journalled before it acts; one path for console, command, file and signal. It needs
neither a database nor a console, and works with whichever venues still answer: what a dead venue
does not take is tried again until it does. A restart forgets no level; only a person clears it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    KillSwitchCleared,
    KillSwitchEngaged,
    PairPlanned,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Purpose
from perpbot.execution.pair import KILL_SWITCH, Pair, PairBook
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.orders import OrderTable
from perpbot.risk.latches import RiskLatches

LEVELS = {
    1: "no opens",
    2: "no opens, cancel resting orders",
    3: "cancel resting orders, flatten what is unhedged",
    4: "flatten everything",
    5: "flatten everything, then exit",
}
EXIT = 5
"""The level that ends the process: of the whole node only."""


class KillSwitch:
    """See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        orders: OrderTable,
        pairs: PairBook,
        latches: RiskLatches,
        leave: Callable[[], None],
        venues: Collection[str],
    ) -> None:
        """`leave` ends the process in order (K5); `venues` are those of the node."""
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._pairs = pairs
        self._latches = latches
        self._leave = leave
        self._venues = venues
        bus.subscribe(KillSwitchEngaged, self._act)
        bus.subscribe(PairPlanned, self._planned, late=True)

    def resume(self) -> None:
        """Finish after recovery what a latched level began; K5 does not end a new process."""
        latches = self._latches
        if latches.kill_level:
            self._carry_out(latches.kill_level, latches.kill_reason)
        for venue, kill in latches.venue_kills.items():
            self._carry_out(kill.level, kill.reason, venue)

    def refusal(self, level: int, venue: str) -> str:
        """Return why a level cannot be engaged for a venue ("": the node), "" where it can."""
        if level not in LEVELS:
            return f"kill level was {level}, 1 to 5 was expected"
        if not venue:
            return ""
        if venue not in self._venues:
            return f"venue was {venue!r}, one of {', '.join(self._venues)} was expected"
        if level >= EXIT:
            return f"kill level of {venue} was {level}, 1 to 4 was expected: {level} ends the node"
        return ""

    def clear_refusal(self, venue: str) -> str:
        """Return why nothing can be cleared for a venue, "" where it can.

        What is latched can always be cleared, though the settings lost the venue since.
        """
        return "" if venue in self._latches.venue_kills else self.refusal(1, venue)

    def engage(self, level: int, *, actor: str, reason: str, venue: str = "") -> None:
        """Latch a level, for the whole node or one venue.

        Raises `InvalidValue` for what `refusal` has a word on.
        """
        refusal = self.refusal(level, venue)
        if refusal:
            raise InvalidValue(refusal)
        self._bus.publish(
            KillSwitchEngaged(
                ts_ns=self._clock.now_ns(), level=level, actor=actor, reason=reason, venue=venue
            )
        )

    def clear(self, *, actor: str, reason: str, venue: str = "") -> None:
        """Take every latch away, or that of a venue: a person's act, journalled with their name.

        Raises `InvalidValue` for what `clear_refusal` has a word on.
        """
        refusal = self.clear_refusal(venue)
        if refusal:
            raise InvalidValue(refusal)
        self._bus.publish(
            KillSwitchCleared(ts_ns=self._clock.now_ns(), actor=actor, reason=reason, venue=venue)
        )

    def _act(self, event: KillSwitchEngaged) -> None:
        self._carry_out(event.level, event.reason, event.venue)
        if event.level >= EXIT:
            self._leave()

    def _carry_out(self, level: int, reason: str, venue: str = "") -> None:
        if level >= 2:
            self._cancel_resting(reason, venue)
        if level >= 3:
            for pair in self._pairs:
                if (level >= 4 or pair.imbalance != 0) and _has_leg(pair, venue):
                    self._close(pair.plan.pair_id, level)

    def _planned(self, event: PairPlanned) -> None:
        """A pair that was decided before the switch and is folded after it."""
        latches = self._latches
        if latches.kill_level:
            self._overtake(event, latches.kill_level, latches.kill_reason)
        if latches.venue_kills:
            for venue in (event.plan.long_venue, event.plan.short_venue):
                kill = latches.venue_kills.get(venue)
                if kill is not None:
                    self._overtake(event, kill.level, kill.reason, venue)

    def _overtake(self, event: PairPlanned, level: int, reason: str, venue: str = "") -> None:
        if level >= 2:
            self._cancel_resting(reason, venue)
        if level >= 4:
            self._close(event.plan.pair_id, level)

    def _close(self, pair_id: str, level: int) -> None:
        self._bus.publish(
            ClosePair(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair_id,
                pair_id=pair_id,
                reason=f"{KILL_SWITCH}_{level}",
            )
        )

    def _cancel_resting(self, reason: str, venue: str) -> None:
        """Cancel what may open or hedge there; reductions and protective stops stay."""
        resting = tuple(
            order.request.client_id
            for order in self._orders.unsettled()
            if not order.state.is_end and self._adds(order.request, venue)
        )
        if resting:
            self._bus.publish(
                CancelOrders(
                    ts_ns=self._clock.now_ns(), client_ids=resting, reason=f"kill switch: {reason}"
                )
            )

    def _adds(self, request: OrderRequest, venue: str) -> bool:
        """Whether an order may grow what is at a venue; "" is any.

        One that opens a pair with a leg there does wherever it rests: its other leg would follow.
        A hedge elsewhere shrinks the net and stays.
        """
        if request.purpose is Purpose.HEDGE:
            return venue in {"", request.venue}
        if request.purpose is not Purpose.OPEN:
            return False
        pair = self._pairs.get(request.owner)
        return venue in {"", request.venue} or (pair is not None and _has_leg(pair, venue))


def _has_leg(pair: Pair, venue: str) -> bool:
    """Whether a pair is at a venue; "" is any."""
    return venue in {"", pair.plan.long_venue, pair.plan.short_venue}
