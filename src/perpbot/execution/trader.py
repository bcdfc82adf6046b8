"""Takes every planned pair through its states until it is flat.

It decides on the stream lane (`EvaluatePair`), after every durable event has been folded, so two
decisions never overlap, and on timers. What it decides depends on the pair book and the order
table alone, so after a restart `resume` continues where the journal ended. Hedges and reductions
are never blocked by stale quotes, pauses or cooldowns; a gate that refuses one is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from perpbot.domain.errors import InvalidValue, RiskDenied
from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    CapitalReleased,
    ClosePair,
    EvaluatePair,
    GateDecision,
    HedgeRequired,
    LeaseReleased,
    OrderFact,
    OrderFilled,
    PairStateChanged,
    PositionAdjusted,
    RiskRejected,
    SubmitOrders,
    TradeCompleted,
    VenueReconciled,
)
from perpbot.domain.money import ZERO, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import OrderState, PairState, Purpose, Side
from perpbot.execution.order_maker import OrderMaker, slipped
from perpbot.execution.pair import Pair, PairBook
from perpbot.execution.policies import FallbackPolicy, Patience, RetryPolicy
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock, TimerHandle, Timers
from perpbot.portfolio.leases import leg as leg_of
from perpbot.portfolio.orders import Order, OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.risk.manager import RiskManager

_CANCELLABLE = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
_UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
SHORTEST_REST_NS = 10 * MS
"""Between two tries without progress, whatever the jitter draws."""
CANCEL_AGAIN_NS = SECOND
"""Between two cancels of one order, however quickly the first one is refused."""
KILL_SWITCH = "kill_switch"
"""Begins the reason of a pair that the kill switch closes."""
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
        self._timers = timers
        self._pairs = pairs
        self._orders = orders
        self._positions = positions
        self._risk = risk
        self._maker = maker
        self._around = around
        self._fallback = fallback
        self._retry = retry
        self._patience = patience
        self._agenda: dict[str, tuple[int, TimerHandle]] = {}
        """By pair: when it is looked at next (monotonic), and the timer."""
        self._tries: dict[str, int] = {}
        self._progress: dict[str, tuple[Decimal, Decimal]] = {}
        self._resting_until_ns: dict[str, int] = {}
        self._cancelled_ns: dict[str, int] = {}
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
        """Leave pairs alone until these venues have agreed: somebody traded for us meanwhile.

        The one thing that holds up a hedge: by our books it may already have been made. What the
        kill switch closes goes on leg by leg, where the venue of the leg has agreed.
        """
        self._waits_for = venues

    def _reconciled(self, event: VenueReconciled) -> None:
        if event.agreed and event.venue in self._waits_for:
            self._waits_for -= {event.venue}
            self.resume()

    def _must_wait(self, pair: Pair) -> bool:
        if not self._is_unseen(pair):
            return False
        killed = pair.close_reason.startswith(KILL_SWITCH)
        return not killed or pair.state not in {PairState.HEDGED, *_SHRINKING}

    def _is_unseen(self, pair: Pair) -> bool:
        """Whether a venue of a pair has not agreed since somebody else traded there."""
        return not self._waits_for.isdisjoint((pair.venue(0), pair.venue(1)))

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

    def _wake_at(self, pair_id: str, delay_ns: int) -> None:
        """Look at the pair again in `delay_ns`, or earlier where that is arranged already."""
        due_ns = self._clock.monotonic_ns() + delay_ns
        previous = self._agenda.get(pair_id)
        if previous is not None:
            if previous[0] <= due_ns:
                return
            previous[1].cancel()
        timer = self._timers.call_later(delay_ns, lambda: self._appointed(pair_id))
        self._agenda[pair_id] = (due_ns, timer)

    def next_look_ns(self, pair_id: str) -> int | None:
        """Return when a pair is looked at next (monotonic), or None when only news moves it."""
        appointment = self._agenda.get(pair_id)
        return None if appointment is None else appointment[0]

    def _appointed(self, pair_id: str) -> None:
        self._agenda.pop(pair_id, None)
        self._touch(pair_id)

    # --- deciding ---

    def _evaluate(self, event: EvaluatePair) -> None:
        pair = self._pairs.get(event.pair_id)
        if pair is None:
            return
        if self._waits_for and self._must_wait(pair):
            self._wake_at(event.pair_id, SECOND)
            return
        working = list(self._orders.of_owner(event.pair_id))
        if pair.state is PairState.FLAT:
            self._end(pair, pair.close_reason or "closed")  # the process ended while it did
        elif pair.state in _SHRINKING:
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
        if pair.state is PairState.OPENING:
            self._cover_increment(pair, working)
            since_ns = pair.unhedged_since_ns or pair.planned_ns
            patience = self._patience(pair.plan)
            patience_ns = patience.hedge_after_ns if pair.imbalance else self._opening_ns(patience)
        else:
            since_ns = min(order.created_ns for order in working)
            patience_ns = self._patience(pair.plan).hedge_after_ns
        left_ns = since_ns + patience_ns - now_ns
        if left_ns > 0:
            self._wake_at(pair.plan.pair_id, left_ns)
            return
        if self._is_left_alone(pair, working):
            self._move(pair, PairState.UNWINDING, "no_answer")
            self._start_anew(pair.plan.pair_id)
            self._touch(pair.plan.pair_id)
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
        self._wake_at(pair.plan.pair_id, self._patience(pair.plan).hedge_after_ns)

    def _is_left_alone(self, pair: Pair, working: Sequence[Order]) -> bool:
        """Whether one leg is held and the venue of the other has been silent for too long.

        Then what is held is taken back, towards the net that is proven. A venue that no process
        asked was not silent: after a restart it has as much time as ever. Where the kill switch
        wants the pair gone, the time of a hedge is long enough.
        """
        if pair.state in _SHRINKING or not pair.unhedged_since_ns or self._is_balanced(pair):
            return False
        silent_ns = self._clock.now_ns() - max(pair.unhedged_since_ns, self._born_ns)
        heavier = _heavier(pair)
        patience = self._patience(pair.plan)
        killed = pair.close_reason.startswith(KILL_SWITCH)
        limit_ns = patience.hedge_after_ns if killed else patience.wait_limit_ns
        return silent_ns >= limit_ns and all(
            order.state in _UNANSWERED and order.request.leg != heavier for order in working
        )

    def _opening_ns(self, patience: Patience) -> int:
        if self._fallback.maker_first:
            return min(patience.maker_timeout_ns, patience.wait_limit_ns)
        return min(patience.hedge_after_ns, patience.wait_limit_ns)

    def _cover_increment(self, pair: Pair, working: Sequence[Order]) -> None:
        """Hedge what one leg filled and no working order of the other leg covers."""
        if pair.imbalance == 0:
            return
        self._count_progress(pair)
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
        if need * planned > 0 and not self._rests(pair):
            self._hedge(pair, abs(need))

    def _balance(self, pair: Pair) -> None:
        """OPENING or HEDGING with nothing at work: complete the short leg or take back."""
        self._count_progress(pair)
        if self._is_balanced(pair):
            if self._tradable(pair.matched, pair):
                self._move(pair, PairState.HEDGED, "legs_equal")
            elif pair.matched > 0:
                self._move(pair, PairState.UNWINDING, "below_minimum", then=PairState.CLOSING)
            else:
                self._finish(pair, "not_filled")
                return
            self._touch(pair.plan.pair_id)
            return
        if pair.state is PairState.OPENING:
            self._bus.publish(
                HedgeRequired(
                    ts_ns=self._clock.now_ns(),
                    correlation_id=pair.plan.pair_id,
                    pair_id=pair.plan.pair_id,
                    imbalance=pair.imbalance,
                    reason="one leg filled less than the other",
                )
            )
            self._move(pair, PairState.HEDGING, "legs_differ")
            self._touch(pair.plan.pair_id)
            return
        if self._rests(pair):
            return
        if self._retry.exhausted(self._tries.get(pair.plan.pair_id, 0)) or not self._hedge(
            pair, abs(pair.imbalance)
        ):
            self._move(pair, PairState.UNWINDING, "not_completed")
            self._start_anew(pair.plan.pair_id)
            self._touch(pair.plan.pair_id)

    def _hold(self, pair: Pair) -> None:
        """HEDGED: leave when asked to; take back when the venue moved a leg by itself."""
        if not self._is_balanced(pair):
            self._move(pair, PairState.UNWINDING, "leg_moved")
            self._touch(pair.plan.pair_id)
        elif pair.close_reason:
            self._start_anew(pair.plan.pair_id)
            self._move(pair, PairState.CLOSING, pair.close_reason)
            self._touch(pair.plan.pair_id)

    def _shrink(self, pair: Pair, working: Sequence[Order]) -> None:
        """UNWINDING or CLOSING: reduce what must go, leg by leg, until it is gone."""
        self._count_progress(pair)
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
        wanted = [(leg, signed) for leg, signed in self._reductions(pair) if leg not in busy]
        if not wanted:
            if unseen:
                self._wake_at(pair.plan.pair_id, SECOND)
            elif not working:
                self._nothing_to_reduce(pair)
            return
        if self._rests(pair):
            return
        sent = [order for leg, signed in wanted if (order := self._reduce(pair, leg, signed))]
        if sent:
            self._submit(pair, sent)
        self._try_later(pair)

    def _unwound(self, pair: Pair) -> None:
        """UNWINDING is done: hold what is hedged, or go on until nothing is left."""
        if self._tradable(pair.matched, pair) and not pair.close_reason:
            self._move(pair, PairState.HEDGED, "legs_equal")
        elif pair.matched > 0:
            self._move(pair, PairState.CLOSING, pair.close_reason or "below_minimum")
        else:
            self._finish(pair, pair.close_reason or "unwound")
            return
        self._touch(pair.plan.pair_id)

    def _nothing_to_reduce(self, pair: Pair) -> None:
        """What is left over cannot be traded by itself."""
        if pair.state is PairState.UNWINDING and pair.matched > 0:
            self._move(pair, PairState.CLOSING, "rest_below_minimum")
            self._touch(pair.plan.pair_id)
            return
        if any(abs(pair.leg(leg).quantity) >= self._step(pair, leg) for leg in (0, 1)):
            self._tell_of_rest(pair)
        self._finish(pair, pair.close_reason or "closed")

    def _tell_of_rest(self, pair: Pair) -> None:
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

    def _reductions(self, pair: Pair) -> list[tuple[int, Decimal]]:
        """Return (leg, signed order quantity) that must go and that its venue trades.

        UNWINDING keeps what both legs hold, CLOSING nothing. A leg may also have come to lie on
        the wrong side (a person or the venue traded): it goes back to zero. Where dust or a stray
        execution has closed a part of a leg already, that part stays: to trade it would open.
        """
        kept = pair.matched if pair.state is PairState.UNWINDING else ZERO
        wanted = []
        for leg in (0, 1):
            excess = pair.leg(leg).quantity - (-kept if leg else kept)
            instrument = self._around.instrument(pair.venue(leg), pair.plan.asset)
            held = self._held_by_account(pair, leg) * (1 if excess > 0 else -1)
            quantity = instrument.round_quantity(max(min(abs(excess), held), ZERO))
            signed = -quantity if excess > 0 else quantity
            if quantity >= self._least_reduction(pair, leg, signed):
                wanted.append((leg, signed))
        return wanted

    def _least_reduction(self, pair: Pair, leg: int, signed: Decimal) -> Decimal:
        """Return the smallest quantity that the venue of a leg lets us take back.

        Only orders that the venue knows as reductions are exempt from its minimum notional.
        """
        venue, asset = pair.venue(leg), pair.plan.asset
        instrument = self._around.instrument(venue, asset)
        least = max(instrument.min_quantity, instrument.quantity_step)
        if self._around.capabilities[venue].reduce_only or not instrument.min_notional:
            return least
        side = Side.BUY if signed > 0 else Side.SELL
        price = self._maker.touch(venue, asset, side, pair.leg(leg).last_price)
        return max(least, instrument.min_notional / price) if price > 0 else least

    def _held_by_account(self, pair: Pair, leg: int) -> Decimal:
        """Return the signed position that the account of a leg holds by our books."""
        venue = pair.venue(leg)
        side = self._around.position_side(venue, leg)
        place = leg_of(venue, pair.account(leg), pair.plan.asset, side)
        return self._positions.get(place).quantity

    # --- acting ---

    def _hedge(self, pair: Pair, quantity: Decimal) -> bool:
        """Send the missing part of the lagging leg; tell whether anything was sent."""
        leg = 1 if pair.imbalance > 0 else 0
        side = Side.SELL if leg else Side.BUY
        venue = pair.venue(leg)
        instrument = self._around.instrument(venue, pair.plan.asset)
        quantity = instrument.round_quantity(quantity)
        attempt = self._tries.get(pair.plan.pair_id, 0)
        worst = pair.plan.short_price if leg else pair.plan.long_price
        reference = self._maker.touch(venue, pair.plan.asset, side, worst)
        if quantity < instrument.min_quantity or quantity * reference < instrument.min_notional:
            return False
        # The planned price, and what the budget lets it give away: nothing is paid beyond.
        last = worst + side.sign * pair.plan.loss_budget_usd / quantity
        if (reference - last) * side.sign > 0:
            return False
        style = self._fallback.hedge(attempt)
        limit = slipped(reference, side, style.slip_bps)
        try:
            order = self._maker.order(
                pair.plan,
                leg=leg,
                side=side,
                quantity=quantity,
                purpose=Purpose.HEDGE,
                style=style,
                reference=reference,
                limit=min(limit, last) if side is Side.BUY else max(limit, last),
                attempt=pair.attempts,
            )
            decision = self._risk.check_hedge(order, pair.imbalance, pair.plan)
        except (InvalidValue, RiskDenied) as refusal:
            self._refused(pair, "hedge", refusal)
            return False
        self._publish_orders(pair, (order,), decision)
        self._try_later(pair)
        return True

    def _reduce(self, pair: Pair, leg: int, signed: Decimal) -> OrderRequest | None:
        side = Side.BUY if signed > 0 else Side.SELL
        venue = pair.venue(leg)
        attempt = self._tries.get(pair.plan.pair_id, 0)
        reference = self._maker.touch(venue, pair.plan.asset, side, pair.leg(leg).last_price)
        try:
            return self._maker.order(
                pair.plan,
                leg=leg,
                side=side,
                quantity=abs(signed),
                purpose=Purpose.REDUCE,
                style=self._fallback.reduction(attempt, self._around.capabilities[venue]),
                reference=reference,
                attempt=pair.attempts + leg,
            )
        except InvalidValue as refusal:
            self._refused(pair, "reduce", refusal)
            return None

    def _submit(self, pair: Pair, orders: Sequence[OrderRequest]) -> None:
        passed: list[OrderRequest] = []
        decision: GateDecision | None = None
        for order in orders:
            try:
                decision = self._risk.check_reduce(order)
            except RiskDenied as refusal:
                self._refused(pair, "reduce", refusal)
            else:
                passed.append(order)
        if decision is not None and passed:
            self._publish_orders(pair, tuple(passed), decision)

    def _publish_orders(
        self, pair: Pair, orders: tuple[OrderRequest, ...], decision: GateDecision
    ) -> None:
        self._bus.publish(
            SubmitOrders(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair.plan.pair_id,
                orders=orders,
                decision=decision,
            )
        )

    def _refused(self, pair: Pair, gate: str, refusal: InvalidValue | RiskDenied) -> None:
        if isinstance(refusal, InvalidValue):
            refusal = RiskDenied("execution", "numbers", str(refusal), "the venue's rules")
        self._bus.publish(
            RiskRejected(
                ts_ns=self._clock.now_ns(),
                correlation_id=pair.plan.pair_id,
                gate=gate,
                layer=refusal.layer,
                rule=refusal.rule,
                value=refusal.value,
                limit=refusal.limit,
                subject=pair.plan.pair_id,
                asset=pair.plan.asset,
            )
        )

    # --- bookkeeping ---

    def _is_balanced(self, pair: Pair) -> bool:
        """Whether the legs agree, or differ by less than a step of the leg that holds more."""
        return abs(pair.imbalance) < self._step(pair, _heavier(pair))

    def _step(self, pair: Pair, leg: int) -> Decimal:
        return self._around.instrument(pair.venue(leg), pair.plan.asset).quantity_step

    def _tradable(self, quantity: Decimal, pair: Pair) -> bool:
        asset = pair.plan.asset
        return quantity > 0 and all(
            quantity >= self._around.instrument(pair.venue(leg), asset).min_quantity
            for leg in (0, 1)
        )

    def _count_progress(self, pair: Pair) -> None:
        """A fill since the last look starts the tries anew."""
        pair_id = pair.plan.pair_id
        held = (pair.long.quantity, pair.short.quantity)
        if self._progress.get(pair_id) != held:
            self._progress[pair_id] = held
            self._start_anew(pair_id)

    def _start_anew(self, pair_id: str) -> None:
        self._tries.pop(pair_id, None)
        self._resting_until_ns.pop(pair_id, None)

    def _try_later(self, pair: Pair) -> None:
        """Count a try; without progress the next one comes after a rest that grows."""
        pair_id = pair.plan.pair_id
        attempt = self._tries.get(pair_id, 0) + 1
        self._tries[pair_id] = attempt
        delay_ns = max(self._retry.delay_ns(attempt), SHORTEST_REST_NS)
        self._resting_until_ns[pair_id] = self._clock.now_ns() + delay_ns
        self._wake_at(pair_id, delay_ns)

    def _rests(self, pair: Pair) -> bool:
        """Whether the pair waits between two tries; then it is looked at when that is over."""
        pair_id = pair.plan.pair_id
        left_ns = self._resting_until_ns.get(pair_id, 0) - self._clock.now_ns()
        if left_ns > 0:
            self._wake_at(pair_id, left_ns)
        return left_ns > 0

    def _move(
        self, pair: Pair, after: PairState, reason: str, *, then: PairState | None = None
    ) -> None:
        before = pair.state
        for state in (after,) if then is None else (after, then):
            self._bus.publish(
                PairStateChanged(
                    ts_ns=self._clock.now_ns(),
                    correlation_id=pair.plan.pair_id,
                    pair_id=pair.plan.pair_id,
                    before=before,
                    after=state,
                    reason=reason,
                    detail={
                        "long": plain(pair.long.quantity),
                        "short": plain(pair.short.quantity),
                    },
                )
            )
            before = state

    def _finish(self, pair: Pair, reason: str) -> None:
        """Everything is flat: end the pair, free its capital and its legs."""
        self._move(pair, PairState.FLAT, reason)
        self._end(pair, reason)

    def _end(self, pair: Pair, reason: str) -> None:
        """Free capital and legs, then complete: a crash in between leaves a pair to end again."""
        plan, now_ns = pair.plan, self._clock.now_ns()
        self._free(pair, reason)
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
        self._forget(plan.pair_id)

    def _free(self, pair: Pair, reason: str) -> None:
        plan, now_ns = pair.plan, self._clock.now_ns()
        self._bus.publish(
            CapitalReleased(
                ts_ns=now_ns,
                correlation_id=plan.pair_id,
                reservation_id=plan.reservation_id,
                reason=reason,
            )
        )
        for leg in (0, 1):
            self._bus.publish(
                LeaseReleased(
                    ts_ns=now_ns,
                    correlation_id=plan.pair_id,
                    venue=pair.venue(leg),
                    account=pair.account(leg),
                    asset=plan.asset,
                    position_side=self._around.position_side(pair.venue(leg), leg),
                    owner=plan.pair_id,
                )
            )

    def _forget(self, pair_id: str) -> None:
        self._start_anew(pair_id)
        self._progress.pop(pair_id, None)
        for client_id in tuple(self._cancelled_ns):
            order = self._orders.get(client_id)
            if order is None or order.settled:
                del self._cancelled_ns[client_id]
        appointment = self._agenda.pop(pair_id, None)
        if appointment is not None:
            appointment[1].cancel()


def _heavier(pair: Pair) -> int:
    """Return the leg that holds more than the other."""
    return 0 if pair.imbalance > 0 else 1
