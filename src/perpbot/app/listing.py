"""Finds out what the venues list, before anything else begins."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from perpbot.app.known import Market, keep_in_use, read_known
from perpbot.configuration import Settings
from perpbot.domain.errors import ConfigError, VenueError
from perpbot.domain.instruments import Instrument
from perpbot.venues.port import Venue

RETRY_CAP_S = 30.0
PATIENCE_S = 30.0
LEAST_VENUES = 2
"""Fewer cannot make a pair."""


async def learn_instruments(
    venues: Sequence[Venue],
    settings: Settings,
    in_use: Collection[Market],
    directory: Path,
    say: Callable[[str], None],
    rng: random.Random,
) -> dict[Market, Instrument]:
    """Learn what is listed of what is traded, and of what something is still open in.

    `directory` is where a node before this one left what it knew. Raises `ConfigError` where no
    pair can be made.
    """
    assets = settings.market.symbols
    others = sorted({asset for _, asset in in_use} - set(assets))
    listed = await list_instruments(venues, [*assets, *others], say, rng)
    _require_pairs(listed, assets)
    known = None
    if in_use:
        try:
            known = read_known(directory)
        except ConfigError as error:
            say(str(error))
    kept, said = keep_in_use(listed, assets, in_use, known)
    for text in said:
        say(text)
    return kept


def _require_pairs(
    instruments: Mapping[tuple[str, str], Instrument], assets: Sequence[str]
) -> None:
    """Refuse to start when no asset is listed on two venues."""
    counts = {asset: sum(key[1] == asset for key in instruments) for asset in assets}
    if not any(count >= 2 for count in counts.values()):
        listed = ", ".join(f"{asset} on {count}" for asset, count in counts.items())
        raise ConfigError(
            f"no symbol of market.symbols is listed on two enabled venues ({listed}); "
            "add a symbol or enable a venue"
        )


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
