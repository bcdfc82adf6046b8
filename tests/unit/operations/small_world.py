"""A core on two venues in virtual time, and a market that opens and closes one gap."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from perpbot.app.watching import sources_of
from perpbot.configuration import load_configuration
from perpbot.domain.events import PositionAdjusted
from perpbot.domain.sides import PositionSide
from perpbot.kernel.clock import MS, SECOND
from perpbot.kernel.journal.writer import Journal
from perpbot.operations.sources import Sources
from perpbot.research.replay import ReplayTerms, venue_setup
from perpbot.research.world import ACCOUNT, VenueSetup, World
from perpbot.settings import Flag
from perpbot.simulation.tape import TapeRow

START_NS = 1_760_000_000 * SECOND
VENUES = ("binance", "okx")
ASSET = "BTC-PERP"


def small_world() -> World:
    """Return a started world without fees, latency or much of a memory."""
    settings = load_configuration(
        environ={},
        flags=(
            Flag("mode", "test", "replay"),
            Flag("market.symbols", "test", [ASSET]),
            Flag("market.basis_window_s", "test", 20.0),
            Flag("market.basis_warmup_s", "test", 5.0),
            Flag("paper.latency_ms", "test", 0.0),
        ),
    ).settings
    terms = ReplayTerms(maker_bps=Decimal(0), taker_bps=Decimal(0), latency_ms=0.0)
    world = World(
        settings,
        {venue: _only_traded(venue_setup(venue, terms)) for venue in VENUES},
        start_ns=START_NS,
        seed=1,
        latency_ns=0,
        balance=settings.paper.balance_usd,
    )
    world.start(version="test")
    return world


def _only_traded(setup: VenueSetup) -> VenueSetup:
    contracts = tuple(contract for contract in setup.contracts if contract.asset == ASSET)
    return msgspec.structs.replace(setup, contracts=contracts)


def rows(seconds: float, *, since_s: float = 0.0, gap_from_s: float = 1e9) -> Iterator[TapeRow]:
    """Yield a quote of each venue every 200 ms; from `gap_from_s` on okx is dear by 40 bps."""
    for step in range(int(seconds * 5)):
        at_s = since_s + step / 5
        for venue in VENUES:
            mid = 60_000.0 + (240.0 if venue == "okx" and at_s >= gap_from_s else step % 2)
            ts_ns = START_NS + SECOND + int(at_s * 1000) * MS
            yield TapeRow(ts_ns, venue, ASSET, mid - 1, 5.0, mid + 1, 5.0, ts_ns)


def feed(world: World, some: Iterator[TapeRow]) -> None:
    """Feed rows without the closing that the end of a tape brings."""
    for row in some:
        world._feed(row)


def adjust(world: World, asset: str, quantity: str) -> None:
    """Let the books of okx take in what no pair explains."""
    bus = world.core.bus
    bus.publish(
        PositionAdjusted(
            ts_ns=world.time.now_ns(),
            venue="okx",
            account=ACCOUNT,
            asset=asset,
            position_side=PositionSide.NET,
            delta=Decimal(quantity),
            price=Decimal(60_000),
            reason="test",
        )
    )


def traded_world() -> World:
    """Return a world in which one pair opened on a gap and was closed again."""
    world = small_world()
    world.play(rows(45.0, gap_from_s=20.0))
    assert world.settle()
    assert world.core.folds.pairs.closed
    return world


def sources(world: World) -> Sources:
    """Return what may be looked at."""
    return sources_of(world.core, "test")


def write_journal(world: World, directory: Path) -> Path:
    """Write the world's journal to disk; return its directory."""
    journal = Journal(directory, reserve_bytes=0)
    for record in world.journal.records():
        journal.append(record.event())
    journal.close()
    return directory
