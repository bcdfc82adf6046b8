"""The real core of a node on a stage of our own: markets, settings and quotes for benchmarks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.app.markets import Markets
from perpbot.app.tally import RunTally
from perpbot.configuration import Settings
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.kernel.bus import EventLog
from perpbot.kernel.clock import MS, Clock, Timers
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.currency import CurrencyRates

ACCOUNT = "main"
ONE = Decimal(1)
PRICE = 60_000.0
TICK = 0.1


def assets(count: int) -> tuple[str, ...]:
    """Return some asset keys."""
    return tuple(f"A{number}-PERP" for number in range(count))


def instrument(venue: str, asset: str) -> Instrument:
    """Return a market such as BTC: ticks of 0.1, steps of 0.0001 coins, 0.01 coins a contract."""
    base = asset.removesuffix("-PERP")
    okx = venue == "okx"
    return Instrument(
        venue=venue,
        asset=asset,
        symbol=f"{base}-USDT-SWAP" if okx else f"{base}USDT",
        base=base,
        settle="USDT",
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.0001"),
        min_quantity=Decimal("0.0001"),
        min_notional=Decimal(0) if okx else Decimal(5),
        contract_size=Decimal("0.01") if okx else Decimal(1),
        wire_code=10_000 + int(base.removeprefix("A")),
    )


def capabilities(venue: str) -> Capabilities:
    """Return a venue without fees, whose quotes stay fresh over a benchmark."""
    return Capabilities(
        venue=venue,
        operator=venue,
        request_expiry=True,
        ioc=True,
        reduce_only=True,
        maker_fee_bps=Decimal(0),
        taker_fee_bps=Decimal(0),
        fees_as_of="2026-10-01",
        quote_interval_s=60.0,
        reconcile_interval_s=30.0,
    )


def settings(names: Sequence[str], **rooms: dict[str, Any]) -> Settings:
    """Return settings for these assets; `rooms` adds to single sections."""
    tree: dict[str, dict[str, Any]] = {
        "market": {"symbols": names, "basis_warmup_s": 0.2, "max_lag_ms": 60_000.0},
        "arbitrage": {"min_edge_bps": 1.0, "slippage_bps": 0.0},
        "capital": {"snapshot_interval_s": 1.0, "snapshot_max_age_s": 600.0},
    }
    for room, values in rooms.items():
        tree.setdefault(room, {}).update(values)
    return Settings.model_validate({"mode": "demo", **tree})


def build_core(
    chosen: Settings,
    instruments: Iterable[Instrument],
    *,
    clock: Clock,
    timers: Timers,
    journal: EventLog | None = None,
) -> Core:
    """Return a core with everything that a node subscribes, the tally of quotes included."""
    listed = {(one.venue, one.asset): one for one in instruments}
    venues = {venue: None for venue, _ in listed}
    core = Core(
        chosen,
        Markets(
            instruments=listed,
            capabilities={venue: capabilities(venue) for venue in venues},
            accounts={venue: Account(ACCOUNT) for venue in venues},
            rates=CurrencyRates(assumed=ONE),
        ),
        Folds(),
        clock=clock,
        timers=timers,
        rng=random.Random(1),
        journal=journal if journal is not None else MemoryJournal(),
    )
    RunTally(core.bus)
    return core


def quote_everywhere(core: Core, clock: Clock, price: float = PRICE) -> None:
    """Give every market of a core a first quote."""
    now_ns = clock.monotonic_ns()
    for one in core.markets.instruments.values():
        core.quotes.slot(one).update(price, 1.0, price + TICK, 1.0, 0, now_ns)


def warm_basis(core: Core, clock: Clock) -> None:
    """Sample the basis until every direction knows what leaving costs."""
    now_ns = clock.monotonic_ns()
    for step in range(10):
        core.basis.sample(now_ns + step * 100 * MS)
