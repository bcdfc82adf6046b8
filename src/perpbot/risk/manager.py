"""Three gates: open, hedge, reduce. The first refusal decides and says why, with its number.

*Open* asks every rule of `perpbot.risk.rules`. *Hedge* asks only that the order shrinks the net of
its pair and fits the capital reserved for it. *Reduce* asks only that the venue enforces it, or
that the position proves it. Hedges and reductions are never held by stale data, pauses, cooldowns,
halts or limits; there is no bypass flag. What cannot be measured is refused.

Rules of the open gate that look at neither the order nor its quotes need not be asked again while
nothing durable has happened since, no balance and no connection has changed, and the last answer
is at most `STANDS_NS` old: a rehearsal of the pair may have asked them just before.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from perpbot.domain.errors import InvalidValue, RiskDenied
from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    CooldownStarted,
    DayStarted,
    EquitySampled,
    GateDecision,
    HaltCleared,
    HaltLatched,
    Measure,
    OrderFailed,
    OverrideGranted,
    TradeCompleted,
    VenueConnectionChanged,
)
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import PositionSide, Purpose, Side
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND
from perpbot.portfolio.capital import Claim
from perpbot.risk.latches import ALL, FAILURE_EXITS, FAST
from perpbot.risk.limits import PairLimits, pair_limits
from perpbot.risk.rules import (
    OPEN_RULES,
    Ground,
    OpenRequest,
    OpenRule,
    daily_loss_limit,
    open_request,
)
from perpbot.risk.settings import RiskSettings
from perpbot.risk.world import RiskWorld

HEDGE_PRICE_FACTOR = Decimal(2)
"""A hedge beyond this many times its reference, or below its inverse, is an error."""


STANDS_NS = 250 * MS
"""How old the answer of a rule may be that looks at neither the order nor its quotes."""


class Granted(NamedTuple):
    """What an override lifts pauses for, whichever ends first."""

    minutes: int
    trades: int


_MOMENTARY = tuple(rule for rule in OPEN_RULES if not rule.stands)


class _Pass(msgspec.Struct, frozen=True):
    """What the open gate measured when it let a direction pass."""

    sequence: int
    """Of the last durable event before it."""
    measured_ns: int
    checks: dict[str, Measure]
    ground: Ground


class RiskManager:
    """See the module; also latches halts and starts cooldowns."""

    def __init__(self, bus: EventBus, world: RiskWorld) -> None:
        self._bus = bus
        self._world = world
        self._failed_owner = ""
        self._pausing = False
        self._limits: dict[tuple[str, str, str], PairLimits] = {}
        self._passes: dict[tuple[str, str, str, str], _Pass] = {}
        bus.subscribe(AccountReported, self._forget_passes)
        bus.subscribe(VenueConnectionChanged, self._forget_passes)
        bus.subscribe(EquitySampled, self._watch_losses)
        bus.subscribe(DayStarted, self._new_day)
        bus.subscribe(CooldownStarted, self._count_failures)
        bus.subscribe(OrderFailed, self._order_failed)
        bus.subscribe(TradeCompleted, self._trade_completed)

    # --- gates ---

    def check_open(
        self, plan: PairPlan, orders: tuple[OrderRequest, ...], claim: Claim
    ) -> GateDecision:
        """Ask all four layers; raise `RiskDenied` at the first refusal.

        `claim` is what the pair would take of its pool.
        """
        world = self._world
        limits = self._limits_of_pair(plan.asset, plan.long_venue, plan.short_venue)
        place = (plan.asset, plan.long_venue, plan.short_venue, claim.pool)
        last = self._last_pass(place)
        if last is None:
            request = open_request(world, plan, orders, claim, limits)
            checks = _ask(OPEN_RULES, world, request, {})
            last = _Pass(self._bus.sequence, request.now_ns, checks, request.ground)
            self._passes[place] = last
        else:
            request = open_request(world, plan, orders, claim, limits, last.ground)
            checks = _ask(_MOMENTARY, world, request, last.checks.copy())
        return GateDecision(gate="open", checks=checks, ts_ns=request.now_ns)

    def _last_pass(self, place: tuple[str, str, str, str]) -> _Pass | None:
        """Return the last pass of a direction while what stands of it still holds."""
        found = self._passes.get(place)
        if found is None or found.sequence != self._bus.sequence:
            return None
        age_ns = self._world.clock.now_ns() - found.measured_ns
        return found if 0 <= age_ns <= STANDS_NS else None

    def _forget_passes(self, _event: object) -> None:
        self._passes.clear()

    def _limits_of_pair(self, asset: str, long_venue: str, short_venue: str) -> PairLimits:
        """Return the limits of a pair, which are worked out once."""
        key = (asset, long_venue, short_venue)
        found = self._limits.get(key)
        if found is None:
            world, venues = self._world, (long_venue, short_venue)
            found = pair_limits(
                world.settings,
                [world.limits(venue, asset) for venue in venues],
                [(venue, world.capital.margin_limit(venue)) for venue in venues],
            )
            self._limits[key] = found
        return found

    def check_hedge(self, order: OrderRequest, imbalance: Decimal, plan: PairPlan) -> GateDecision:
        """Let a hedge pass when it shrinks |`imbalance`| and fits its leg's reservation."""
        self._measurable("hedge", order, imbalance)
        if order.purpose is not Purpose.HEDGE or order.asset != plan.asset:
            raise RiskDenied(
                "hedge", "purpose", f"{order.purpose} {order.asset}", f"hedge {plan.asset}"
            )
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
                "shrinks_net": _said(
                    f"{plain(imbalance)} -> {plain(after)}", "closer to 0, not beyond"
                ),
                "fits_leg": _said(plain(order.quantity), f"<= {plain(plan.quantity)}"),
            },
        )

    def check_reduce(self, order: OrderRequest) -> GateDecision:
        """Let a reduction pass when the venue enforces it, or our books prove it."""
        self._measurable("reduce", order)
        if order.purpose not in {Purpose.REDUCE, Purpose.PROTECT}:
            raise RiskDenied("reduce", "purpose", str(order.purpose), "reduce or protect")
        if self._enforced(order):
            return self._passed("reduce", {"enforced_by": _said("the venue", "no growth")})
        world = self._world
        held = world.positions.quantity(order.venue, order.account, order.asset)
        free = held + world.orders.open_reduction(order.venue, order.account, order.asset)
        signed = order.quantity * order.side.sign
        if held * free <= 0 or free * signed >= 0 or abs(signed) > abs(free):
            raise RiskDenied(
                "reduce", "proven", plain(signed), f"at most {plain(-free)} against {plain(held)}"
            )
        return self._passed("reduce", {"proven": _said(plain(signed), f"against {plain(free)}")})

    def _enforced(self, order: OrderRequest) -> bool:
        """Whether the venue itself keeps the order from growing a position."""
        capabilities = self._world.capabilities.get(order.venue)
        if capabilities is None:
            return False
        closing = {PositionSide.LONG: Side.SELL, PositionSide.SHORT: Side.BUY}
        if capabilities.hedge_mode and closing.get(order.position_side) is order.side:
            return True
        return order.reduce_only and capabilities.reduce_only

    def _measurable(self, gate: str, order: OrderRequest, *others: Decimal) -> None:
        numbers = [order.quantity, order.reference_price, *others]
        numbers += [] if order.price is None else [order.price]
        if not all(number.is_finite() for number in numbers) or order.quantity <= 0:
            raise RiskDenied(
                gate,
                "numbers",
                f"quantity {order.quantity}, price {order.price}",
                "finite, above 0",
            )

    def _passed(self, gate: str, checks: dict[str, Measure]) -> GateDecision:
        return GateDecision(gate=gate, checks=checks, ts_ns=self._world.clock.now_ns())

    # --- latching ---

    def _watch_losses(self, _event: EquitySampled) -> None:
        settings, equity = self._world.settings, self._world.equity
        drawdown = equity.drawdown()
        if drawdown >= settings.max_drawdown_ratio:
            limit = f"{plain(settings.max_drawdown_ratio)} of the peak"
            self._latch("drawdown", f"{drawdown:.6f} of the peak", limit)
        loss, most = equity.daily_loss(), daily_loss_limit(self._world)
        if loss is not None and loss >= most > 0:
            self._latch("daily_loss", f"{plain(loss)} USD", f"{plain(most)} USD")

    def _new_day(self, event: DayStarted) -> None:
        """The daily loss stops one day; drawdown and everything else stays latched."""
        if "daily_loss" in self._world.latches.halts:
            self.clear_halt("daily_loss", actor="calendar", reason=f"day {event.day} began")

    def _latch(self, rule: str, value: str, limit: str) -> None:
        if rule not in self._world.latches.halts:
            now_ns = self._world.clock.now_ns()
            self._bus.publish(HaltLatched(ts_ns=now_ns, rule=rule, value=value, limit=limit))
            until = " or the next day (UTC)" if rule == "daily_loss" else ""
            self._bus.publish(
                AlertFired(
                    ts_ns=now_ns,
                    name=f"halt_{rule}",
                    severity="critical",
                    text=f"{rule} was {value}, limit {limit}: nothing opens until a person clears "
                    f'it{until}: `perpbot risk reset {rule} --reason "..."`',
                )
            )

    def _order_failed(self, event: OrderFailed) -> None:
        order = self._world.orders.get(event.client_id)
        if order is not None and order.request.purpose in {Purpose.OPEN, Purpose.HEDGE}:
            self._failure(order.request.asset, order.request.owner, event.reason)

    def _trade_completed(self, event: TradeCompleted) -> None:
        if event.exit_reason in FAILURE_EXITS:
            self._failure(event.asset, event.pair_id, event.exit_reason)

    def _failure(self, asset: str, owner: str, reason: str) -> None:
        """Cool the asset down; a pair counts as one failure however much of it failed."""
        counted = not owner or owner != self._failed_owner
        self._failed_owner = owner
        failures = self._world.latches.failures + 1 if counted else 0
        cooldown_s = max(limits.symbol_cooldown_s for limits in self._limits_of(asset))
        self._cool(asset, cooldown_s, reason, failures)

    def _limits_of(self, asset: str) -> list[RiskSettings]:
        """The limits of an asset on each of its venues; the strictest of them counts."""
        world = self._world
        venues = [venue for venue, name in world.instruments if name == asset]
        return [world.limits(venue, asset) for venue in venues] or [world.settings]

    def _count_failures(self, event: CooldownStarted) -> None:
        if event.scope == ALL:
            self._pausing = False
        most = self._world.settings.max_consecutive_failures
        if event.failures and self._world.latches.failures >= most and not self._pausing:
            self._pausing = True
            self._pause(event.reason)

    def _pause(self, reason: str) -> None:
        latches, settings = self._world.latches, self._world.settings
        if latches.pauses >= settings.max_pauses:
            self._pausing = False
            self._latch("failures", f"{latches.pauses} pauses", f"{settings.max_pauses} pauses")
            return
        self._cool(ALL, settings.global_pause_s * 2**latches.pauses, reason)

    def _cool(self, scope: str, seconds: float, reason: str, failures: int = 0) -> None:
        now_ns = self._world.clock.now_ns()
        self._bus.publish(
            CooldownStarted(
                ts_ns=now_ns,
                scope=scope,
                until_ns=now_ns + int(seconds * SECOND),
                reason=reason,
                failures=failures,
            )
        )

    def freeze_fast_market(self, asset: str, moved_bps: float) -> None:
        """Freeze opens of an asset after a fast move; called by whoever watches prices."""
        limits = self._limits_of(asset)
        if moved_bps < min(each.fast_market_move_bps for each in limits):
            return
        scope = f"{FAST}{asset}"
        if self._world.latches.cooling_until_ns(scope) <= self._world.clock.now_ns():
            freeze_s = max(each.fast_market_freeze_s for each in limits)
            self._cool(scope, freeze_s, f"moved {moved_bps:.1f} bps")

    # --- people ---

    def clear_halt(self, rule: str, *, actor: str, reason: str) -> None:
        """Clear a latched halt; a person's act, journalled with their name.

        Drawdown and daily loss are measured from the equity of that moment on. Raises
        `InvalidValue` for a halt that is not latched, or without a name.
        """
        if rule not in self._world.latches.halts:
            latched = ", ".join(self._world.latches.halts) or "none is latched"
            raise InvalidValue(f"halt was {rule!r}, one of these was expected: {latched}")
        _named(actor)
        self._bus.publish(
            HaltCleared(ts_ns=self._world.clock.now_ns(), rule=rule, actor=actor, reason=reason)
        )

    def grant_override(self, *, actor: str, minutes: int, trades: int, reason: str) -> Granted:
        """Lift the failure pause and cooldowns; never drawdown, daily loss or the kill switch.

        More than the settings allow is cut to it; what is returned was granted. Raises
        `InvalidValue` for less than 1 minute or trade, or without a name.
        """
        _named(actor)
        if minutes < 1 or trades < 1:
            raise InvalidValue(f"override was {minutes} min, {trades} trades; 1 or more expected")
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
        return Granted(minutes, trades)


def _ask(
    rules: tuple[OpenRule, ...], world: RiskWorld, request: OpenRequest, checks: dict[str, Measure]
) -> dict[str, Measure]:
    """Add what rules measure to `checks`; raise `RiskDenied` at the first refusal."""
    for rule in rules:
        try:
            measure = rule.measure(world, request)
        except Exception as error:
            text = f"not measurable ({type(error).__name__}: {error})"
            raise RiskDenied(rule.layer, rule.name, text, "a measured value") from error
        if not measure.passed:
            raise RiskDenied(rule.layer, rule.name, measure.value, measure.limit)
        checks[rule.key] = measure
    return checks


def _said(words: str, limit: str) -> Measure:
    return Measure(passed=True, limit=limit, words=words)


def _named(actor: str) -> None:
    if not actor.strip():
        raise InvalidValue("actor was empty, the name of a person was expected")
