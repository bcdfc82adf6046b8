"""From an opportunity to a pair: room, plan, capital, gates, and one record of the decision.

One call decides everything: it publishes the plan, its reservation and both orders as one record,
or one refusal with its number and its limit. Nothing is published half.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.errors import CapitalShort, InvalidValue, RiskDenied
from perpbot.domain.events import OpportunityFound, PairPlanned, RiskRejected
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.quotes import Opportunity
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.pair import PairBook
from perpbot.execution.planner import PairPlanner, PairTerms
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.ids import IdMaker
from perpbot.portfolio.capital import CapitalOrchestrator, Claim
from perpbot.portfolio.leases import Leases
from perpbot.risk.manager import RiskManager


class Rehearsal(msgspec.Struct, frozen=True):
    """What the engine would have sent, and the record of it where the gates let it pass."""

    orders: tuple[OrderRequest, ...]
    record: PairPlanned | None


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
        planner: PairPlanner,
        terms: PairTerms,
    ) -> None:
        """Set where it decides; `terms` say how many pairs there may be, and from which pool."""
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._pairs = pairs
        self._leases = leases
        self._risk = risk
        self._capital = capital
        self._maker = maker
        self._planner = planner
        self._terms = terms
        self._told: dict[tuple[str, str, str], str] = {}
        self.refused: dict[str, int] = {}
        bus.subscribe(OpportunityFound, self._on_opportunity)

    def _on_opportunity(self, event: OpportunityFound) -> None:
        opportunity = event.opportunity
        try:
            reason = self._no_room(opportunity)
            if reason:
                self._count(reason)
            else:
                self._open(opportunity)
        except RiskDenied as denied:
            self._refuse(opportunity, denied)
        except CapitalShort as short:
            self._refuse(opportunity, RiskDenied("capital", "pool", str(short), "free capital"))
        except InvalidValue as invalid:
            self._refuse(opportunity, RiskDenied("execution", "size", str(invalid), "venue rules"))

    def _no_room(self, opportunity: Opportunity) -> str:
        """Return why no pair can open now, or "": what is full is counted, not journalled."""
        pairs, most = self._pairs, self._terms
        if len(pairs) >= most.max_pairs:
            return "pairs_full"
        for venue in (opportunity.long_venue, opportunity.short_venue):
            if pairs.at_venue(venue) >= most.max_pairs_per_venue:
                return "venue_full"
        for leg in self._planner.course(opportunity).legs:
            # A pair that a late execution revived holds a leg without a lease.
            if self._leases.owner(leg) is not None or pairs.owner_of(*leg[:3]):
                return "leg_taken"
        return ""

    def _open(self, opportunity: Opportunity) -> None:
        plan, orders = self._planner.plan(opportunity, self._ids.pair_id, self._maker)
        claim = self._capital.claim(self._terms.pool, _notional(plan))
        decision = self._decide(plan, orders, claim)
        self._capital.grant(claim, plan.reservation_id)
        self._bus.publish(decision)
        self._told.pop(_direction(opportunity), None)

    def _decide(
        self, plan: PairPlan, orders: tuple[OrderRequest, ...], claim: Claim
    ) -> PairPlanned:
        """Return the record that opens a pair; raise `RiskDenied` where a gate refuses."""
        decision = self._risk.check_open(plan, orders, claim)
        return PairPlanned(
            ts_ns=decision.ts_ns,
            correlation_id=plan.pair_id,
            orders=orders,
            decision=decision,
            read_ns=plan.opportunity.read_ns,
            plan=plan,
            reservation=self._capital.reservation(
                claim, reservation_id=plan.reservation_id, owner=plan.pair_id
            ),
        )

    def rehearse(self, opportunity: Opportunity, maker: OrderMaker) -> Rehearsal:
        """Decide as if to open; keep and publish nothing of it.

        `maker` has ids of its own. Raises `InvalidValue` where no size fits.
        """
        self._no_room(opportunity)
        plan, orders = self._planner.plan(opportunity, lambda: "rehearsal", maker)
        claim = self._capital.claim(self._terms.pool, _notional(plan))
        try:
            return Rehearsal(orders, self._decide(plan, orders, claim))
        except RiskDenied:
            return Rehearsal(orders, None)

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


def _notional(plan: PairPlan) -> dict[str, Decimal]:
    """Return what each leg may cost, by venue, settle currency."""
    return {
        plan.long_venue: plan.quantity * plan.long_price,
        plan.short_venue: plan.quantity * plan.short_price,
    }


def _direction(opportunity: Opportunity) -> tuple[str, str, str]:
    return (opportunity.asset, opportunity.long_venue, opportunity.short_venue)
