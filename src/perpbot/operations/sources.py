"""What may be looked at in a running node: its components, read-only by agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perpbot.domain.instruments import Instrument
from perpbot.execution.killswitch import KillSwitch
from perpbot.execution.pair import PairBook
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.market.engine import QuoteEngine
from perpbot.portfolio.capital import CapitalOrchestrator
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.exposure import PositionAggregator
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.readiness import Readiness
from perpbot.portfolio.snapshot import CapitalSnapshotProvider
from perpbot.portfolio.transfers import BookedTransfers
from perpbot.risk.latches import RiskLatches
from perpbot.risk.manager import RiskManager
from perpbot.strategies.arbitrage.scanner import Scanner


@dataclass(frozen=True, slots=True)
class Sources:
    """The components that health, metrics and console read.

    The kill switch acts, and `risk` where a person clears halts or lifts pauses; nothing else.
    """

    mode: str
    version: str
    started_ns: int
    venues: tuple[str, ...]
    instruments: Mapping[tuple[str, str], Instrument]
    clock: Clock
    bus: EventBus
    quotes: QuoteEngine
    scanner: Scanner
    pairs: PairBook
    orders: OrderTable
    positions: PositionBook
    aggregator: PositionAggregator
    capital: CapitalOrchestrator
    snapshots: CapitalSnapshotProvider
    equity: EquityBook
    transfers: BookedTransfers
    latches: RiskLatches
    readiness: Readiness
    kill_switch: KillSwitch
    risk: RiskManager
    refused: Mapping[str, int]
    """Counts of what the execution engine turned down, by reason."""

    @property
    def assets(self) -> tuple[str, ...]:
        """The traded assets, in order."""
        return tuple(sorted({asset for _, asset in self.instruments}))

    def quote_age_s(self, venue: str) -> float | None:
        """Return the age of a venue's newest quote, or None before the first."""
        newest = [
            quote.recv_ns
            for asset in self.assets
            if (quote := self.quotes.latest(venue, asset)) is not None
        ]
        if not newest:
            return None
        return max(self.clock.monotonic_ns() - max(newest), 0) / 1e9
