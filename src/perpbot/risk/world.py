"""What the gates may look at. Everything here answers None where it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import Clock
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.exposure import PositionAggregator
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.reservations import Reservations
from perpbot.risk.latches import RiskLatches
from perpbot.risk.settings import RiskSettings


class MarketView(Protocol):
    """The newest market data."""

    def latest(self, venue: str, asset: str) -> QuoteUpdated | None:
        """Return the last accepted quote, however old."""

    def usable(self, venue: str, asset: str) -> bool:
        """Whether that quote may open something."""

    def mark(self, venue: str, asset: str) -> Decimal | None:
        """Return USD per base coin."""


class RiskWorld(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a rule may read, handed over explicitly."""

    clock: Clock
    settings: RiskSettings
    latches: RiskLatches
    orders: OrderTable
    positions: PositionBook
    aggregator: PositionAggregator
    capital: CapitalOrchestrator
    reservations: Reservations
    equity: EquityBook
    readiness: Readiness
    market: MarketView
    instruments: Mapping[tuple[str, str], Instrument]
    capabilities: Mapping[str, Capabilities]
    usd_rate: Callable[[str], Decimal | None]
    """USD per unit of a settle currency."""
    overloaded: Callable[[], bool]
    """Whether the bus is above its high-water mark."""
    low_space: Callable[[], bool] = lambda: False
    """Whether the journal has given up its reserve of disk space."""
    overrides: Mapping[tuple[str, str], RiskSettings] = {}
    """What differs from `settings` by (venue, asset)."""

    def limits(self, venue: str, asset: str) -> RiskSettings:
        """Return the limits that hold for an asset on a venue."""
        return self.overrides.get((venue, asset), self.settings)
