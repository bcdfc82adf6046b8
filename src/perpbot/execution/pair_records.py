"""What the journal is told of a pair: its moves, what it needs, its end."""

from __future__ import annotations

from perpbot.domain.events import (
    AlertFired,
    CapitalReleased,
    HedgeRequired,
    LeaseReleased,
    PairStateChanged,
    TradeCompleted,
)
from perpbot.domain.money import plain
from perpbot.domain.sides import PairState
from perpbot.execution.pair import Pair
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock


class PairRecords:
    """Publishes them."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def move(self, pair: Pair, reason: str, *through: PairState) -> None:
        """The pair moves along its table, through one state or several."""
        before = pair.state
        for after in through:
            self._bus.publish(
                PairStateChanged(
                    ts_ns=self._clock.now_ns(),
                    correlation_id=pair.plan.pair_id,
                    pair_id=pair.plan.pair_id,
                    before=before,
                    after=after,
                    reason=reason,
                    detail={
                        "long": plain(pair.long.quantity),
                        "short": plain(pair.short.quantity),
                    },
                )
            )
            before = after

    def needs_hedge(self, pair: Pair) -> None:
        """The legs differ and nothing at work will mend it."""
        self._bus.publish(
            HedgeRequired(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair.plan.pair_id,
                pair_id=pair.plan.pair_id,
                imbalance=pair.imbalance,
                reason="one leg filled less than the other",
            )
        )

    def leaves_rest(self, pair: Pair) -> None:
        """More than dust is left over, and cannot be traded by itself."""
        held = ", ".join(f"{plain(pair.leg(leg).quantity)} on {pair.venue(leg)}" for leg in (0, 1))
        self._bus.publish(
            AlertFired(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair.plan.pair_id,
                name="rest_below_minimum",
                severity="high",
                text=(
                    f"{pair.plan.asset}: left over is what the venue does not trade, or what "
                    f"something opposite has closed already ({held})"
                ),
            )
        )

    def end(self, pair: Pair, reason: str) -> None:
        """Free capital and legs, then complete: a crash in between leaves a pair to end again."""
        plan, now_ns = pair.plan, self._clock.now_ns()
        self._free(pair, reason, now_ns)
        self._bus.publish(
            TradeCompleted(
                ts_ns=now_ns,
                correlation_id=plan.pair_id,
                pair_id=plan.pair_id,
                strategy=plan.strategy,
                asset=plan.asset,
                long_venue=plan.long_venue,
                short_venue=plan.short_venue,
                quantity=min(pair.long.opened, pair.short.opened),
                pnl=pair.profit(),
                opened=pair.has_opened,
                hold_ns=now_ns - (pair.first_fill_ns or now_ns),
                worst_unhedged_ns=pair.worst_unhedged_ns,
                exit_reason=reason,
                dust_long=pair.long.quantity,
                dust_short=pair.short.quantity,
            )
        )

    def _free(self, pair: Pair, reason: str, now_ns: int) -> None:
        plan = pair.plan
        self._bus.publish(
            CapitalReleased(
                ts_ns=now_ns,
                correlation_id=plan.pair_id,
                reservation_id=plan.reservation_id,
                reason=reason,
            )
        )
        for leg, side in enumerate((plan.side_long, plan.side_short)):
            self._bus.publish(
                LeaseReleased(
                    ts_ns=now_ns,
                    correlation_id=plan.pair_id,
                    venue=pair.venue(leg),
                    account=pair.account(leg),
                    asset=plan.asset,
                    position_side=side,
                    owner=plan.pair_id,
                )
            )
