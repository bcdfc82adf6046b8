"""Three gates: open, hedge, reduce. The first refusal decides and says why, with its number.

*Open* asks every rule of `perpbot.risk.rules`. *Hedge* asks only that the order shrinks the net of
its pair and fits the capital reserved for it. *Reduce* asks only that the venue enforces it, or that
the venue's position proves it. Hedges and reductions are never held by stale data, pauses,
cooldowns, halts or limits; there is no bypass flag.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.errors import RiskDenied
from perpbot.domain.events import (
    CooldownStarted,
    EquitySampled,
    GateDecision,
    HaltCleared,
    HaltLatched,
    OrderFailed,
    OverrideGranted,
    TradeCompleted,
)
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import PositionSide, Purpose, Side
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND
from perpbot.risk.latches import ALL
from perpbot.risk.rules import OPEN_RULES, OpenRequest, daily_loss_limit
from perpbot.risk.world import RiskWorld

HEDGE_PRICE_FACTOR = Decimal(2)
"""A hedge beyond this many times its reference, or below its inverse, is an error."""


class RiskManager:
    """See the module; also latches halts and starts cooldowns."""

    def __init__(self, bus: EventBus, world: RiskWorld) -> None:
        self._bus = bus
        self._world = world
        bus.subscribe(EquitySampled, self._watch_losses)
        bus.subscribe(OrderFailed, self._order_failed)
        bus.subscribe(TradeCompleted, self._trade_completed)

    # --- gates ---

    def check_open(self, plan: PairPlan, orders: tuple[OrderRequest, ...]) -> GateDecision:
        """Ask all four layers; raise `RiskDenied` at the first refusal."""
        request = OpenRequest(plan, orders)
        checks = {}
        for layer, name, rule in OPEN_RULES:
            measure = rule(self._world, request)
            if not measure.passed:
                raise RiskDenied(layer, name, measure.value, measure.limit)
            checks[f"{layer}.{name}"] = f"{measure.value} ({measure.limit})"
        return self._passed("open", checks)

    def check_hedge(self, order: OrderRequest, imbalance: Decimal, plan: PairPlan) -> GateDecision:
        """Let a hedge pass when it shrinks |`imbalance`| and fits its leg's reservation."""
        signed = order.quantity * order.side.sign
        after = imbalance + signed
        if imbalance * signed >= 0 or abs(after) >= abs(imbalance) or after * imbalance < 0:
            raise RiskDenied(
                "hedge",
                "shrinks_net",
                f"{plain(imbalance)} -> {plain(after)}",
                "closer to 0, not beyond",
            )
        reservation = self._world.reservations.get(plan.reservation_id)
        held = None if reservation is None else reservation.legs.get(order.venue)
        if held is None or reservation is None:
            raise RiskDenied("hedge", "reservation", "none", f"a reservation on {order.venue}")
        price = order.price if order.price is not None else order.reference_price
        factor = price / order.reference_price if order.reference_price > 0 else Decimal("NaN")
        if not factor.is_finite() or not 1 / HEDGE_PRICE_FACTOR < factor < HEDGE_PRICE_FACTOR:
            raise RiskDenied("hedge", "price_sanity", f"{price}", f"near {order.reference_price}")
        if order.quantity > plan.quantity:
            raise RiskDenied(
                "hedge", "fits_leg", plain(order.quantity), f"<= {plain(plan.quantity)}"
            )
        return self._passed(
            "hedge",
            {
                "shrinks_net": f"{plain(imbalance)} -> {plain(after)}",
                "fits_leg": f"{plain(order.quantity)} (<= {plain(plan.quantity)})",
            },
        )

    def check_reduce(self, order: OrderRequest) -> GateDecision:
        """Let a reduction pass when the venue enforces it, or our books prove it."""
        if order.purpose not in {Purpose.REDUCE, Purpose.PROTECT}:
            raise RiskDenied("reduce", "purpose", str(order.purpose), "reduce or protect")
        if order.reduce_only or self._closes_hedge_leg(order):
            return self._passed("reduce", {"enforced_by": "the venue"})
        world = self._world
        held = world.positions.quantity(order.venue, order.account, order.asset)
        free = held + world.orders.open_reduction(order.venue, order.account, order.asset)
        signed = order.quantity * order.side.sign
        if free * signed >= 0 or abs(signed) > abs(free):
            raise RiskDenied(
                "reduce", "proven", plain(signed), f"at most {plain(-free)} against {plain(held)}"
            )
        return self._passed("reduce", {"proven": f"{plain(signed)} against {plain(free)}"})

    def _closes_hedge_leg(self, order: OrderRequest) -> bool:
        closing = {PositionSide.LONG: Side.SELL, PositionSide.SHORT: Side.BUY}
        return closing.get(order.position_side) is order.side

    def _passed(self, gate: str, checks: dict[str, str]) -> GateDecision:
        return GateDecision(gate=gate, checks=checks, ts_ns=self._world.clock.now_ns())

    # --- latching ---

    def _watch_losses(self, _event: EquitySampled) -> None:
        settings, equity = self._world.settings, self._world.equity
        drawdown = equity.drawdown()
        if drawdown >= settings.max_drawdown_ratio:
            self._latch("drawdown", plain(drawdown), plain(settings.max_drawdown_ratio))
        loss, limit = equity.daily_loss(), daily_loss_limit(self._world)
        if loss is not None and loss >= limit > 0:
            self._latch("daily_loss", f"{plain(loss)} USD", f"{plain(limit)} USD")

    def _latch(self, rule: str, value: str, limit: str) -> None:
        if rule not in self._world.latches.halts:
            self._bus.publish(
                HaltLatched(
                    ts_ns=self._world.clock.now_ns(), rule=rule, value=value, limit=limit
                )
            )

    def _order_failed(self, event: OrderFailed) -> None:
        order = self._world.orders.get(event.client_id)
        if order is None or order.request.purpose is not Purpose.OPEN:
            return
        self._cool(order.request.asset, self._world.settings.symbol_cooldown_s, event.reason)
        if self._world.latches.failures >= self._world.settings.max_consecutive_failures:
            self._pause(event.reason)

    def _trade_completed(self, event: TradeCompleted) -> None:
        if event.exit_reason in {"unwound", "not_completed"}:
            self._cool(event.asset, self._world.settings.symbol_cooldown_s, event.exit_reason)

    def _pause(self, reason: str) -> None:
        latches, settings = self._world.latches, self._world.settings
        if latches.pauses >= settings.max_pauses:
            self._latch("failures", f"{latches.pauses} pauses", f"{settings.max_pauses} pauses")
            return
        self._cool(ALL, settings.global_pause_s * 2**latches.pauses, reason)

    def _cool(self, scope: str, seconds: float, reason: str) -> None:
        now_ns = self._world.clock.now_ns()
        self._bus.publish(
            CooldownStarted(
                ts_ns=now_ns,
                scope=scope,
                until_ns=now_ns + int(seconds * SECOND),
                reason=reason,
                failures=self._world.latches.failures,
            )
        )

    def freeze_fast_market(self, asset: str, moved_bps: float) -> None:
        """Freeze opens of an asset after a fast move; called by whoever watches prices."""
        settings = self._world.settings
        if moved_bps < settings.fast_market_move_bps:
            return
        scope = f"fast:{asset}"
        if self._world.latches.cooling_until_ns(scope) <= self._world.clock.now_ns():
            self._cool(scope, settings.fast_market_freeze_s, f"moved {moved_bps:.1f} bps")

    # --- people ---

    def clear_halt(self, rule: str, *, actor: str, reason: str) -> None:
        """Clear a latched halt; a person's act, journalled with their name."""
        self._bus.publish(
            HaltCleared(ts_ns=self._world.clock.now_ns(), rule=rule, actor=actor, reason=reason)
        )

    def grant_override(self, *, actor: str, minutes: int, trades: int, reason: str) -> None:
        """Lift the failure pause for a while; never drawdown, daily loss or the kill switch."""
        settings = self._world.settings
        minutes = min(minutes, settings.override_max_minutes)
        trades = min(trades, settings.override_max_trades)
        now_ns = self._world.clock.now_ns()
        self._bus.publish(
            OverrideGranted(
                ts_ns=now_ns,
                actor=actor,
                until_ns=now_ns + minutes * 60 * SECOND,
                trades=trades,
                reason=reason,
            )
        )
