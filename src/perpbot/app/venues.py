"""Makes the venues of a mode from their packages."""

from __future__ import annotations

import random
from collections.abc import Mapping
from importlib import import_module

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.kernel.clock import Clock
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue

_CREDENTIALS = {
    "binance": ("perpbot.venues.binance.signing", "BinanceCredentials"),
    "hyperliquid": ("perpbot.venues.hyperliquid.credentials", "HyperliquidCredentials"),
    "okx": ("perpbot.venues.okx.signing", "OkxCredentials"),
}


def capabilities_of(venue: str) -> Capabilities:
    """Return what a venue package declares."""
    found: Capabilities = import_module(f"perpbot.venues.{venue}.venue").CAPABILITIES
    return found


def make_venue(
    name: str,
    connection: VenueConnection,
    credentials: Mapping[str, str],
    clock: Clock,
    rng: random.Random,
    *,
    leverage: int | None = 1,
    books: bool = False,
) -> Venue:
    """Return a venue, not yet connected; without `credentials` it is read-only.

    `leverage` is set for every instrument before anything opens; None leaves the account's own.
    `books` also subscribes to depth. Raises `ConfigError` for credentials that cannot be any.
    """
    module, struct = _CREDENTIALS[name]
    keys = None
    if credentials:
        keys = msgspec.convert(dict(credentials), getattr(import_module(module), struct))
    try:
        venue: Venue = import_module(f"perpbot.venues.{name}.venue").create(
            settings=connection,
            credentials=keys,
            clock=clock,
            rng=rng,
            books=books,
            trades=False,
            leverage=leverage,
        )
    except InvalidValue as error:
        if keys is None:
            raise
        raise ConfigError(f"credentials of {name}: {error}") from None
    return venue
