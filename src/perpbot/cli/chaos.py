"""`perpbot chaos`: seeds of trouble against the node, and what held."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import msgspec

from perpbot.cli.output import Exit, emit, fail, say, show
from perpbot.research.chaos.campaign import Campaign, Hunt, Runner, cores, each, hunt
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.gate import missing
from perpbot.research.chaos.mutants import MUTANTS
from perpbot.research.chaos.plan import ROWS, Plan
from perpbot.research.chaos.run import SeedResult, run_seed, shrink
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
    within_s: float,
    as_json: bool,
) -> int:
    """Run and report; 0 only when no invariant broke (with a mutant: when it was caught).

    `strict`: also every row, edge and kill point has to be hit. That is judged only where all
    seeds were run: `within_s`, unless 0, ends a campaign early.
    """
    tier = tier.upper()
    if tier not in {"A", "B"}:
        fail(f"--tier was {tier!r}, A or B was expected", Exit.USAGE)
    tools = _tools(tier)
    if row is not None and row not in tools.rows:
        fail(f"--row was {row!r}, one of {', '.join(tools.rows)} was expected", Exit.USAGE)
    names = tools.mutants if mutant == "all" else (mutant,)
    if mutant not in {None, "all", *tools.mutants}:
        fail(f"--mutant was {mutant!r}, all or one of {', '.join(tools.mutants)}", Exit.USAGE)
    if mutant is not None and within_s:
        fail("--within ends a campaign early: it does not go together with --mutant", Exit.USAGE)
    began = time.monotonic()
    numbers = range(first, first + seeds)
    jobs = jobs or cores()
    campaign = Campaign(row=row, tier=tier, runner=tools.runner, rows=tools.rows)
    hunts = list[Hunt]()
    if mutant is None:
        _run(campaign, numbers, jobs, tools, within_s)
    else:
        hunts = _hunt([name for name in names if name], numbers, row, jobs, tools)
    whole = campaign.seeds == seeds
    result = {
        "seeds": campaign.seeds + sum(found.seeds for found in hunts),
        "from": first,
        "tier": tier,
        "seconds": round(time.monotonic() - began, 3),
        **_summary(campaign, hunts),
        "missing": tools.missing(campaign.counters) if strict and whole else [],
    }
    if as_json:
        emit(result)
    else:
        show(_text(result, mutant, tools.rows))
    alive = [found.mutant for found in hunts if found.killed_at is None]
    good = campaign.passed and not alive and not result["missing"]
    return Exit.OK if good else Exit.ERROR


class Tools(msgspec.Struct, frozen=True):
    """What differs between the tiers."""

    runner: Runner
    rows: dict[str, str]
    shrink: Callable[[int, str | None], Plan]
    missing: Callable[[Counters], list[str]]
    mutants: Sequence[str]


def _tools(tier: str) -> Tools:
    if tier == "A":
        return Tools(run_seed, ROWS, shrink, missing, MUTANTS)
    # Adapters, servers and their libraries: half a second that tier A does not need.
    from perpbot.research.chaos.wires import mutants, plan, run

    return Tools(run.run_seed, plan.ROWS, run.shrink, plan.missing, mutants.MUTANTS)


def _run(campaign: Campaign, seeds: range, jobs: int, tools: Tools, within_s: float) -> None:
    began = told = time.monotonic()
    with closing(campaign.run_all(seeds, jobs)) as results:
        for result in results:
            if result.violations:
                _tell_broken(campaign, result, tools)
            now = time.monotonic()
            if now - told > PROGRESS_S:
                told = now
                say(f"{campaign.seeds} of {len(seeds)} seeds")
            if 0 < within_s <= now - began:
                break
    if campaign.seeds < len(seeds):
        say(f"{within_s:g} s were over after {campaign.seeds} of {len(seeds)} seeds")


def _tell_broken(campaign: Campaign, result: SeedResult, tools: Tools) -> None:
    say(f"seed {result.seed}: {result.violations[0]}")
    say(f"  replay: {campaign.replay_line(result.seed)}")
    if len(campaign.failed) <= SHRUNK:
        faults = tools.shrink(result.seed, campaign.row).faults
        say(f"  needs: {'; '.join(map(str, faults)) or 'no fault'}")


def _hunt(names: list[str], seeds: range, row: str | None, jobs: int, tools: Tools) -> list[Hunt]:
    hunts = []
    work = partial(hunt, seeds=seeds, row=row, runner=tools.runner)
    for found in each(work, names, jobs, chunk=1):
        hunts.append(found)
        if found.killed_at is not None:
            say(f"mutant {found.mutant}: caught at seed {found.killed_at}: {found.text}")
    return hunts


def _summary(campaign: Campaign, hunts: list[Hunt]) -> dict[str, Any]:
    counters = campaign.counters
    return {
        "violations": campaign.violations,
        "rows": campaign.rows(),
        "order_edges": dict(sorted(counters.order_edges.items())),
        "pair_edges": dict(sorted(counters.pair_edges.items())),
        "reservation_edges": dict(sorted(counters.reservation_edges.items())),
        "kill_points": dict(sorted(counters.kill_points.items())),
        "mutants": {found.mutant: found.killed_at for found in hunts},
        "unhedged_s": {
            "healthy": figures(counters.healthy_ms),
            "blocked": figures(counters.blocked_ms),
        },
        "worst_unhedged_s": round(campaign.worst_unhedged_s, 3),
        "worst_loss_ratio": round(campaign.worst_loss_ratio, 4),
        "trace_hash": campaign.trace_hash,
    }


def _text(result: dict[str, Any], mutant: str | None, rows_known: dict[str, str]) -> str:
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
    lines += [f"{row:>5} {hits:7} {rows_known[row]}" for row, hits in result["rows"].items()]
    lines += [f"missing: {name}" for name in result["missing"]]
    return "\n".join(lines)


def _spells(name: str, spells: dict[str, float]) -> str:
    """Say how long nets stayed open."""
    figures_s = ", ".join(f"{key} {spells[key]:.3f} s" for key in ("p50", "p99", "max"))
    return f"unhedged, {name}: {figures_s} of {spells['count']}"
