"""A pair trade as it is planned and as it ends."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.money import ZERO
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import PositionSide


class PairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Two equal and opposite legs on two venues; quantities in base coins."""

    pair_id: str
    strategy: str
    asset: str
    long_venue: str
    short_venue: str
    account_long: str
    account_short: str
    side_long: PositionSide = PositionSide.NET
    """Of the long leg's position: NET unless its account is in hedge mode."""
    side_short: PositionSide = PositionSide.NET
    quantity: Decimal
    long_price: Decimal
    """Worst acceptable entry price of the long leg."""
    short_price: Decimal
    """Worst acceptable entry price of the short leg."""
    notional_usd: Decimal
    reservation_id: str
    opportunity: Opportunity
    exit_level_bps: Decimal
    take_profit_bps: Decimal
    stop_bps: Decimal
    max_hold_s: int
    loss_budget_usd: Decimal


class ProfitSplit(msgspec.Struct, frozen=True, kw_only=True):
    """Profit in USD with costs negative; `net` is the sum of the three parts."""

    price: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Return price + fees + funding."""
        return self.price + self.fees + self.funding

    def plus(self, other: ProfitSplit) -> ProfitSplit:
        """Return the sum, part by part."""
        return ProfitSplit(
            price=self.price + other.price,
            fees=self.fees + other.fees,
            funding=self.funding + other.funding,
        )
