"""`perpbot chaos`: seeds of trouble against the node, and what held."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from perpbot.cli.output import Exit, emit, fail, say, show
from perpbot.domain.errors import InvalidValue
from perpbot.research.chaos.campaign import Campaign, cores, each, hunt
from perpbot.research.chaos.gate import missing
from perpbot.research.chaos.mutants import MUTANTS
from perpbot.research.chaos.plan import ROWS
from perpbot.research.chaos.run import shrink
from perpbot.research.chaos.unhedged import figures

PROGRESS_S = 5.0
SHRUNK = 5
"""How many failing seeds are shrunk to the faults that they need."""


def run_chaos(
    seeds: int,
    first: int,
    tier: str,
    row: str | None,
    mutant: str | None,
    *,
    jobs: int,
    strict: bool,
    as_json: bool,
) -> int:
    """Run and report; 0 only when no invariant broke (with a mutant: when it was caught).

    `strict`: also every row, edge and kill point has to be hit.
    """
    tier = tier.upper()
    if tier not in {"A", "B"}:
        fail(f"--tier was {tier!r}, A or B was expected", Exit.USAGE)
    if tier == "B":
        fail("tier B (adapters and transports in virtual time) is not built yet", Exit.USAGE)
    if row is not None and row not in ROWS:
        fail(f"--row was {row!r}, one of {', '.join(ROWS)} was expected", Exit.USAGE)
    names = MUTANTS if mutant == "all" else (mutant,)
    if mutant not in {None, "all", *MUTANTS}:
        fail(f"--mutant was {mutant!r}, all or one of {', '.join(MUTANTS)}", Exit.USAGE)
    began = time.monotonic()
    numbers = range(first, first + seeds)
    jobs = jobs or cores()
    try:
        if mutant is None:
            campaigns = [_run(numbers, row, jobs)]
        else:
            campaigns = _hunt([name for name in names if name], numbers, row, jobs)
    except InvalidValue as error:
        fail(str(error), Exit.USAGE)
    lacks = missing(campaigns[0].counters) if strict and mutant is None else []
    result = _summary(campaigns, first, tier, time.monotonic() - began, lacks)
    if as_json:
        emit(result)
    else:
        show(_text(result, mutant))
    good = all(campaign.passed for campaign in campaigns) and not lacks
    return Exit.OK if good else Exit.ERROR


def _run(seeds: range, row: str | None, jobs: int) -> Campaign:
    campaign = Campaign(row=row)
    told = time.monotonic()
    for result in campaign.run_all(seeds, jobs):
        seed = result.seed
        if result.violations:
            say(f"seed {seed}: {result.violations[0]}")
            say(f"  replay: {campaign.replay_line(seed)}")
            if len(campaign.failed) <= SHRUNK:
                say(f"  needs: {'; '.join(map(str, shrink(seed, row).faults)) or 'no fault'}")
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            say(f"{campaign.seeds} of {len(seeds)} seeds")
    return campaign


def _hunt(names: list[str], seeds: range, row: str | None, jobs: int) -> list[Campaign]:
    campaigns = []
    for campaign in each(partial(hunt, seeds=seeds, row=row), names, jobs, chunk=1):
        campaigns.append(campaign)
        if campaign.killed_at is not None:
            text = campaign.violations[0]["text"]
            say(f"mutant {campaign.mutant}: caught at seed {campaign.killed_at}: {text}")
    return campaigns


def _summary(
    campaigns: list[Campaign], first: int, tier: str, seconds: float, lacks: list[str]
) -> dict[str, Any]:
    plain = campaigns[0]
    counters = plain.counters
    return {
        "seeds": sum(campaign.seeds for campaign in campaigns),
        "from": first,
        "tier": tier,
        "seconds": round(seconds, 3),
        "violations": [] if plain.mutant else plain.violations,
        "rows": plain.rows(),
        "order_edges": dict(sorted(counters.order_edges.items())),
        "pair_edges": dict(sorted(counters.pair_edges.items())),
        "reservation_edges": dict(sorted(counters.reservation_edges.items())),
        "kill_points": dict(sorted(counters.kill_points.items())),
        "missing": lacks,
        "mutants": {c.mutant: c.killed_at for c in campaigns if c.mutant},
        "unhedged_s": {
            "healthy": figures(counters.healthy_ms),
            "blocked": figures(counters.blocked_ms),
        },
        "worst_unhedged_s": round(plain.worst_unhedged_s, 3),
        "worst_loss_ratio": round(plain.worst_loss_ratio, 4),
        "trace_hash": plain.trace_hash,
    }


def _text(result: dict[str, Any], mutant: str | None) -> str:
    if mutant is not None:
        rows = [
            f"{name:28} {'NOT CAUGHT' if seed is None else f'caught at seed {seed}'}"
            for name, seed in result["mutants"].items()
        ]
        return "\n".join(rows)
    rate = result["seeds"] / result["seconds"] if result["seconds"] else 0.0
    counts = f"{result['seeds']} seeds of tier {result['tier']} from {result['from']}"
    lines = [
        f"{counts} in {result['seconds']:.1f} s ({rate:.1f} a second)",
        f"{len(result['violations'])} violations",
        f"worst loss {result['worst_loss_ratio']:.2f} of its bound",
        *(_spells(name, spells) for name, spells in result["unhedged_s"].items()),
        f"trace {result['trace_hash'][:16]}",
        "",
    ]
    lines += [f"{row:>5} {hits:7} {ROWS[row]}" for row, hits in result["rows"].items()]
    lines += [f"missing: {name}" for name in result["missing"]]
    return "\n".join(lines)


def _spells(name: str, spells: dict[str, float]) -> str:
    """Say how long nets stayed open."""
    figures_s = ", ".join(f"{key} {spells[key]:.3f} s" for key in ("p50", "p99", "max"))
    return f"unhedged, {name}: {figures_s} of {spells['count']}"
