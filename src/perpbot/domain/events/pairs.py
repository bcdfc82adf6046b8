"""Opportunities, and the life of a pair of two legs."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.money import ZERO
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import PairState


@event(EventKind.OPPORTUNITY_FOUND)
class OpportunityFound(Event, frozen=True, kw_only=True, gc=False):
    """An edge above the floor. An episode lasts while every evaluation stays above it."""

    opportunity: Opportunity

    @property
    def key(self) -> object:
        """The direction."""
        return (self.opportunity.asset, self.opportunity.long_venue, self.opportunity.short_venue)


@event(EventKind.PAIR_STATE_CHANGED)
class PairStateChanged(Event, frozen=True, kw_only=True):
    """A pair moved along its table; `reason` is a short word, `detail` its numbers."""

    pair_id: str
    before: PairState
    after: PairState
    reason: str
    detail: dict[str, str] = {}


@event(EventKind.HEDGE_REQUIRED)
class HedgeRequired(Event, frozen=True, kw_only=True):
    """The legs of a pair differ by `imbalance` base coins (long minus short)."""

    pair_id: str
    imbalance: Decimal
    reason: str


@event(EventKind.TRADE_COMPLETED)
class TradeCompleted(Event, frozen=True, kw_only=True):
    """A pair is flat; its profit in USD, and what was left below one step as dust."""

    pair_id: str
    strategy: str
    asset: str
    long_venue: str
    short_venue: str
    quantity: Decimal
    pnl: ProfitSplit
    opened: bool
    """Whether both legs had a fill."""
    hold_ns: int
    worst_unhedged_ns: int
    exit_reason: str
    dust_long: Decimal = ZERO
    dust_short: Decimal = ZERO
