"""The rules of the open gate, layer by layer, in the order in which they are asked.

Each rule is a function that measures one thing. It returns a `Measure`, which passes or not; what
cannot be measured (None, NaN, stale) does not pass. `OPEN_RULES` is the table of spec d.7, as
corrected: capital, account, position, execution; the first refusal decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import Measure
from perpbot.domain.money import BPS, ONE, ZERO, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import Purpose
from perpbot.kernel.clock import SECOND
from perpbot.portfolio.capital import Claim
from perpbot.risk.latches import ALL, FAST
from perpbot.risk.limits import Limit, PairLimits
from perpbot.risk.world import RiskWorld


class OpenRequest(msgspec.Struct, frozen=True):
    """What wants to open, and what several rules look at."""

    plan: PairPlan
    orders: tuple[OrderRequest, ...]
    claim: Claim
    """Of the pool's capital."""
    limits: PairLimits
    venues: tuple[str, str]
    """Long and short venue."""
    now_ns: int

    def settle_rate(self, world: RiskWorld, venue: str) -> Decimal:
        """Return USD per unit of the settle currency on a venue; NaN where it is not known."""
        rate = world.usd_rate(world.instruments[venue, self.plan.asset].settle)
        return NAN if rate is None else rate


Rule = Callable[[RiskWorld, OpenRequest], Measure]

NAN = Decimal("NaN")


def _below(value: Decimal | None, limit: Limit, unit: str = "") -> Measure:
    """Pass when `value` is known, finite and below `limit`."""
    if value is None or not value.is_finite():
        return Measure(passed=False, limit=limit.words, words=f"unknown ({value})")
    return Measure(value < limit.number, limit.words, unit, value)


def _at_most(value: Decimal, limit: Limit, unit: str) -> Measure:
    return Measure(value <= limit.number, limit.words, unit, value)


def _none(reasons: list[str], limit: str) -> Measure:
    """Pass when there is no reason against it."""
    return Measure(not reasons, limit, "; ".join(reasons) or "none")


# --- 1 capital ---


def pool_funds(_world: RiskWorld, request: OpenRequest) -> Measure:
    """The pool and both venues have free margin, told recently."""
    short = request.claim.shortage
    return Measure(not short, "free margin of pool and venues", short or "fits")


def safe_mode(world: RiskWorld, request: OpenRequest) -> Measure:
    """Neither venue is in safe mode (it closes the arbitrage pool only)."""
    if request.claim.pool != "arbitrage":
        return Measure(passed=True, limit="no venue in safe mode", words="pool not concerned")
    safe = [v for v in request.venues if world.equity.safe_since_ns(v) is not None]
    return _none([f"{venue} is in safe mode" for venue in safe], "no venue in safe mode")


def pool_breach(world: RiskWorld, _request: OpenRequest) -> Measure:
    """No pool holds more than its equity."""
    breach = world.capital.breach()
    return _none([f"pool {breach} holds more than its equity"] if breach else [], "no breach")


# --- 2 account ---


def kill_switch(world: RiskWorld, _request: OpenRequest) -> Measure:
    """The kill switch is off."""
    level = world.latches.kill_level
    return Measure(level == 0, "off", f"K{level}" if level else "off")


def halts(world: RiskWorld, _request: OpenRequest) -> Measure:
    """Nothing is latched that a person has to clear."""
    latched = [f"{rule}: {text}" for rule, text in world.latches.halts.items()]
    return _none(latched, "no latched halt")


def trade_risk(world: RiskWorld, request: OpenRequest) -> Measure:
    """Notional over equity."""
    equity = world.equity.total
    share = None
    if equity is not None and equity > 0:
        share = request.plan.notional_usd / equity
    return _below(share, request.limits.trade, " of equity")


def equity_fresh(world: RiskWorld, _request: OpenRequest) -> Measure:
    """Equity was sampled recently."""
    age_s, limit_s = world.capital.equity_age_s()
    words = "never sampled" if age_s is None else f"{age_s:.1f} s old"
    return Measure(age_s is not None and age_s <= limit_s, f"<= {limit_s:g} s", words)


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
    """Return the smaller of the absolute and the relative limit, USD."""
    start = world.equity.day_start or ZERO
    return min(world.settings.max_daily_loss_usd, world.settings.max_daily_loss_ratio * start)


def failure_pause(world: RiskWorld, request: OpenRequest) -> Measure:
    """No pause after too many failures in a row, unless a person lifted it."""
    left_ns = world.latches.cooling_until_ns(ALL) - request.now_ns
    if left_ns <= 0 or world.latches.overridden(request.now_ns):
        return Measure(passed=True, limit="no pause", words="no pause")
    return Measure(passed=False, limit="no pause", words=f"paused for {left_ns / SECOND:.1f} s")


def fast_market(world: RiskWorld, request: OpenRequest) -> Measure:
    """The asset is not frozen after a fast move."""
    left_ns = world.latches.cooling_until_ns(FAST + request.plan.asset) - request.now_ns
    if left_ns <= 0:
        return Measure(passed=True, limit="no freeze", words="calm")
    return Measure(passed=False, limit="no freeze", words=f"frozen for {left_ns / SECOND:.1f} s")


def symbol_exposure(world: RiskWorld, request: OpenRequest) -> Measure:
    """|Net of the asset| over equity after the trade: a hedged pair adds nothing."""
    equity = world.equity.total
    share = None
    if equity is not None and equity > 0:
        share = abs(world.aggregator.net(request.plan.asset)) / equity
    return _below(share, request.limits.exposure, " of equity")


# --- 3 position ---


def position_size(world: RiskWorld, request: OpenRequest) -> Measure:
    """Notional of each leg after the trade, every order at work that may grow it filled."""
    plan = request.plan
    growing = [
        order
        for order in world.orders.unsettled()
        if order.request.asset == plan.asset
        and order.request.purpose in {Purpose.OPEN, Purpose.HEDGE}
    ]
    largest = ZERO
    for venue, account, price in (
        (plan.long_venue, plan.account_long, plan.long_price),
        (plan.short_venue, plan.account_short, plan.short_price),
    ):
        held = abs(world.positions.quantity(venue, account, plan.asset))
        for order in growing:
            if order.request.venue == venue and order.request.account == account:
                held += order.open_quantity
        after = (held + plan.quantity) * price * request.settle_rate(world, venue)
        largest = max(largest, after)
    return _at_most(largest, request.limits.position, " USD")


def symbol_cooldown(world: RiskWorld, request: OpenRequest) -> Measure:
    """No cooldown of the asset after a failure, unless a person lifted it."""
    left_ns = world.latches.cooling_until_ns(request.plan.asset) - request.now_ns
    if left_ns <= 0 or world.latches.overridden(request.now_ns):
        return Measure(passed=True, limit="no cooldown", words="no cooldown")
    words = f"cooling down for {left_ns / SECOND:.1f} s"
    return Measure(passed=False, limit="no cooldown", words=words)


def venue_concentration(world: RiskWorld, request: OpenRequest) -> Measure:
    """Share of gross exposure on the heavier venue after the trade."""
    gross: dict[str, Decimal] = {}
    for key, position in world.positions.held():
        mark = world.market.mark(key[0], key[2])
        mark = position.entry_usd if mark is None else mark
        gross[key[0]] = gross.get(key[0], ZERO) + abs(position.quantity * mark)
    for venue in request.venues:
        gross[venue] = gross.get(venue, ZERO) + request.plan.notional_usd
    heaviest = max(gross.values()) / sum(gross.values(), ZERO)
    return _below(heaviest, request.limits.venue_share, " of gross exposure")


def margin_ratio(world: RiskWorld, request: OpenRequest) -> Measure:
    """Margin in use over equity of each venue: a hedged leg can be liquidated on its own."""
    for venue, limit in zip(request.venues, request.limits.margin, strict=True):
        measure = _below(world.capital.margin_ratio(venue), limit, " of equity")
        if not measure.passed:
            return measure
    return measure


# --- 4 execution ---


def venues_ready(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both venues are connected and agree with our books."""
    reasons = [f"{v}: {why}" for v in request.venues if (why := world.readiness.refusal(v))]
    return _none(reasons, "connected and reconciled")


def quotes_usable(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both quotes are fresh, uncrossed and in sequence."""
    asset = request.plan.asset
    stale = [venue for venue in request.venues if not world.market.usable(venue, asset)]
    return _none([f"quote of {venue} is not usable" for venue in stale], "fresh on both venues")


def instruments_tradable(world: RiskWorld, request: OpenRequest) -> Measure:
    """Both instruments are listed and open for trading, in a currency with a USD rate."""
    reasons = []
    for venue in request.venues:
        instrument = world.instruments.get((venue, request.plan.asset))
        if instrument is None or not instrument.tradable:
            reasons.append(f"{request.plan.asset} is not tradable on {venue}")
        elif world.usd_rate(instrument.settle) is None:
            reasons.append(f"no USD rate for {instrument.settle}")
    return _none(reasons, "tradable, settle currency priced")


def different_operators(world: RiskWorld, request: OpenRequest) -> Measure:
    """The venues belong to different operators: no trade with ourselves."""
    operators = [world.capabilities[venue].operator for venue in request.venues]
    return Measure(operators[0] != operators[1], "two operators", " / ".join(operators))


def no_own_opposite(world: RiskWorld, request: OpenRequest) -> Measure:
    """No order of ours rests on the other side of the same instrument."""
    reasons = []
    for order in world.orders.unsettled():
        resting = order.request
        for wanted in request.orders:
            same = (resting.venue, resting.asset) == (wanted.venue, wanted.asset)
            if same and resting.side is not wanted.side:
                reasons.append(f"{resting.client_id} rests on {resting.venue}")
    return _none(reasons, "no opposite order of ours")


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


def price_sanity(world: RiskWorld, request: OpenRequest) -> Measure:
    """No price is many times off the mark of its venue: an obvious error."""
    furthest = ONE
    for price, mark in _prices(world, request):
        furthest = max(furthest, price / mark, mark / price)
    return _below(furthest, request.limits.sanity, " times")


def price_band(world: RiskWorld, request: OpenRequest) -> Measure:
    """Every price is near the mark of its venue."""
    furthest = ZERO
    for price, mark in _prices(world, request):
        furthest = max(furthest, abs(price - mark) / mark * BPS)
    return _at_most(furthest, request.limits.band, " bps")


def _prices(world: RiskWorld, request: OpenRequest) -> Iterator[tuple[Decimal, Decimal]]:
    """Yield (price in USD, mark) of every order; raise `InvalidValue` for an unusable one."""
    for order in request.orders:
        settle = request.settle_rate(world, order.venue)
        price = (order.reference_price if order.price is None else order.price) * settle
        mark = world.market.mark(order.venue, order.asset)
        if mark is None or not mark.is_finite() or mark <= 0:
            raise InvalidValue(f"mark of {order.asset} on {order.venue} was {mark}")
        if not price.is_finite() or price <= 0:
            raise InvalidValue(f"price of {order.asset} on {order.venue} was {price} USD")
        yield price, mark


def back_pressure(world: RiskWorld, _request: OpenRequest) -> Measure:
    """The node keeps up with its events."""
    overloaded = world.overloaded()
    return Measure(not overloaded, "keeps up", "overloaded" if overloaded else "keeps up")


def journal_space(world: RiskWorld, _request: OpenRequest) -> Measure:
    """The disk has room for what follows an open."""
    low = world.low_space()
    return Measure(not low, "room in the journal", "disk full" if low else "room")


_LAYERS: tuple[tuple[str, str, Rule], ...] = (
    ("capital", "pool_funds", pool_funds),
    ("capital", "safe_mode", safe_mode),
    ("capital", "pool_breach", pool_breach),
    ("account", "kill_switch", kill_switch),
    ("account", "halt", halts),
    ("account", "equity_fresh", equity_fresh),
    ("account", "trade_risk", trade_risk),
    ("account", "drawdown", drawdown),
    ("account", "daily_loss", daily_loss),
    ("account", "failure_pause", failure_pause),
    ("account", "fast_market", fast_market),
    ("account", "symbol_exposure", symbol_exposure),
    ("position", "position_size", position_size),
    ("position", "symbol_cooldown", symbol_cooldown),
    ("position", "venue_concentration", venue_concentration),
    ("position", "margin_ratio", margin_ratio),
    ("execution", "venues_ready", venues_ready),
    ("execution", "quotes_usable", quotes_usable),
    ("execution", "instruments_tradable", instruments_tradable),
    ("execution", "different_operators", different_operators),
    ("execution", "no_own_opposite", no_own_opposite),
    ("execution", "slippage", slippage),
    ("execution", "price_sanity", price_sanity),
    ("execution", "price_band", price_band),
    ("execution", "back_pressure", back_pressure),
    ("execution", "journal_space", journal_space),
)

OPEN_RULES = tuple((layer, name, f"{layer}.{name}", rule) for layer, name, rule in _LAYERS)
"""Layer, rule, their name in a decision, and what measures it."""
