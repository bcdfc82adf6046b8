"""The rules of the open gate, layer by layer, in the order in which they are asked.

Each rule is a function that measures one thing. It returns a `Measure`, which passes or not; what
cannot be measured (None, NaN, stale) does not pass. `OPEN_RULES` is the table of spec d.7, as
corrected: capital, account, position, execution; the first refusal decides.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import Measure
from perpbot.domain.money import BPS, ONE, ZERO, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND
from perpbot.portfolio.capital import Claim
from perpbot.portfolio.leases import Leg, legs_of
from perpbot.risk.latches import ALL, FAST
from perpbot.risk.limits import Limit, PairLimits
from perpbot.risk.world import RiskWorld


class LegRequest(msgspec.Struct, frozen=True):
    """One leg of what wants to open."""

    venue: str
    worst_price: Decimal
    """What the plan accepts, settle currency."""
    usd_rate: Decimal
    """USD per unit of settle currency; NaN where it is not known."""
    mark: Decimal | None
    """USD per base coin."""


class Ground(msgspec.Struct, frozen=True):
    """What our books say of a direction: the same until something durable happens."""

    held: tuple[Decimal, Decimal]
    """By leg, base coins: the position, and what orders at work may add to it."""
    unowned: str
    """Which leg holds what no pair owns, and how much; "" where there is none to speak of."""
    gross: dict[str, Decimal]
    """Gross exposure by venue, USD."""


class OpenRequest(msgspec.Struct):
    """What wants to open, and what several rules look at."""

    plan: PairPlan
    orders: tuple[OrderRequest, ...]
    claim: Claim
    """Of the pool's capital."""
    limits: PairLimits
    legs: tuple[LegRequest, LegRequest]
    """Long and short."""
    ground: Ground
    now_ns: int
    ratios: list[Decimal] = []
    """Price over mark of every order, once a rule has asked for it."""


def open_request(
    world: RiskWorld,
    plan: PairPlan,
    orders: tuple[OrderRequest, ...],
    claim: Claim,
    limits: PairLimits,
    ground: Ground | None = None,
) -> OpenRequest:
    """Look once at what several rules need; `ground` where it has been looked at before."""
    legs = (
        _leg(world, plan.asset, plan.long_venue, plan.long_price),
        _leg(world, plan.asset, plan.short_venue, plan.short_price),
    )
    ground = _ground(world, plan) if ground is None else ground
    return OpenRequest(plan, orders, claim, limits, legs, ground, world.clock.now_ns())


def _ground(world: RiskWorld, plan: PairPlan) -> Ground:
    gross: dict[str, Decimal] = {}
    for key, position in world.positions.held():
        mark = world.market.mark(key[0], key[2])
        mark = position.entry_usd if mark is None else mark
        gross[key[0]] = gross.get(key[0], ZERO) + abs(position.quantity * mark)
    return Ground(
        held=(
            _held(world, plan.long_venue, plan.account_long, plan.asset),
            _held(world, plan.short_venue, plan.account_short, plan.asset),
        ),
        unowned="; ".join(filter(None, (_unowned(world, place) for place in legs_of(plan)))),
        gross=gross,
    )


def _unowned(world: RiskWorld, place: Leg) -> str:
    """Say what a free leg holds, unless it is dust that its venue does not trade by itself."""
    instrument = world.instruments.get((place[0], place[2]))
    held = world.positions.get(place).quantity
    if instrument is None or not held:
        return ""
    if instrument.is_dust(held, world.market.mark(place[0], place[2])):
        return ""
    return f"{place[0]} holds {plain(held)}"


def _held(world: RiskWorld, venue: str, account: str, asset: str) -> Decimal:
    held = abs(world.positions.quantity(venue, account, asset))
    return held + world.orders.open_growth(venue, account, asset)


def _leg(world: RiskWorld, asset: str, venue: str, price: Decimal) -> LegRequest:
    instrument = world.instruments.get((venue, asset))
    rate = None if instrument is None else world.usd_rate(instrument.settle)
    mark = world.market.mark(venue, asset)
    return LegRequest(venue, price, NAN if rate is None else rate, mark)


Rule = Callable[[RiskWorld, OpenRequest], Measure]

NAN = Decimal("NaN")


def _below(value: Decimal | None, limit: Limit, unit: str = "") -> Measure:
    """Pass when `value` is known, finite and below `limit`."""
    if value is None or not value.is_finite():
        return Measure(passed=False, limit=limit.words, words=f"unknown ({value})")
    return Measure(value < limit.number, limit.words, unit, value)


def _at_most(value: Decimal, limit: Limit, unit: str) -> Measure:
    return Measure(value <= limit.number, limit.words, unit, value)


def _none(limit: str) -> Measure:
    """Pass: there is no reason against it."""
    return Measure(passed=True, limit=limit, words="none")


def _against(reasons: list[str], passed: Measure) -> Measure:
    return Measure(passed=False, limit=passed.limit, words="; ".join(reasons))


_FITS = Measure(passed=True, limit="free margin of pool and venues", words="fits")
_NOT_SAFE = _none("no venue in safe mode")
_NO_BREACH = _none("no breach")
_OFF = Measure(passed=True, limit="off", words="off")
_NO_HALT = _none("no latched halt")
_NO_PAUSE = _none("no pause")
_CALM = Measure(passed=True, limit="no freeze", words="calm")
_NO_COOLDOWN = _none("no cooldown")
_CLEAR = _none("no position without an owner")
_READY = _none("connected and reconciled")
_FRESH = _none("fresh on both venues")
_TRADABLE = _none("tradable, settle currency priced")
_NO_OPPOSITE = _none("no opposite order of ours")
_KEEPS_UP = Measure(passed=True, limit="keeps up", words="keeps up")
_ROOM = Measure(passed=True, limit="room in the journal", words="room")


# --- 1 capital ---


def pool_funds(_world: RiskWorld, request: OpenRequest) -> Measure:
    """The pool and both venues have free margin, told recently."""
    short = request.claim.shortage
    return Measure(passed=False, limit=_FITS.limit, words=short) if short else _FITS


def safe_mode(world: RiskWorld, request: OpenRequest) -> Measure:
    """Neither venue is in safe mode (it closes the arbitrage pool only)."""
    if request.claim.pool != "arbitrage":
        return Measure(passed=True, limit=_NOT_SAFE.limit, words="pool not concerned")
    safe = [leg.venue for leg in request.legs if world.equity.safe_since_ns(leg.venue) is not None]
    return (
        _against([f"{venue} is in safe mode" for venue in safe], _NOT_SAFE) if safe else _NOT_SAFE
    )


def pool_breach(world: RiskWorld, _request: OpenRequest) -> Measure:
    """No pool holds more than its equity."""
    breach = world.capital.breach()
    if breach:
        return _against([f"pool {breach} holds more than its equity"], _NO_BREACH)
    return _NO_BREACH


# --- 2 account ---


def kill_switch(world: RiskWorld, request: OpenRequest) -> Measure:
    """The kill switch is off: that of the node, and that of both venues."""
    latches = world.latches
    if latches.kill_level:
        return _against([f"K{latches.kill_level}"], _OFF)
    if latches.venue_kills:
        found = [(leg.venue, latches.venue_kills.get(leg.venue)) for leg in request.legs]
        why = [f"K{kill.level} on {venue}" for venue, kill in found if kill is not None]
        return _against(why, _OFF) if why else _OFF
    return _OFF


def halts(world: RiskWorld, _request: OpenRequest) -> Measure:
    """Nothing is latched that a person has to clear."""
    latched = world.latches.halts
    if latched:
        return _against([f"{rule}: {text}" for rule, text in latched.items()], _NO_HALT)
    return _NO_HALT


def equity_fresh(world: RiskWorld, _request: OpenRequest) -> Measure:
    """Equity was sampled recently."""
    age_s, limit_s = world.capital.equity_age_s()
    words = "never sampled" if age_s is None else f"{age_s:.1f} s old"
    return Measure(age_s is not None and age_s <= limit_s, f"<= {limit_s:g} s", words)


def trade_risk(world: RiskWorld, request: OpenRequest) -> Measure:
    """Notional over equity."""
    equity = world.equity.total
    share = None
    if equity is not None and equity > 0:
        share = request.plan.notional_usd / equity
    return _below(share, request.limits.trade, " of equity")


def drawdown(world: RiskWorld, request: OpenRequest) -> Measure:
    """Drawdown of the account, from the peak."""
    known = world.equity.total is not None
    measured = world.equity.drawdown() if known else None
    return _below(measured, request.limits.drawdown, " of the peak")


def daily_loss(world: RiskWorld, _request: OpenRequest) -> Measure:
    """Loss since the start of the day (UTC unless set otherwise)."""
    limit = daily_loss_limit(world)
    return _below(world.equity.daily_loss(), Limit(limit, f"< {plain(limit)} USD"), " USD")


def daily_loss_limit(world: RiskWorld) -> Decimal:
    """Return the smaller of the absolute and the relative limit, USD; no transfer moves it."""
    base = world.equity.day_base
    return min(world.settings.max_daily_loss_usd, world.settings.max_daily_loss_ratio * base)


def failure_pause(world: RiskWorld, request: OpenRequest) -> Measure:
    """No pause after too many failures in a row, unless a person lifted it."""
    left_ns = world.latches.cooling_until_ns(ALL) - request.now_ns
    if left_ns <= 0 or world.latches.overridden(request.now_ns):
        return _NO_PAUSE
    return _against([f"paused for {left_ns / SECOND:.1f} s"], _NO_PAUSE)


def fast_market(world: RiskWorld, request: OpenRequest) -> Measure:
    """The asset is not frozen after a fast move."""
    left_ns = world.latches.cooling_until_ns(FAST + request.plan.asset) - request.now_ns
    if left_ns <= 0:
        return _CALM
    return _against([f"frozen for {left_ns / SECOND:.1f} s"], _CALM)


def symbol_exposure(world: RiskWorld, request: OpenRequest) -> Measure:
    """|Net of the asset| over equity after the trade: a hedged pair adds nothing."""
    equity = world.equity.total
    share = None
    if equity is not None and equity > 0:
        share = abs(world.aggregator.net(request.plan.asset)) / equity
    return _below(share, request.limits.exposure, " of equity")


# --- 3 position ---


def position_size(_world: RiskWorld, request: OpenRequest) -> Measure:
    """Notional of each leg after the trade, every order at work that may grow it filled."""
    quantity = request.plan.quantity
    long, short = request.legs
    held = request.ground.held
    largest = max(
        (held[0] + quantity) * long.worst_price * long.usd_rate,
        (held[1] + quantity) * short.worst_price * short.usd_rate,
    )
    return _at_most(largest, request.limits.position, " USD")


def symbol_cooldown(world: RiskWorld, request: OpenRequest) -> Measure:
    """No cooldown of the asset after a failure, unless a person lifted it."""
    left_ns = world.latches.cooling_until_ns(request.plan.asset) - request.now_ns
    if left_ns <= 0 or world.latches.overridden(request.now_ns):
        return _NO_COOLDOWN
    return _against([f"cooling down for {left_ns / SECOND:.1f} s"], _NO_COOLDOWN)


def venue_concentration(_world: RiskWorld, request: OpenRequest) -> Measure:
    """Share of gross exposure on the heavier venue after the trade."""
    gross = request.ground.gross.copy()
    for leg in request.legs:
        gross[leg.venue] = gross.get(leg.venue, ZERO) + request.plan.notional_usd
    heaviest = max(gross.values()) / sum(gross.values(), ZERO)
    return _below(heaviest, request.limits.venue_share, " of gross exposure")


def margin_ratio(world: RiskWorld, request: OpenRequest) -> Measure:
    """Margin in use over equity of each venue: a hedged leg can be liquidated on its own."""
    for leg, limit in zip(request.legs, request.limits.margin, strict=True):
        measure = _below(world.capital.margin_ratio(leg.venue), limit, " of equity")
        if not measure.passed:
            return measure
    return measure


def legs_clear(_world: RiskWorld, request: OpenRequest) -> Measure:
    """Neither leg holds what no pair owns: beside it a reduce-only close may be refused.

    A leg of a running pair never gets here; it is leased.
    """
    return _against([request.ground.unowned], _CLEAR) if request.ground.unowned else _CLEAR


# --- 4 execution ---


def venues_ready(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both venues are connected and agree with our books."""
    why = [
        f"{leg.venue}: {reason}"
        for leg in request.legs
        if (reason := world.readiness.refusal(leg.venue))
    ]
    return _against(why, _READY) if why else _READY


def quotes_usable(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both quotes are fresh, uncrossed and in sequence."""
    asset = request.plan.asset
    stale = [
        f"quote of {leg.venue} is not usable"
        for leg in request.legs
        if not world.market.usable(leg.venue, asset)
    ]
    return _against(stale, _FRESH) if stale else _FRESH


def instruments_tradable(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both instruments are listed and open for trading, in a currency with a USD rate."""
    why = []
    for leg in request.legs:
        instrument = world.instruments.get((leg.venue, request.plan.asset))
        if instrument is None or not instrument.tradable:
            why.append(f"{request.plan.asset} is not tradable on {leg.venue}")
        elif leg.usd_rate.is_nan():
            why.append(f"no USD rate for {instrument.settle}")
    return _against(why, _TRADABLE) if why else _TRADABLE


def different_operators(world: RiskWorld, request: OpenRequest) -> Measure:
    """The venues belong to different operators: no trade with ourselves."""
    long, short = (world.capabilities[leg.venue].operator for leg in request.legs)
    return Measure(long != short, "two operators", f"{long} / {short}")


def no_own_opposite(world: RiskWorld, request: OpenRequest) -> Measure:
    """No order of ours rests on the other side of the same instrument."""
    plan, why = request.plan, []
    opposite = {plan.long_venue: Side.SELL, plan.short_venue: Side.BUY}
    for order in world.orders.unsettled():
        resting = order.request
        if resting.asset == plan.asset and opposite.get(resting.venue) is resting.side:
            why.append(f"{resting.client_id} rests on {resting.venue}")
    return _against(why, _NO_OPPOSITE) if why else _NO_OPPOSITE


def slippage(_world: RiskWorld, request: OpenRequest) -> Measure:
    """Worst accepted price against the touch that the decision was made on."""
    limit = request.limits.slippage
    worst = ZERO
    for order in request.orders:
        if order.price is None:
            return Measure(passed=False, limit=limit.words, words="unknown: no limit price")
        reference = order.reference_price
        worst = max(worst, (order.price - reference) / reference * BPS * order.side.sign)
    return _at_most(worst, limit, " bps")


def price_sanity(_world: RiskWorld, request: OpenRequest) -> Measure:
    """No price is many times off the mark of its venue: an obvious error."""
    furthest = ONE
    for ratio in _ratios(request):
        furthest = max(furthest, ratio, ONE / ratio)
    return _below(furthest, request.limits.sanity, " times")


def price_band(_world: RiskWorld, request: OpenRequest) -> Measure:
    """Every price is near the mark of its venue."""
    furthest = ZERO
    for ratio in _ratios(request):
        furthest = max(furthest, abs(ratio - ONE))
    return _at_most(furthest * BPS, request.limits.band, " bps")


def _ratios(request: OpenRequest) -> list[Decimal]:
    """Return price over mark of every order; raise `InvalidValue` for an unusable one."""
    if not request.ratios:
        request.ratios = [_ratio(order, request.legs[order.leg]) for order in request.orders]
    return request.ratios


def _ratio(order: OrderRequest, leg: LegRequest) -> Decimal:
    price = (order.reference_price if order.price is None else order.price) * leg.usd_rate
    mark = leg.mark
    if mark is None or not mark.is_finite() or mark <= 0:
        raise InvalidValue(f"mark of {order.asset} on {order.venue} was {mark}")
    if not price.is_finite() or price <= 0:
        raise InvalidValue(f"price of {order.asset} on {order.venue} was {price} USD")
    return price / mark


def back_pressure(world: RiskWorld, _request: OpenRequest) -> Measure:
    """The node keeps up with its events."""
    return _against(["overloaded"], _KEEPS_UP) if world.overloaded() else _KEEPS_UP


def journal_space(world: RiskWorld, _request: OpenRequest) -> Measure:
    """The disk has room for what follows an open."""
    return _against(["little disk space left"], _ROOM) if world.low_space() else _ROOM


class OpenRule(msgspec.Struct, frozen=True):
    """One row of the open gate."""

    layer: str
    name: str
    measure: Rule
    stands: bool
    """Whether it looks at nothing of the order and its quotes, but only at what is durable, at
    balances, at connections and at the marks of what is held."""
    key: str
    """Its name in a decision."""


def _rule(layer: str, name: str, measure: Rule, *, stands: bool) -> OpenRule:
    return OpenRule(layer, name, measure, stands, f"{layer}.{name}")


OPEN_RULES: tuple[OpenRule, ...] = (
    _rule("capital", "pool_funds", pool_funds, stands=False),
    _rule("capital", "safe_mode", safe_mode, stands=True),
    _rule("capital", "pool_breach", pool_breach, stands=True),
    _rule("account", "kill_switch", kill_switch, stands=True),
    _rule("account", "halt", halts, stands=True),
    _rule("account", "equity_fresh", equity_fresh, stands=True),
    _rule("account", "trade_risk", trade_risk, stands=False),
    _rule("account", "drawdown", drawdown, stands=True),
    _rule("account", "daily_loss", daily_loss, stands=True),
    _rule("account", "failure_pause", failure_pause, stands=True),
    _rule("account", "fast_market", fast_market, stands=True),
    _rule("account", "symbol_exposure", symbol_exposure, stands=True),
    _rule("position", "position_size", position_size, stands=False),
    _rule("position", "symbol_cooldown", symbol_cooldown, stands=True),
    _rule("position", "venue_concentration", venue_concentration, stands=False),
    _rule("position", "margin_ratio", margin_ratio, stands=True),
    _rule("position", "legs_clear", legs_clear, stands=True),
    _rule("execution", "venues_ready", venues_ready, stands=True),
    _rule("execution", "quotes_usable", quotes_usable, stands=False),
    _rule("execution", "instruments_tradable", instruments_tradable, stands=False),
    _rule("execution", "different_operators", different_operators, stands=True),
    _rule("execution", "no_own_opposite", no_own_opposite, stands=True),
    _rule("execution", "slippage", slippage, stands=False),
    _rule("execution", "price_sanity", price_sanity, stands=False),
    _rule("execution", "price_band", price_band, stands=False),
    _rule("execution", "back_pressure", back_pressure, stands=True),
    _rule("execution", "journal_space", journal_space, stands=False),
)
