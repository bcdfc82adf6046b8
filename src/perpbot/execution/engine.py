"""From an opportunity to a planned pair: size, gates, capital, leases, and both intents at once.

One call decides everything: it publishes the reservation, the leases, the plan and one record with
both orders, or one refusal with its number and its limit. Nothing is published half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal

import msgspec

from perpbot.domain.errors import CapitalShort, InvalidValue, RiskDenied
from perpbot.domain.events import (
    LeaseGranted,
    OpportunityFound,
    PairPlanned,
    RiskRejected,
    SubmitOrders,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import BPS, common_step, decimal_of_float, floor_to, plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.execution.order_maker import OrderMaker, slipped
from perpbot.execution.pair import PairBook
from perpbot.execution.policies import FallbackPolicy, MarketCondition, OrderStyle
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.ids import IdMaker
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.leases import Leases, leg
from perpbot.risk.manager import RiskManager


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


class ExecutionEngine:
    """See the module. Counts what it refused, by reason."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        ids: IdMaker,
        pairs: PairBook,
        leases: Leases,
        risk: RiskManager,
        capital: CapitalOrchestrator,
        maker: OrderMaker,
        around: Surroundings,
        fallback: FallbackPolicy,
        terms: PairTerms,
        condition: Callable[[str], MarketCondition],
        *,
        overrides: Mapping[str, PairTerms] | None = None,
    ) -> None:
        """`condition(asset)` tells what the market is like; `overrides` are terms by asset."""
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._pairs = pairs
        self._leases = leases
        self._risk = risk
        self._capital = capital
        self._maker = maker
        self._around = around
        self._fallback = fallback
        self._terms = terms
        self._condition = condition
        self._overrides = overrides or {}
        self._told: dict[tuple[str, str, str], str] = {}
        self.refused: dict[str, int] = {}
        bus.subscribe(OpportunityFound, self._on_opportunity)

    def _on_opportunity(self, event: OpportunityFound) -> None:
        opportunity = event.opportunity
        reason = self._no_room(opportunity)
        if reason:
            self._count(reason)
            return
        try:
            self._open(opportunity)
        except RiskDenied as denied:
            self._refuse(opportunity, denied)
        except CapitalShort as short:
            self._refuse(opportunity, RiskDenied("capital", "pool", str(short), "free capital"))
        except InvalidValue as invalid:
            self._refuse(opportunity, RiskDenied("execution", "size", str(invalid), "venue rules"))

    def _terms_of(self, asset: str) -> PairTerms:
        return self._overrides.get(asset, self._terms)

    def _no_room(self, opportunity: Opportunity) -> str:
        """Return why no pair can open now, or "": what is full is counted, not journalled."""
        if len(self._pairs) >= self._terms.max_pairs:
            return "pairs_full"
        for index, venue in enumerate((opportunity.long_venue, opportunity.short_venue)):
            if self._pairs.at_venue(venue) >= self._terms.max_pairs_per_venue:
                return "venue_full"
            side = self._around.position_side(venue, index)
            account = self._around.accounts[venue].name
            leased = self._leases.owner(leg(venue, account, opportunity.asset, side)) is not None
            # A pair that a late execution revived holds a leg without a lease.
            if leased or self._pairs.owner_of(venue, account, opportunity.asset):
                return "leg_taken"
        return ""

    def _open(self, opportunity: Opportunity) -> None:
        plan = self._plan(opportunity, self._ids.pair_id)
        orders = self._entry_orders(plan, opportunity, self._maker)
        decision = self._risk.check_open(plan, orders)
        now_ns = self._clock.now_ns()
        reserved = self._capital.grant(
            reservation_id=plan.reservation_id,
            pool=self._terms.pool,
            owner=plan.pair_id,
            notional={
                plan.long_venue: plan.quantity * plan.long_price,
                plan.short_venue: plan.quantity * plan.short_price,
            },
        )
        self._bus.publish(PairPlanned(ts_ns=now_ns, correlation_id=plan.pair_id, plan=plan))
        self._bus.publish(reserved)
        for index, venue in enumerate((plan.long_venue, plan.short_venue)):
            self._bus.publish(
                LeaseGranted(
                    ts_ns=now_ns,
                    correlation_id=plan.pair_id,
                    venue=venue,
                    account=self._around.accounts[venue].name,
                    asset=plan.asset,
                    position_side=self._around.position_side(venue, index),
                    owner=plan.pair_id,
                )
            )
        self._bus.publish(
            SubmitOrders(
                ts_ns=now_ns,
                correlation_id=plan.pair_id,
                orders=orders,
                decision=decision,
                read_ns=opportunity.read_ns,
            )
        )
        self._told.pop(_direction(opportunity), None)

    def rehearse(self, opportunity: Opportunity, maker: OrderMaker) -> tuple[OrderRequest, ...]:
        """Decide as if to open, up to the orders, and keep and publish nothing of it.

        `maker` has ids of its own. Raises `InvalidValue` where no size fits.
        """
        plan = self._plan(opportunity, lambda: "rehearsal")
        orders = self._entry_orders(plan, opportunity, maker)
        with suppress(RiskDenied):
            self._risk.check_open(plan, orders)
        return orders

    def _plan(self, opportunity: Opportunity, next_id: Callable[[], str]) -> PairPlan:
        asset = opportunity.asset
        long = self._around.instrument(opportunity.long_venue, asset)
        short = self._around.instrument(opportunity.short_venue, asset)
        ask = decimal_of_float(opportunity.long_ask, "ask")
        bid = decimal_of_float(opportunity.short_bid, "bid")
        quantity = self._quantity(opportunity, long, short, max(ask, bid))
        pair_id = next_id()
        notional = quantity * decimal_of_float(opportunity.mid, "mid")
        terms = self._terms_of(asset)
        slip = terms.slippage_bps
        return PairPlan(
            pair_id=pair_id,
            strategy=terms.strategy,
            asset=asset,
            long_venue=opportunity.long_venue,
            short_venue=opportunity.short_venue,
            account_long=self._around.accounts[opportunity.long_venue].name,
            account_short=self._around.accounts[opportunity.short_venue].name,
            quantity=quantity,
            long_price=long.round_price(slipped(ask, Side.BUY, slip), Side.BUY),
            short_price=short.round_price(slipped(bid, Side.SELL, slip), Side.SELL),
            notional_usd=notional,
            reservation_id=f"r{pair_id}",
            opportunity=opportunity,
            exit_level_bps=terms.exit_level_bps,
            take_profit_bps=terms.take_profit_bps,
            stop_bps=terms.stop_bps,
            max_hold_s=terms.max_hold_s,
            loss_budget_usd=notional * terms.loss_budget_bps / BPS,
        )

    def _quantity(
        self, opportunity: Opportunity, long: Instrument, short: Instrument, price: Decimal
    ) -> Decimal:
        """Return a size on the common grid of both venues, at least twice the larger minimum."""
        terms = self._terms_of(opportunity.asset)
        share = self._fallback.entry_share(self._condition(opportunity.asset))
        wanted = min(
            decimal_of_float(opportunity.size, "size") * share,
            terms.notional_max_usd / price,
        )
        step = common_step(long.quantity_step, short.quantity_step)
        quantity = floor_to(wanted, step)
        least = 2 * max(
            long.min_quantity,
            short.min_quantity,
            long.min_notional / price,
            short.min_notional / price,
            terms.notional_min_usd / price / 2,
        )
        if quantity < least:
            raise InvalidValue(
                f"{opportunity.asset}: size {plain(quantity)}, {opportunity.size:g} at the touch,"
                f" is below twice the larger minimum of both venues, {plain(least)}"
            )
        return quantity

    def _entry_orders(
        self, plan: PairPlan, opportunity: Opportunity, maker: OrderMaker
    ) -> tuple[OrderRequest, ...]:
        legs = (
            (0, Side.BUY, plan.long_price, decimal_of_float(opportunity.long_ask)),
            (1, Side.SELL, plan.short_price, decimal_of_float(opportunity.short_bid)),
        )
        slip = self._terms_of(plan.asset).slippage_bps
        style = self._fallback.entry(self._condition(plan.asset), slip)
        if self._fallback.maker_first:
            return (self._maker_leg(plan, opportunity, maker),)
        return tuple(
            maker.order(
                plan,
                leg=index,
                side=side,
                quantity=plan.quantity,
                purpose=Purpose.OPEN,
                style=style,
                reference=touch,
                limit=limit,
                attempt=index,
            )
            for index, side, limit, touch in legs
        )

    def _maker_leg(
        self, plan: PairPlan, opportunity: Opportunity, maker: OrderMaker
    ) -> OrderRequest:
        """The leg whose touch is thinner enters post-only; its fills are hedged as they come."""
        long = self._around.market.latest(plan.long_venue, plan.asset)
        short = self._around.market.latest(plan.short_venue, plan.asset)
        if long is None or short is None:
            raise InvalidValue(f"{plan.asset}: no quote to rest a maker order at")
        index = 0 if long.ask_size <= short.bid_size else 1
        resting = decimal_of_float(short.ask if index else long.bid)
        return maker.order(
            plan,
            leg=index,
            side=Side.SELL if index else Side.BUY,
            quantity=plan.quantity,
            purpose=Purpose.OPEN,
            style=OrderStyle(
                OrderType.LIMIT, TimeInForce.POST_ONLY, self._terms_of(plan.asset).slippage_bps
            ),
            reference=decimal_of_float(opportunity.mid),
            limit=resting,
            attempt=index,
        )

    # --- refusing ---

    def _refuse(self, opportunity: Opportunity, denied: RiskDenied) -> None:
        """Count every refusal; journal it once an episode and reason, not once a tick."""
        self._count(denied.rule)
        if self._told.get(_direction(opportunity)) == denied.rule:
            return
        self._told[_direction(opportunity)] = denied.rule
        self._bus.publish(
            RiskRejected(
                ts_ns=self._clock.now_ns(),
                correlation_id=opportunity.opportunity_id,
                gate="open",
                layer=denied.layer,
                rule=denied.rule,
                value=denied.value,
                limit=denied.limit,
                subject=opportunity.opportunity_id,
                asset=opportunity.asset,
            )
        )

    def _count(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


def _direction(opportunity: Opportunity) -> tuple[str, str, str]:
    return (opportunity.asset, opportunity.long_venue, opportunity.short_venue)
