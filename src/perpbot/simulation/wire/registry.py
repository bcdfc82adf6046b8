"""Which venues can be served, and by what. Modules are imported only when asked for."""

from __future__ import annotations

import importlib

from perpbot.domain.errors import ConfigError
from perpbot.simulation.wire.server import VenueServer

_MODULES = {
    "binance": "perpbot.simulation.wire.binance",
    "hyperliquid": "perpbot.simulation.wire.hyperliquid",
    "okx": "perpbot.simulation.wire.okx",
}
"""Each module's `Server` is the venue's `VenueServer`."""


def venues() -> tuple[str, ...]:
    """Names of the venues that can be served."""
    return tuple(_MODULES)


def server_class(venue: str) -> type[VenueServer]:
    """Return the server of `venue`. Raises `ConfigError` for an unknown name."""
    module = _MODULES.get(venue)
    if module is None:
        raise ConfigError(f"venue was {venue!r}, one of {', '.join(_MODULES)} was expected")
    found: type[VenueServer] = importlib.import_module(module).Server
    return found
