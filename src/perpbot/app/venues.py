"""Makes the venues of a mode from their packages, and finds out what they list."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import VenueError
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import Clock
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue

_CREDENTIALS = {
    "binance": ("perpbot.venues.binance.signing", "BinanceCredentials"),
    "hyperliquid": ("perpbot.venues.hyperliquid.credentials", "HyperliquidCredentials"),
    "okx": ("perpbot.venues.okx.signing", "OkxCredentials"),
}
RETRY_CAP_S = 30.0
PATIENCE_S = 30.0
LEAST_VENUES = 2
"""Fewer cannot make a pair."""


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
    `books` also subscribes to depth.
    """
    module, struct = _CREDENTIALS[name]
    keys = None
    if credentials:
        keys = msgspec.convert(dict(credentials), getattr(import_module(module), struct))
    venue: Venue = import_module(f"perpbot.venues.{name}.venue").create(
        settings=connection,
        credentials=keys,
        clock=clock,
        rng=rng,
        books=books,
        trades=False,
        leverage=leverage,
    )
    return venue


async def list_instruments(
    venues: Sequence[Venue],
    assets: Sequence[str],
    say: Callable[[str], None],
    rng: random.Random,
    *,
    patience_s: float = PATIENCE_S,
) -> dict[tuple[str, str], Instrument]:
    """Ask every venue what it lists; keep those of `assets`.

    Waits until all have answered; after `patience_s` two are enough, and the others are left out
    of this run. `say` hears in plain words what cannot be reached; nothing is invented meanwhile.
    """
    asking = {
        asyncio.create_task(_list(venue, say, rng), name=f"list {venue.name}"): venue
        for venue in venues
    }
    try:
        done, pending = await asyncio.wait(asking, timeout=patience_s)
        while pending and len(done) < LEAST_VENUES:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
    finally:
        for task in asking:
            task.cancel()
    for task in pending:
        say(f"going on without {asking[task].name}; restart perpbot once it can be reached")
    # In the order of the venues: a set has none of its own.
    listed = [task.result() for task in asking if task in done]
    wanted = set(assets)
    chosen: dict[tuple[str, str], Instrument] = {}
    for instruments in listed:
        for instrument in instruments:
            if instrument.asset in wanted:
                # A venue may list one asset in several currencies; its first is its main one.
                chosen.setdefault((instrument.venue, instrument.asset), instrument)
    return chosen


async def _list(
    venue: Venue, say: Callable[[str], None], rng: random.Random
) -> Sequence[Instrument]:
    delay_s = 1.0
    while True:
        try:
            return await venue.market_data.instruments()
        except VenueError as error:
            say(f"cannot reach {venue.name}: {error.message}; trying again")
        await asyncio.sleep(rng.uniform(0.0, delay_s))
        delay_s = min(delay_s * 2, RETRY_CAP_S)
