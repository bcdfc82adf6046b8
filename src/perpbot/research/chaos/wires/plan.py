"""What a seed of tier B breaks: rows of the fault matrix in the terms of protocols and wires.

The same `Plan` and `Fault` as tier A. Venues are what the adapters declare; what a seed draws are
markets, latencies and faults.
"""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec

from perpbot.app.venues import capabilities_of
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import (
    ASSETS,
    QUOTE_INTERVAL_S,
    START_NS,
    TAKER_BPS,
    VENUES,
    Fault,
    Plan,
    VenuePlan,
)
from perpbot.simulation.wire.registry import server_class

ROWS: dict[str, str] = {
    "1": "public sockets are reset in the middle of frames, new ones too",
    "2": "the private socket is reset in the middle of frames, new ones too",
    "3": "half-open sockets: bytes vanish and nobody is told",
    "4": "book updates lost, repeated or in the wrong order",
    "5": "the integrity field of a book update does not fit",
    "6": "a request vanishes, or its answer after the venue acted",
    "7": "5xx, or a reset after the venue acted",
    "9": "429 and 418 with Retry-After in seconds or as a date",
    "16": "an execution told on the stream under another id",
    "19": "the clock of a venue steps: timestamps refused, requests expired",
    "20": "nonces are used up by somebody else",
    "21": "the node dies: at a moment, at a journal append, at a send",
    "29": "the node stands still",
    "32": "malformed, truncated and huge frames and answers",
    "35": "tick, step and minimum of an instrument change",
    "38": "the key is revoked",
    "42": "names do not resolve, certificates are bad, connections refused",
    "drip": "bytes come late and in small pieces",
    "transfer": "money is brought or taken away",
}
"""Every row that tier B expresses."""

_OF_VENUE = {"20": ("hyperliquid",), "4": ("binance", "okx"), "5": ("binance", "okx")}
"""Rows that only some protocols can express."""
_RARE = {"6": 0.3, "7": 0.3, "16": 1.0, "20": 0.7}
"""Rows that need an order at the right moment: their windows are long; how often they strike."""


LEAST_HITS = 20


def missing(counters: Counters) -> list[str]:
    """Return the rows that were hit too rarely by some hundred seeds."""
    return [
        f"row {row}: hit {counters.rows[row]} times, {LEAST_HITS} were expected"
        for row in ROWS
        if counters.rows[row] < LEAST_HITS
    ]


def draw(seed: int, row: str | None = None) -> Plan:
    """Return the plan of a seed; `row` is always among its rows where given."""
    rng = random.Random(f"wires plan {seed}")
    names = VENUES if rng.random() < 0.6 else tuple(rng.sample(VENUES, 2))
    assets = ASSETS[: rng.choice((1, 1, 2))]
    chaos_ns = rng.randrange(22, 36) * SECOND
    chosen = rng.sample(sorted(ROWS.keys() - {"transfer"}), rng.randrange(1, 6))
    if row is not None and row not in {*chosen, "transfer"}:
        chosen.append(row)
    faults = [
        fault
        for name in chosen
        for _ in range(rng.choice((1, 1, 2)))
        for fault in _fault(rng, name, names, assets, chaos_ns)
    ]
    faults += _moves(seed, names, assets, chaos_ns, always=row == "transfer")
    return Plan(
        seed=seed,
        venues={name: _venue(rng, name) for name in names},
        assets=assets,
        contracts={
            name: tuple(c for c in server_class(name).contracts() if c.asset in assets)
            for name in names
        },
        chaos_ns=chaos_ns,
        faults=tuple(sorted(faults, key=lambda fault: fault.start_ns)),
        fallback="balanced" if rng.random() < 0.25 else "limit_only",
        balance=Decimal(10_000),
    )


def _fault(
    rng: random.Random, row: str, venues: tuple[str, ...], assets: tuple[str, ...], chaos_ns: int
) -> list[Fault]:
    able = [name for name in venues if name in _OF_VENUE.get(row, venues)]
    start_ns = START_NS + rng.randrange(5 * SECOND, chaos_ns - 4 * SECOND)
    longest_ns = min(START_NS + chaos_ns - start_ns, 8 * SECOND)
    lasts_ns = rng.randrange(SECOND, longest_ns)
    intensity = rng.choice((0.3, 0.6, 1.0))
    if row in _RARE:
        start_ns, lasts_ns, intensity = START_NS + 3 * SECOND, chaos_ns - 4 * SECOND, _RARE[row]
    fault = Fault(
        row=row,
        venue=rng.choice(able or venues),
        asset=rng.choice(assets),
        start_ns=start_ns,
        stop_ns=start_ns + lasts_ns,
        intensity=intensity,
        variant=rng.randrange(6),
        numbers=tuple(rng.randrange(1, 30) for _ in range(rng.choice((1, 1, 2)))),
    )
    return [fault] if able else []


def _moves(
    seed: int, venues: tuple[str, ...], assets: tuple[str, ...], chaos_ns: int, *, always: bool
) -> list[Fault]:
    """Return the transfers of a seed; they are drawn apart and change nothing else of it."""
    rng = random.Random(f"wires moves {seed}")
    if not always and rng.random() >= 0.4:
        return []
    count = rng.randrange(1, 4)
    return [
        fault for _ in range(count) for fault in _fault(rng, "transfer", venues, assets, chaos_ns)
    ]


def _venue(rng: random.Random, name: str) -> VenuePlan:
    return VenuePlan(
        profile=msgspec.structs.replace(
            server_class(name).profile(), maker_fee=Decimal(0), taker_fee=TAKER_BPS / 10_000
        ),
        capabilities=msgspec.structs.replace(
            capabilities_of(name), quote_interval_s=QUOTE_INTERVAL_S
        ),
        latency_ns=rng.randrange(5, 50) * MS,
    )
