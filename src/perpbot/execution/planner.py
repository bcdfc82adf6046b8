"""From an opportunity to a plan and its entry orders: size, prices, style. Decides nothing else.

What hardly ever changes of a direction (instruments, grid, minima, accounts) is worked out once,
in its `Course`, which stands until it is told to be forgotten; what is left for the moment of
decision is the arithmetic on two prices and a size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import BPS, common_step, decimal_of_float, floor_to, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.execution.order_maker import OrderMaker, slipped
from perpbot.execution.policies import FallbackPolicy, MarketCondition, OrderStyle
from perpbot.execution.surroundings import Surroundings
from perpbot.portfolio.leases import Leg, leg


class PairTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy wants of its pairs."""

    strategy: str
    pool: str
    notional_min_usd: Decimal
    notional_max_usd: Decimal
    slippage_bps: Decimal
    loss_budget_bps: Decimal
    exit_level_bps: Decimal
    take_profit_bps: Decimal
    stop_bps: Decimal
    max_hold_s: int
    max_pairs: int
    max_pairs_per_venue: int


class Course(msgspec.Struct, frozen=True):
    """One direction, long here and short there, as far as it hardly ever changes."""

    long: Instrument
    short: Instrument
    terms: PairTerms
    accounts: tuple[str, str]
    sides: tuple[PositionSide, PositionSide]
    legs: tuple[Leg, Leg]
    step: Decimal
    """The common grid of both venues, base coins."""
    least_quantity: Decimal
    """Twice the larger minimum, base coins."""
    least_notional: Decimal
    """Twice the larger minimum notional; not less than the smallest pair that is wanted."""


class PairPlanner:
    """See the module."""

    def __init__(
        self,
        around: Surroundings,
        fallback: FallbackPolicy,
        terms: PairTerms,
        condition: Callable[[str], MarketCondition],
        overrides: Mapping[str, PairTerms] | None = None,
    ) -> None:
        """`condition(asset)` tells what the market is like; `overrides` are terms by asset."""
        self._around = around
        self._fallback = fallback
        self._terms = terms
        self._condition = condition
        self._overrides = overrides or {}
        self._courses: dict[tuple[str, str, str], Course] = {}

    def forget(self, asset: str) -> None:
        """An instrument of this asset has changed: its directions are worked out anew."""
        for key in [key for key in self._courses if key[0] == asset]:
            del self._courses[key]

    def course(self, opportunity: Opportunity) -> Course:
        """Return the course of an opportunity; raise `InvalidValue` where it is not traded."""
        key = (opportunity.asset, opportunity.long_venue, opportunity.short_venue)
        found = self._courses.get(key)
        if found is None:
            found = self._courses[key] = self._set_course(*key)
        return found

    def _set_course(self, asset: str, long_venue: str, short_venue: str) -> Course:
        around = self._around
        long, short = around.instrument(long_venue, asset), around.instrument(short_venue, asset)
        terms = self._overrides.get(asset, self._terms)
        venues = (long_venue, short_venue)
        accounts = (around.accounts[long_venue].name, around.accounts[short_venue].name)
        sides = (around.position_side(long_venue, 0), around.position_side(short_venue, 1))
        return Course(
            long=long,
            short=short,
            terms=terms,
            accounts=accounts,
            sides=sides,
            legs=(
                leg(venues[0], accounts[0], asset, sides[0]),
                leg(venues[1], accounts[1], asset, sides[1]),
            ),
            step=common_step(long.quantity_step, short.quantity_step),
            least_quantity=2 * max(long.min_quantity, short.min_quantity),
            least_notional=max(
                2 * long.min_notional, 2 * short.min_notional, terms.notional_min_usd
            ),
        )

    # --- the moment of decision ---

    def plan(
        self, opportunity: Opportunity, next_id: Callable[[], str], maker: OrderMaker
    ) -> tuple[PairPlan, tuple[OrderRequest, ...]]:
        """Return the plan and its entry orders; raise `InvalidValue` where no size fits."""
        course = self.course(opportunity)
        terms = course.terms
        condition = self._condition(opportunity.asset)
        ask = decimal_of_float(opportunity.long_ask, "ask")
        bid = decimal_of_float(opportunity.short_bid, "bid")
        share = self._fallback.entry_share(condition)
        quantity = _quantity(opportunity, course, max(ask, bid), share)
        notional = quantity * decimal_of_float(opportunity.mid, "mid")
        pair_id = next_id()
        plan = PairPlan(
            pair_id=pair_id,
            strategy=terms.strategy,
            asset=opportunity.asset,
            long_venue=opportunity.long_venue,
            short_venue=opportunity.short_venue,
            account_long=course.accounts[0],
            account_short=course.accounts[1],
            side_long=course.sides[0],
            side_short=course.sides[1],
            quantity=quantity,
            long_price=course.long.round_price(
                slipped(ask, Side.BUY, terms.slippage_bps), Side.BUY
            ),
            short_price=course.short.round_price(
                slipped(bid, Side.SELL, terms.slippage_bps), Side.SELL
            ),
            notional_usd=notional,
            reservation_id=f"r{pair_id}",
            opportunity=opportunity,
            exit_level_bps=terms.exit_level_bps,
            take_profit_bps=terms.take_profit_bps,
            stop_bps=terms.stop_bps,
            max_hold_s=terms.max_hold_s,
            loss_budget_usd=notional * terms.loss_budget_bps / BPS,
        )
        if self._fallback.maker_first:
            return plan, (self._maker_leg(plan, terms, maker),)
        style = self._fallback.entry(condition, terms.slippage_bps)
        return plan, (
            maker.entry(plan, 0, course.long, style, ask),
            maker.entry(plan, 1, course.short, style, bid),
        )

    def _maker_leg(self, plan: PairPlan, terms: PairTerms, maker: OrderMaker) -> OrderRequest:
        """The leg whose touch is thinner enters post-only; its fills are hedged as they come."""
        long = self._around.market.latest(plan.long_venue, plan.asset)
        short = self._around.market.latest(plan.short_venue, plan.asset)
        if long is None or short is None:
            raise InvalidValue(f"{plan.asset}: no quote to rest a maker order at")
        index = 0 if long.ask_size <= short.bid_size else 1
        return maker.order(
            plan,
            leg=index,
            side=Side.SELL if index else Side.BUY,
            quantity=plan.quantity,
            purpose=Purpose.OPEN,
            style=OrderStyle(OrderType.LIMIT, TimeInForce.POST_ONLY, terms.slippage_bps),
            reference=decimal_of_float(plan.opportunity.mid),
            limit=decimal_of_float(short.ask if index else long.bid),
            attempt=index,
        )


def _quantity(opportunity: Opportunity, course: Course, price: Decimal, share: Decimal) -> Decimal:
    """Return a size on the common grid of both venues, at least twice the larger minimum."""
    wanted = decimal_of_float(opportunity.size, "size") * share
    most = min(wanted, course.terms.notional_max_usd / price)
    quantity = floor_to(most, course.step).quantize(course.step)  # no digits beyond the grid
    least = max(course.least_quantity, course.least_notional / price)
    if quantity < least:
        raise InvalidValue(
            f"{opportunity.asset}: size {plain(quantity)}, {opportunity.size:g} at the touch,"
            f" is below twice the larger minimum of both venues, {plain(least)}"
        )
    return quantity
