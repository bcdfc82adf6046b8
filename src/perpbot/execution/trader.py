"""Takes every planned pair through its states until it is flat.

It decides on the stream lane (`EvaluatePair`), after every durable event has been folded, so two
decisions never overlap, and on timers. What it decides depends on the pair book and the order
table alone, so after a restart `resume` continues where the journal ended. Hedges and reductions
are never blocked by stale quotes, pauses or cooldowns; a gate that refuses one is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    EvaluatePair,
    OrderFact,
    OrderFilled,
    PositionAdjusted,
    VenueReconciled,
)
from perpbot.domain.money import ZERO
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import UNANSWERED, OrderState, PairState
from perpbot.execution.agenda import Agenda
from perpbot.execution.leg_orders import LegOrders
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.pair import Pair, PairBook
from perpbot.execution.pair_records import PairRecords
from perpbot.execution.policies import FallbackPolicy, Patience, RetryPolicy
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock, Timers
from perpbot.portfolio.orders import Order, OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.risk.manager import RiskManager

_CANCELLABLE = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
CANCEL_AGAIN_NS = SECOND
"""Between two cancels of one order, however quickly the first one is refused."""
_GROWING = frozenset({PairState.OPENING, PairState.HEDGING})
_SHRINKING = frozenset({PairState.UNWINDING, PairState.CLOSING})


class PairTrader:
    """See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        pairs: PairBook,
        orders: OrderTable,
        positions: PositionBook,
        risk: RiskManager,
        maker: OrderMaker,
        around: Surroundings,
        fallback: FallbackPolicy,
        retry: RetryPolicy,
        patience: Callable[[PairPlan], Patience],
    ) -> None:
        """`patience(plan)` tells how long a pair waits."""
        self._bus = bus
        self._clock = clock
        self._pairs = pairs
        self._orders = orders
        self._fallback = fallback
        self._patience = patience
        self._agenda = Agenda(clock, timers, retry, self._touch)
        self._legs = LegOrders(
            bus, clock, positions, risk, maker, around, fallback, self._replaced
        )
        self._records = PairRecords(bus, clock)
        self._cancelled_ns: dict[str, int] = {}
        self._late_ns: dict[str, int] = {}
        """By order: since when its end is waited for."""
        self._born_ns = clock.now_ns()
        self._waits_for: frozenset[str] = frozenset()
        bus.subscribe(VenueReconciled, self._reconciled)
        bus.subscribe(OrderFact, self._order_changed)
        bus.subscribe(ClosePair, lambda event: self._touch(event.pair_id))
        bus.subscribe(PositionAdjusted, self._adjusted)
        bus.subscribe(EvaluatePair, self._evaluate)

    # --- what makes it look at a pair ---

    def resume(self) -> None:
        """Look at every pair: called once after recovery."""
        for pair in self._pairs:
            self._touch(pair.plan.pair_id)

    def wait_for(self, venues: frozenset[str]) -> None:
        """Leave pairs alone until these venues have agreed: our books lack what happened there.

        A guardian traded for us, or the journal lost what we did ourselves. The one thing that
        holds up a hedge: it may already have been made. What the kill switch closes goes on leg by
        leg, where the venue of the leg has agreed.
        """
        self._waits_for = venues

    def _reconciled(self, event: VenueReconciled) -> None:
        if event.agreed and event.venue in self._waits_for:
            self._waits_for -= {event.venue}
            self.resume()

    def unheard(self, pair: Pair) -> tuple[str, ...]:
        """Return the venues of a pair that it waits for: see `wait_for`."""
        return tuple(v for v in (pair.venue(0), pair.venue(1)) if v in self._waits_for)

    def _is_unseen(self, pair: Pair) -> bool:
        """Whether a venue of a pair has not agreed since somebody else traded there."""
        return bool(self.unheard(pair))

    def _order_changed(self, event: OrderFact) -> None:
        order = self._orders.get(event.client_id)
        if order is not None and self._pairs.get(order.request.owner) is not None:
            self._touch(order.request.owner)
        elif isinstance(event, OrderFilled):
            self._touch(self._pairs.owner_of(event.venue, event.account, event.asset))

    def _adjusted(self, event: PositionAdjusted) -> None:
        self._touch(self._pairs.owner_of(event.venue, event.account, event.asset))

    def _touch(self, pair_id: str) -> None:
        if self._pairs.get(pair_id) is not None:
            self._bus.publish(EvaluatePair(ts_ns=self._clock.now_ns(), pair_id=pair_id))

    def next_look_ns(self, pair_id: str) -> int | None:
        """Return when a pair is looked at next (monotonic), or None when only news moves it."""
        return self._agenda.next_look_ns(pair_id)

    # --- deciding ---

    def _evaluate(self, event: EvaluatePair) -> None:
        pair = self._pairs.get(event.pair_id)
        if pair is None:
            return
        if pair.state is PairState.FLAT:
            self._end(pair, pair.close_reason or "closed")  # the process ended while it did
            return
        unseen = bool(self._waits_for) and self._is_unseen(pair)
        if unseen and not pair.killed:
            self._agenda.wake_at(event.pair_id, SECOND)
            return
        if pair.killed and pair.state is PairState.UNWINDING:
            self._move(pair, pair.close_reason, PairState.CLOSING)  # nothing is to be kept
            return
        if unseen and pair.state in _GROWING:
            self._move(pair, pair.close_reason, PairState.UNWINDING, PairState.CLOSING)
            return
        working = list(self._orders.of_owner(event.pair_id))
        if pair.state in _SHRINKING:
            if working:
                self._wait(pair, working)
            self._shrink(pair, working)
        elif working:
            self._wait(pair, working)
        elif pair.state is PairState.HEDGED:
            self._hold(pair)
        else:
            self._balance(pair)

    def _wait(self, pair: Pair, working: list[Order]) -> None:
        """Orders are at work: hedge increments that nothing covers, give up on late ones."""
        now_ns = self._clock.now_ns()
        patience = self._patience(pair.plan)
        patience_ns = patience.hedge_after_ns
        if pair.state is PairState.OPENING:
            self._cover_increment(pair, working)
            since_ns = pair.unhedged_since_ns or pair.planned_ns
            if not pair.imbalance and not pair.killed:
                patience_ns = self._opening_ns(patience)
        else:
            since_ns = min(order.created_ns for order in working)
        left_ns = since_ns + patience_ns - now_ns
        if left_ns > 0:
            self._agenda.wake_at(pair.plan.pair_id, left_ns)
            return
        for order in working:
            if order.state not in UNANSWERED:
                self._late_ns.setdefault(order.request.client_id, now_ns)
        if self._is_left_alone(pair, working, patience):
            self._agenda.start_anew(pair.plan.pair_id)
            closing = (PairState.CLOSING,) if pair.killed else ()
            self._move(pair, "no_answer", PairState.UNWINDING, *closing)
            return
        # A cancel that failed leaves its order resting: it is asked for again.
        late = tuple(
            order.request.client_id
            for order in working
            if order.state in _CANCELLABLE
            and now_ns - self._cancelled_ns.get(order.request.client_id, 0) >= CANCEL_AGAIN_NS
        )
        if late:
            # A refused cancel mostly means that the order has ended: its news is on the way.
            self._cancelled_ns.update(dict.fromkeys(late, now_ns))
            self._bus.publish(
                CancelOrders(
                    ts_ns=now_ns,
                    correlation_id=pair.plan.pair_id,
                    client_ids=late,
                    reason=f"not filled after {patience_ns // MS} ms",
                )
            )
        # Unanswered orders are the order watch's: it asks until they are resolved.
        self._agenda.wake_at(pair.plan.pair_id, patience.hedge_after_ns)

    def _is_left_alone(self, pair: Pair, working: Sequence[Order], patience: Patience) -> bool:
        """Whether one leg is held and the venue of the other has been silent for too long.

        Then what is held is taken back, towards the net that is proven. A venue that no process
        asked was not silent: after a restart it has as much time as ever. Where the kill switch
        wants the pair gone, the time of a hedge is long enough, and it all goes.
        """
        if pair.state in _SHRINKING:
            return False
        silent = all(self._is_silent(order, patience.hedge_after_ns) for order in working)
        if pair.killed:
            return silent
        if not silent or not pair.unhedged_since_ns or self._is_balanced(pair):
            return False
        silent_ns = self._clock.now_ns() - max(pair.unhedged_since_ns, self._born_ns)
        heavier = _heavier(pair)
        # What has ended and owes executions has them by its venue's own word.
        return silent_ns >= patience.wait_limit_ns and not any(
            order.state.is_end or order.request.leg == heavier for order in working
        )

    def _is_silent(self, order: Order, limit_ns: int) -> bool:
        """Whether a venue does not say what became of an order, or does not take it back."""
        now_ns = self._clock.now_ns()
        asked_ns = self._late_ns.get(order.request.client_id, now_ns)
        since_ns = order.created_ns if order.state in UNANSWERED else asked_ns
        return now_ns - max(since_ns, self._born_ns) >= limit_ns

    def _opening_ns(self, patience: Patience) -> int:
        if self._fallback.maker_first:
            return min(patience.maker_timeout_ns, patience.wait_limit_ns)
        return min(patience.hedge_after_ns, patience.wait_limit_ns)

    def _cover_increment(self, pair: Pair, working: Sequence[Order]) -> None:
        """Hedge what one leg filled and no working order of the other leg covers."""
        if pair.imbalance == 0:
            return
        self._agenda.count_progress(pair)
        lagging = 1 if pair.imbalance > 0 else 0
        planned = -1 if lagging else 1
        at_work = sum(
            (
                order.open_quantity * order.request.side.sign
                for order in working
                if order.request.leg == lagging
            ),
            ZERO,
        )
        need = -(pair.imbalance + at_work)
        if need * planned > 0 and not self._agenda.rests(pair.plan.pair_id):
            self._hedge(pair, abs(need))

    def _balance(self, pair: Pair) -> None:
        """OPENING or HEDGING with nothing at work: complete the short leg or take back."""
        self._agenda.count_progress(pair)
        if self._is_balanced(pair):
            if self._legs.tradable(pair.matched, pair):
                self._move(pair, "legs_equal", PairState.HEDGED)
            elif pair.matched > 0:
                self._move(pair, "below_minimum", PairState.UNWINDING, PairState.CLOSING)
            else:
                self._finish(pair, "not_filled")
            return
        if pair.state is PairState.OPENING:
            self._records.needs_hedge(pair)
            self._move(pair, "legs_differ", PairState.HEDGING)
            return
        if self._agenda.rests(pair.plan.pair_id):
            return
        pair_id = pair.plan.pair_id
        if self._agenda.exhausted(pair_id) or not self._hedge(pair, abs(pair.imbalance)):
            self._agenda.start_anew(pair_id)
            self._move(pair, "not_completed", PairState.UNWINDING)

    def _hold(self, pair: Pair) -> None:
        """HEDGED: leave when asked to; take back when the venue moved a leg by itself."""
        if not self._is_balanced(pair):
            self._move(pair, "leg_moved", PairState.UNWINDING)
        elif pair.close_reason:
            self._agenda.start_anew(pair.plan.pair_id)
            self._move(pair, pair.close_reason, PairState.CLOSING)

    def _shrink(self, pair: Pair, working: Sequence[Order]) -> None:
        """UNWINDING or CLOSING: reduce what must go, leg by leg, until it is gone."""
        self._agenda.count_progress(pair)
        unseen = self._is_unseen(pair)
        if (
            not working
            and not unseen
            and pair.state is PairState.UNWINDING
            and self._is_balanced(pair)
        ):
            self._unwound(pair)
            return
        busy = {order.request.leg for order in working}
        busy |= {leg for leg in (0, 1) if pair.venue(leg) in self._waits_for}
        tries = self._agenda.tries(pair.plan.pair_id)
        wanted = [
            (leg, signed) for leg, signed in self._legs.reductions(pair, tries) if leg not in busy
        ]
        if not wanted:
            if unseen:
                self._agenda.wake_at(pair.plan.pair_id, SECOND)
            elif not working:
                self._nothing_to_reduce(pair)
            return
        if self._agenda.rests(pair.plan.pair_id):
            return
        self._legs.reduce(pair, wanted, tries)
        self._agenda.try_later(pair.plan.pair_id)

    def _unwound(self, pair: Pair) -> None:
        """UNWINDING is done: hold what is hedged, or go on until nothing is left."""
        if self._legs.tradable(pair.matched, pair) and not pair.close_reason:
            self._move(pair, "legs_equal", PairState.HEDGED)
        elif pair.matched > 0:
            self._move(pair, pair.close_reason or "below_minimum", PairState.CLOSING)
        else:
            self._finish(pair, pair.close_reason or "unwound")

    def _nothing_to_reduce(self, pair: Pair) -> None:
        """What is left over cannot be traded by itself."""
        if pair.state is PairState.UNWINDING and pair.matched > 0:
            self._move(pair, "rest_below_minimum", PairState.CLOSING)
            return
        if any(abs(pair.leg(leg).quantity) >= self._legs.step(pair, leg) for leg in (0, 1)):
            self._records.leaves_rest(pair)
        self._finish(pair, pair.close_reason or "closed")

    # --- acting ---

    def _hedge(self, pair: Pair, quantity: Decimal) -> bool:
        """Send the missing part of the lagging leg; tell whether anything was sent."""
        pair_id = pair.plan.pair_id
        sent = self._legs.hedge(pair, quantity, self._agenda.tries(pair_id))
        if sent:
            self._agenda.try_later(pair_id)
        return sent

    def _replaced(self, pair_id: str, leg: int) -> str:
        """Return the last order of a leg where it is proven that it never was, or ""."""
        newest = self._pairs.newest_order(pair_id, leg)
        order = self._orders.get(newest)
        return newest if order and order.state is OrderState.PROVEN_ABSENT else ""

    def _is_balanced(self, pair: Pair) -> bool:
        """Whether the legs agree, or differ by less than a step of the leg that holds more.

        Legs that are hedged the wrong way round (others traded) are not what was planned.
        """
        heavier = _heavier(pair)
        step = self._legs.step(pair, heavier)
        return abs(pair.imbalance) < step and pair.reversed < step

    def _move(self, pair: Pair, reason: str, *through: PairState) -> None:
        """Move along the table and look at the pair again."""
        self._records.move(pair, reason, *through)
        self._touch(pair.plan.pair_id)

    def _finish(self, pair: Pair, reason: str) -> None:
        """Everything is flat: end the pair, free its capital and its legs."""
        self._records.move(pair, reason, PairState.FLAT)
        self._end(pair, reason)

    def _end(self, pair: Pair, reason: str) -> None:
        self._records.end(pair, reason)
        self._agenda.forget(pair.plan.pair_id)
        for client_id in (*self._cancelled_ns, *self._late_ns):
            order = self._orders.get(client_id)
            if order is None or order.settled:
                self._cancelled_ns.pop(client_id, None)
                self._late_ns.pop(client_id, None)


def _heavier(pair: Pair) -> int:
    """Return the leg that holds more than the other."""
    return 0 if pair.imbalance > 0 else 1
