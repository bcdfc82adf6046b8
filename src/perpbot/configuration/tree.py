"""The root model: a section a room, a block a venue, and blocks that override by symbol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, create_model

from perpbot.console.settings import ConsoleSettings
from perpbot.domain.instruments import parse_asset
from perpbot.execution.settings import ExecutionSettings
from perpbot.guardian.settings import GuardianSettings
from perpbot.market.settings import MarketSettings
from perpbot.operations.settings import (
    BusSettings,
    HealthSettings,
    JournalSettings,
    MetricsSettings,
)
from perpbot.portfolio.settings import CapitalSettings
from perpbot.risk.settings import RiskSettings
from perpbot.settings import (
    KeyReader,
    LoggingSettings,
    Mode,
    SettingsModel,
    overrides_of,
    setting,
)
from perpbot.simulation.settings import PaperSettings, SimulationSettings
from perpbot.strategies.arbitrage.settings import ArbitrageSettings
from perpbot.venues.settings import VenueMarketSettings, VenueSettings

VENUE_ROOMS: dict[str, type[SettingsModel]] = {
    "market": MarketSettings,
    "capital": CapitalSettings,
    "risk": RiskSettings,
    "execution": ExecutionSettings,
}
"""Rooms that a venue block may override, by section."""

SYMBOL_ROOMS = {**VENUE_ROOMS, "arbitrage": ArbitrageSettings}
"""Rooms that a symbol block may override. A pair spans two venues: no venue overrides it."""


def _asset(text: str) -> str:
    # Shells have no `-` in variable names: PERPBOT__SYMBOLS__BTC_PERP__RISK__... works too.
    return parse_asset(text.replace("_", "-"))


Asset = Annotated[str, KeyReader(_asset), AfterValidator(_asset)]

if TYPE_CHECKING:
    # Made at run time from the rooms' own fields, so that no limit is written twice.
    SymbolNode = SettingsModel
    _VenueMarketNode = VenueMarketSettings
    _VenueRooms = VenueSettings
else:

    def _with_overrides(
        name: str, base: type[SettingsModel], rooms: dict[str, type[SettingsModel]]
    ) -> type[SettingsModel]:
        fields = {
            room: (
                overrides_of(model) | None,
                setting(None, f"Values that replace those of `{room}` here."),
            )
            for room, model in rooms.items()
        }
        return create_model(name, __base__=base, __doc__=base.__doc__, **fields)

    SymbolNode = _with_overrides("SymbolNode", SettingsModel, SYMBOL_ROOMS)
    _VenueMarketNode = _with_overrides("VenueMarketNode", VenueMarketSettings, VENUE_ROOMS)
    _VenueRooms = _with_overrides("VenueRooms", VenueSettings, VENUE_ROOMS)


class VenueNode(_VenueRooms):
    """One venue, with blocks that override other rooms there."""

    symbols: dict[Asset, _VenueMarketNode] = setting({}, "Blocks for single markets of the venue.")


class Venues(SettingsModel):
    """The venues that this version speaks to."""

    binance: VenueNode = setting(VenueNode(), "Binance USD-M.")
    hyperliquid: VenueNode = setting(VenueNode(), "Hyperliquid.")
    okx: VenueNode = setting(VenueNode(), "OKX.")


VENUES = tuple(Venues.model_fields)
"""The ids of the venues."""


class PathsSettings(SettingsModel):
    """Where things are kept, relative to the working directory."""

    state_dir: Path = setting(
        Path("state"), "State: each mode has its own directory below (journal, database)."
    )
    data_dir: Path = setting(Path("data"), "Recordings and downloaded data.")
    log_dir: Path = setting(Path("logs"), "Log files: each mode has its own directory below.")


class Settings(SettingsModel):
    """Everything that people set."""

    mode: Mode = setting(Mode.PAPER, "The world to run in; it alone decides where orders go.")
    account_label: str = setting(
        "main",
        "Name of the account of this node; live trading asks for it again.",
        pattern=r"^[a-z0-9_-]{1,24}$",
    )
    paths: PathsSettings = setting(PathsSettings(), "Where things are kept.")
    logging: LoggingSettings = setting(LoggingSettings(), "What is logged, and how long.")
    market: MarketSettings = setting(MarketSettings(), "Markets, quotes, basis.")
    capital: CapitalSettings = setting(CapitalSettings(), "Pools, reservations, safe mode.")
    risk: RiskSettings = setting(RiskSettings(), "Limits.")
    execution: ExecutionSettings = setting(ExecutionSettings(), "Orders, hedges, reconciliation.")
    arbitrage: ArbitrageSettings = setting(ArbitrageSettings(), "The arbitrage strategy.")
    paper: PaperSettings = setting(PaperSettings(), "Simulated fills on real data.")
    simulation: SimulationSettings = setting(SimulationSettings(), "Exchanges of our own.")
    bus: BusSettings = setting(BusSettings(), "Limits of the event bus.")
    journal: JournalSettings = setting(JournalSettings(), "The memory of the node.")
    guardian: GuardianSettings = setting(
        GuardianSettings(), "The process that acts when the node has gone silent."
    )
    health: HealthSettings = setting(HealthSettings(), "How health is measured.")
    metrics: MetricsSettings = setting(MetricsSettings(), "Numbers for Prometheus.")
    console: ConsoleSettings = setting(ConsoleSettings(), "The read API and the views.")
    venues: Venues = setting(Venues(), "A block a venue.")
    symbols: dict[Asset, SymbolNode] = setting(
        {}, "Blocks that override other sections for one symbol, such as BTC-PERP."
    )

    def venue(self, name: str) -> VenueNode:
        """Return the block of a venue. Raises KeyError for one that this version has not."""
        if name not in VENUES:
            raise KeyError(name)
        node: VenueNode = getattr(self.venues, name)
        return node

    @property
    def enabled_venues(self) -> tuple[str, ...]:
        """The ids of the venues that are on."""
        return tuple(name for name in VENUES if self.venue(name).enabled)

    @property
    def state_path(self) -> Path:
        """The state directory of this mode; two modes never share one."""
        return self.paths.state_dir / self.mode.value

    @property
    def log_path(self) -> Path:
        """The log directory of this mode."""
        return self.paths.log_dir / self.mode.value
