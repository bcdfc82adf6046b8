"""A recorded cross-venue tape through the node, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from perpbot.app.summary import percentiles, summarise
from perpbot.app.venues import capabilities_of
from perpbot.configuration import Settings
from perpbot.domain.errors import ConfigError
from perpbot.domain.money import BPS
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.world import VenueSetup, World
from perpbot.simulation.tape import Tape
from perpbot.simulation.wire.registry import server_class


class ReplayTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay assumes of every venue."""

    maker_bps: Decimal = Decimal(2)
    taker_bps: Decimal = Decimal(5)
    latency_ms: float = 20.0


def parse_map(text: str, known: Sequence[str]) -> dict[str, str]:
    """Read `tape_venue=venue[,…]`; raise `ConfigError` naming what is wrong."""
    mapping: dict[str, str] = {}
    for part in text.split(","):
        tape_venue, separator, venue = (piece.strip() for piece in part.partition("="))
        if not separator or not tape_venue or not venue:
            raise ConfigError(f"--map was {part!r}, tape_venue=venue was expected")
        if venue not in known:
            raise ConfigError(f"--map venue was {venue!r}, one of {', '.join(known)} was expected")
        if tape_venue in mapping:
            raise ConfigError(f"--map names {tape_venue!r} twice")
        mapping[tape_venue] = venue
    if len(set(mapping.values())) < 2:
        raise ConfigError("--map names one venue, at least two different ones were expected")
    return mapping


def venue_setup(venue: str, terms: ReplayTerms) -> VenueSetup:
    """Return a venue's own contracts and rules, with the fees of the replay."""
    server = server_class(venue)
    return VenueSetup(
        profile=msgspec.structs.replace(
            server.profile(), maker_fee=terms.maker_bps / BPS, taker_fee=terms.taker_bps / BPS
        ),
        contracts=server.contracts(),
        capabilities=msgspec.structs.replace(
            capabilities_of(venue), maker_fee_bps=terms.maker_bps, taker_fee_bps=terms.taker_bps
        ),
    )


def replay(
    tape_path: Path,
    mapping: Mapping[str, str],
    settings: Settings,
    terms: ReplayTerms,
    *,
    version: str,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
    complain: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the tape; return the summary.

    `progress` is called with virtual seconds done, `complain` with file, line and reason of the
    first rows that could not be used.
    """
    tape = Tape(tape_path, dict(mapping))
    venues = {venue: venue_setup(venue, terms) for venue in sorted(set(mapping.values()))}
    rows = iter(tape)
    first = next(rows)
    world = World(
        settings,
        venues,
        start_ns=first.ts_ns,
        seed=seed,
        latency_ns=int(terms.latency_ms * MS),
        balance=settings.paper.balance_usd,
    )
    world.start(version=version)

    def counted() -> Any:
        yield first
        shown = 0
        for row in rows:
            if progress is not None and row.ts_ns - first.ts_ns > shown * SECOND:
                shown = (row.ts_ns - first.ts_ns) // SECOND + 10
                progress(shown - 10)
            yield row

    world.play(counted())
    world.settle()
    seconds = (world.time.now_ns() - first.ts_ns) / SECOND
    summary = summarise(
        world.core, world.tally, world.true_books(), mode="replay", seed=seed, seconds=seconds
    )
    summary["edge_bps"] = percentiles(world.tally.edges_bps)
    summary["refused"] = refused_counts(world, tape)
    if complain is not None:
        for problem in tape.problems:
            complain(problem)
    return summary


def refused_counts(world: World, tape: Tape) -> dict[str, int]:
    """Return every reason for which a row, a quote, an edge or an opportunity was refused."""
    total: dict[str, int] = {}
    quotes = world.core.quotes.statistics().refused
    sources: list[Mapping[str, int]] = [
        {f"tape_{reason}": count for reason, count in tape.refused.items()},
        *({f"quote_{k}": v for k, v in counts.items()} for counts in quotes.values()),
        world.core.scanner.statistics().reasons,
        world.core.engine.refused,
    ]
    for source in sources:
        for reason, count in source.items():
            total[str(reason)] = total.get(str(reason), 0) + count
    return {reason: count for reason, count in sorted(total.items()) if count}
