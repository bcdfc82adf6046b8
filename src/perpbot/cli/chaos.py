"""`perpbot chaos`: seeds of trouble against the node, and what held."""

from __future__ import annotations

import time
from typing import Any

from perpbot.cli.output import Exit, emit, fail, say, show
from perpbot.domain.errors import InvalidValue
from perpbot.research.chaos.campaign import Campaign
from perpbot.research.chaos.mutants import MUTANTS
from perpbot.research.chaos.plan import ROWS
from perpbot.research.chaos.run import shrink

PROGRESS_S = 5.0
SHRUNK = 5
"""How many failing seeds are shrunk to the faults that they need."""


def run_chaos(
    seeds: int, first: int, tier: str, row: str | None, mutant: str | None, *, as_json: bool
) -> int:
    """Run and report; 0 only when no invariant broke (with a mutant: when it was caught)."""
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
    campaigns = [_run(name, seeds, first, row) for name in names]
    result = _summary(campaigns, seeds, first, tier, time.monotonic() - began)
    if as_json:
        emit(result)
    else:
        show(_text(result, mutant))
    good = all(campaign.passed for campaign in campaigns)
    return Exit.OK if good else Exit.ERROR


def _run(mutant: str | None, seeds: int, first: int, row: str | None) -> Campaign:
    campaign = Campaign(mutant, row)
    told = time.monotonic()
    for seed in range(first, first + seeds):
        try:
            broken = campaign.run(seed)
        except InvalidValue as error:
            fail(str(error), Exit.USAGE)
        if broken and mutant is None:
            say(f"seed {seed}: {broken[0]}")
            say(f"  replay: {campaign.replay_line(seed)}")
            if len(campaign.failed) <= SHRUNK:
                say(f"  needs: {'; '.join(map(str, shrink(seed, row).faults)) or 'no fault'}")
        if mutant is not None and broken:
            say(f"mutant {mutant}: caught at seed {seed}: {broken[0]}")
            break
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            say(f"{seed - first + 1} of {seeds} seeds")
    return campaign


def _summary(
    campaigns: list[Campaign], seeds: int, first: int, tier: str, seconds: float
) -> dict[str, Any]:
    plain = campaigns[0]
    return {
        "seeds": seeds,
        "from": first,
        "tier": tier,
        "seconds": round(seconds, 3),
        "violations": [] if plain.mutant else plain.violations,
        "rows": plain.rows(),
        "order_edges": dict(sorted(plain.counters.order_edges.items())),
        "pair_edges": dict(sorted(plain.counters.pair_edges.items())),
        "kill_points": dict(sorted(plain.counters.kill_points.items())),
        "mutants": {c.mutant: c.killed_at for c in campaigns if c.mutant},
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
    worst = f"worst unhedged {result['worst_unhedged_s']} s"
    lines = [
        f"{counts} in {result['seconds']:.1f} s ({rate:.1f} a second)",
        f"{len(result['violations'])} violations",
        f"{worst}, worst loss {result['worst_loss_ratio']:.2f} of its bound",
        f"trace {result['trace_hash'][:16]}",
        "",
    ]
    lines += [f"{row:>5} {hits:7} {ROWS[row]}" for row, hits in result["rows"].items()]
    return "\n".join(lines)
