"""The orders of a pair that is under way: hedges within a budget, reductions that only reduce.

Each passes its gate and is published with what the gate measured; a refusal is published with its
number and its limit, and tried again by whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from perpbot.domain.errors import InvalidValue, RiskDenied
from perpbot.domain.events import GateDecision, RiskRejected, SubmitOrders
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ZERO, ceil_to
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import PairState, Purpose, Side
from perpbot.execution.order_maker import OrderMaker, slipped
from perpbot.execution.pair import Pair
from perpbot.execution.policies import FallbackPolicy
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.leases import legs_of
from perpbot.portfolio.positions import PositionBook
from perpbot.risk.manager import RiskManager

_WHOLE_TRIES = 3
"""So often a reduction is rounded up to the next step; then the venue seems not to take that."""


class LegOrders:
    """See the module. Leg 0 is long, leg 1 short."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        positions: PositionBook,
        risk: RiskManager,
        maker: OrderMaker,
        around: Surroundings,
        fallback: FallbackPolicy,
        replaced: Callable[[str, int], str],
    ) -> None:
        """`replaced(pair_id, leg)` names the absent order that a new one stands for, or ""."""
        self._bus = bus
        self._clock = clock
        self._positions = positions
        self._risk = risk
        self._maker = maker
        self._around = around
        self._fallback = fallback
        self._replaced = replaced

    # --- sizes ---

    def step(self, pair: Pair, leg: int) -> Decimal:
        """Return the grid of a leg's venue, base coins."""
        return self._instrument(pair, leg).quantity_step

    def tradable(self, quantity: Decimal, pair: Pair) -> bool:
        """Whether both venues trade a quantity by itself."""
        return quantity > 0 and all(
            quantity >= self._instrument(pair, leg).min_quantity for leg in (0, 1)
        )

    def reductions(self, pair: Pair, attempt: int = 0) -> list[tuple[int, Decimal]]:
        """Return (leg, signed order quantity) that must go and that its venue trades.

        UNWINDING keeps what both legs hold, CLOSING nothing. A leg may also have come to lie on
        the wrong side (a person or the venue traded): it goes back to zero. Where dust or a stray
        execution has closed a part of a leg already, that part stays: to trade it would open.
        """
        kept = pair.matched if pair.state is PairState.UNWINDING else ZERO
        wanted = []
        for leg, place in enumerate(legs_of(pair.plan)):
            excess = pair.leg(leg).quantity - (-kept if leg else kept)
            held = self._positions.get(place).quantity * (1 if excess > 0 else -1)
            instrument = self._instrument(pair, leg)
            quantity = instrument.round_quantity(max(min(abs(excess), held), ZERO))
            whole = held > 0 and held == abs(pair.leg(leg).quantity) == abs(excess)
            if whole and attempt < _WHOLE_TRIES:
                quantity = self._whole(pair, leg, held, quantity)
            signed = -quantity if excess > 0 else quantity
            if quantity >= self._least_reduction(pair, leg, signed):
                wanted.append((leg, signed))
        return wanted

    def _whole(self, pair: Pair, leg: int, held: Decimal, rounded: Decimal) -> Decimal:
        """Return what closes all of a position that lies between steps, or below the minimum.

        Steps and minima change while something is held. A venue that enforces reductions cuts
        one to the position, so the next step above it leaves no dust.
        """
        instrument = self._instrument(pair, leg)
        enforced = self._around.capabilities[pair.venue(leg)].reduce_only
        if rounded == held >= instrument.min_quantity or not enforced:
            return rounded
        return max(ceil_to(held, instrument.quantity_step), instrument.min_quantity)

    def _least_reduction(self, pair: Pair, leg: int, signed: Decimal) -> Decimal:
        """Return the smallest quantity that the venue of a leg lets us take back.

        Only orders that the venue knows as reductions are exempt from its minimum notional.
        """
        instrument = self._instrument(pair, leg)
        least = max(instrument.min_quantity, instrument.quantity_step)
        if self._around.capabilities[pair.venue(leg)].reduce_only or not instrument.min_notional:
            return least
        side = Side.BUY if signed > 0 else Side.SELL
        price = self._touch(pair, leg, side, pair.leg(leg).last_price)
        return max(least, instrument.min_notional / price) if price > 0 else least

    def _instrument(self, pair: Pair, leg: int) -> Instrument:
        return self._around.instrument(pair.venue(leg), pair.plan.asset)

    def _touch(self, pair: Pair, leg: int, side: Side, fallback: Decimal) -> Decimal:
        return self._maker.touch(pair.venue(leg), pair.plan.asset, side, fallback)

    # --- sending ---

    def hedge(self, pair: Pair, quantity: Decimal, attempt: int) -> bool:
        """Send the missing part of the lagging leg; tell whether anything was sent.

        `attempt` counts tries without progress, from 0: each gives away more of the budget.
        """
        leg = 1 if pair.imbalance > 0 else 0
        side = Side.SELL if leg else Side.BUY
        instrument = self._instrument(pair, leg)
        quantity = instrument.round_quantity(quantity)
        worst = pair.plan.short_price if leg else pair.plan.long_price
        reference = self._touch(pair, leg, side, worst)
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
                replaces=self._replaced(pair.plan.pair_id, leg),
            )
            decision = self._risk.check_hedge(order, pair.imbalance, pair.plan)
        except (InvalidValue, RiskDenied) as refusal:
            self._refused(pair, "hedge", refusal)
            return False
        self._publish(pair, (order,), decision)
        return True

    def reduce(self, pair: Pair, wanted: Sequence[tuple[int, Decimal]], attempt: int) -> None:
        """Send `wanted` (leg, signed quantity) as far as numbers and gate allow."""
        passed: list[OrderRequest] = []
        decision: GateDecision | None = None
        for leg, signed in wanted:
            try:
                order = self._reduction(pair, leg, signed, attempt)
                decision = self._risk.check_reduce(order)
            except (InvalidValue, RiskDenied) as refusal:
                self._refused(pair, "reduce", refusal)
            else:
                passed.append(order)
        if decision is not None:
            self._publish(pair, tuple(passed), decision)

    def _reduction(self, pair: Pair, leg: int, signed: Decimal, attempt: int) -> OrderRequest:
        side = Side.BUY if signed > 0 else Side.SELL
        capabilities = self._around.capabilities[pair.venue(leg)]
        return self._maker.order(
            pair.plan,
            leg=leg,
            side=side,
            quantity=abs(signed),
            purpose=Purpose.REDUCE,
            style=self._fallback.reduction(attempt, capabilities),
            reference=self._touch(pair, leg, side, pair.leg(leg).last_price),
            attempt=pair.attempts + leg,
            replaces=self._replaced(pair.plan.pair_id, leg),
        )

    def _publish(
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
