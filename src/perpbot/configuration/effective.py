"""The one place that says which value holds for a symbol on a venue.

room < venues.V.room < symbols.S.room < venues.V.symbols.S.room: the narrower block wins, and of
two equally wide ones the symbol's. Components ask here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from perpbot.configuration.tree import Settings
from perpbot.domain.instruments import parse_asset
from perpbot.execution.settings import ExecutionSettings
from perpbot.market.settings import MarketSettings
from perpbot.portfolio.settings import CapitalSettings
from perpbot.risk.settings import RiskSettings
from perpbot.settings import SettingsModel, apply_overrides
from perpbot.strategies.arbitrage.settings import ArbitrageSettings
from perpbot.venues.settings import VenueMarketSettings, VenueSettings

RoomT = TypeVar("RoomT", bound=SettingsModel)


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds here. `venue` is None where no venue was named."""

    market: MarketSettings
    capital: CapitalSettings
    risk: RiskSettings
    execution: ExecutionSettings
    arbitrage: ArbitrageSettings
    venue: VenueSettings | None


def effective(
    settings: Settings, *, symbol: str | None = None, venue: str | None = None
) -> Effective:
    """Resolve every overridable room for `symbol` (any spelling) on `venue`.

    Raises KeyError for an unknown venue, `InvalidValue` for a text that is no symbol, and
    `pydantic.ValidationError` where the blocks together contradict (loading has refused those).
    """
    asset = None if symbol is None else parse_asset(symbol)
    venue_node = None if venue is None else settings.venue(venue)
    symbol_node = None if asset is None else settings.symbols.get(asset)
    market_node = None
    if venue_node is not None and asset is not None:
        market_node = venue_node.symbols.get(asset)

    def resolve(base: RoomT, room: str) -> RoomT:
        blocks = (venue_node, symbol_node, market_node)
        return apply_overrides(base, *(getattr(block, room, None) for block in blocks))

    return Effective(
        market=resolve(settings.market, "market"),
        capital=resolve(settings.capital, "capital"),
        risk=resolve(settings.risk, "risk"),
        execution=resolve(settings.execution, "execution"),
        arbitrage=resolve(settings.arbitrage, "arbitrage"),
        venue=None if venue_node is None else _with_market(venue_node, market_node),
    )


def _with_market(venue: VenueSettings, market: VenueMarketSettings | None) -> VenueSettings:
    """Put a market's fees and switch over its venue's. A market cannot turn a venue on."""
    if market is None:
        return venue
    changes = {
        name: getattr(market, name)
        for name in VenueMarketSettings.model_fields
        if getattr(market, name) is not None
    }
    if "enabled" in changes:
        changes["enabled"] = changes["enabled"] and venue.enabled
    return venue.model_copy(update=changes)
