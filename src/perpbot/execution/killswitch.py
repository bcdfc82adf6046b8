"""The kill switch ladder.

K1 no opens, K2 and cancel resting, K3 and flatten what is unhedged, K4 flatten all, K5 exit.

Latched and journalled before it acts; one path for console, command, file and signal. It needs
neither a database nor a console, and works with whichever venues still answer: what a dead venue
does not take is tried again until it does. A restart forgets no level; only a person clears it.
"""

from __future__ import annotations

from collections.abc import Callable

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    KillSwitchCleared,
    KillSwitchEngaged,
    PairPlanned,
)
from perpbot.domain.sides import Purpose
from perpbot.execution.pair import KILL_SWITCH, PairBook
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
    ) -> None:
        """`leave` ends the process in order (K5)."""
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._pairs = pairs
        self._latches = latches
        self._leave = leave
        bus.subscribe(KillSwitchEngaged, self._act)
        bus.subscribe(PairPlanned, self._planned, late=True)

    def resume(self) -> None:
        """Finish after recovery what a latched level began; K5 does not end a new process."""
        if self._latches.kill_level:
            self._carry_out(self._latches.kill_level, self._latches.kill_reason)

    def engage(self, level: int, *, actor: str, reason: str) -> None:
        """Latch a level; raise `InvalidValue` unless it is 1 to 5."""
        if level not in LEVELS:
            raise InvalidValue(f"kill level was {level}, 1 to 5 was expected")
        self._bus.publish(
            KillSwitchEngaged(ts_ns=self._clock.now_ns(), level=level, actor=actor, reason=reason)
        )

    def clear(self, *, actor: str, reason: str) -> None:
        """Take the latch away: a person's act, journalled with their name."""
        self._bus.publish(
            KillSwitchCleared(ts_ns=self._clock.now_ns(), actor=actor, reason=reason)
        )

    def _act(self, event: KillSwitchEngaged) -> None:
        self._carry_out(event.level, event.reason)
        if event.level >= 5:
            self._leave()

    def _carry_out(self, level: int, reason: str) -> None:
        if level >= 2:
            self._cancel_resting(reason)
        if level >= 3:
            for pair in self._pairs:
                if level >= 4 or pair.imbalance != 0:
                    self._close(pair.plan.pair_id, level)

    def _planned(self, event: PairPlanned) -> None:
        """A pair that was decided before the switch and is folded after it."""
        if self._latches.kill_level >= 2:
            self._cancel_resting(self._latches.kill_reason)
        if self._latches.kill_level >= 4:
            self._close(event.plan.pair_id, self._latches.kill_level)

    def _close(self, pair_id: str, level: int) -> None:
        self._bus.publish(
            ClosePair(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair_id,
                pair_id=pair_id,
                reason=f"{KILL_SWITCH}_{level}",
            )
        )

    def _cancel_resting(self, reason: str) -> None:
        """Cancel what may open or hedge; reductions and protective stops stay."""
        resting = tuple(
            order.request.client_id
            for order in self._orders.unsettled()
            if not order.state.is_end and order.request.purpose in {Purpose.OPEN, Purpose.HEDGE}
        )
        if resting:
            self._bus.publish(
                CancelOrders(
                    ts_ns=self._clock.now_ns(), client_ids=resting, reason=f"kill switch: {reason}"
                )
            )
