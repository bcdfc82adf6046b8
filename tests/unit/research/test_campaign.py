"""Many seeds, in one process or in several: the same verdict."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest

from perpbot.research.chaos.campaign import Campaign, cores, each, hunt
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.run import SeedResult


def told(
    seed: int, mutant: str | None = None, row: str | None = None, plan: object = None
) -> SeedResult:
    """Run nothing: every seventh seed breaks something."""
    counters = Counters()
    counters.hit("6")
    counters.healthy_ms[seed] += 1
    return SeedResult(
        seed=seed,
        violations=(f"O1 {mutant}",) if seed % 7 == 0 else (),
        counters=counters,
        trace_hash=f"hash {seed}",
        pairs_usd=Decimal(1),
        worst_unhedged_s=seed / 10,
        unhedged_bound_s=7.0,
        loss=Decimal(seed),
        bound=Decimal(100),
        lives=1,
    )


def square(number: int) -> int:
    """Work for other processes."""
    return number * number


def test_several_processes_give_what_one_gives() -> None:
    """In order, the trace hash included."""
    alone, many = Campaign(runner=told), Campaign(runner=told)
    seeds = range(1, 21)
    for _ in alone.run_all(seeds):
        pass
    assert [result.seed for result in many.run_all(seeds, jobs=2)] == list(seeds)
    assert many.trace_hash == alone.trace_hash
    assert many.violations == alone.violations
    assert many.failed == [7, 14]
    assert not many.passed
    assert many.seeds == 20
    assert many.rows()["6"] == 20
    assert many.rows()["7"] == 0
    assert many.worst_unhedged_s == 2.0
    assert many.worst_loss_ratio == 0.2
    assert sum(many.counters.healthy_ms.values()) == 20


def test_the_hash_depends_on_the_order_of_the_seeds() -> None:
    """Else a mix-up would go unseen."""
    first, second = Campaign(runner=told), Campaign(runner=told)
    for seed in (1, 2):
        first.run(seed)
        second.run(3 - seed)
    assert first.trace_hash != second.trace_hash


def test_results_come_in_order_from_any_number_of_processes() -> None:
    """Little work starts no processes."""
    assert list(each(square, [3, 1, 2], jobs=1)) == [9, 1, 4]
    assert list(each(square, range(9), jobs=2, chunk=1)) == [n * n for n in range(9)]
    assert cores() >= 1


def test_a_machine_without_affinity_counts_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that tells nothing has one."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_a_hunt_ends_at_the_first_seed_that_catches() -> None:
    """Or tells how many were run in vain."""
    found = hunt("blind_resend", range(1, 100), runner=told)
    assert (found.seeds, found.killed_at, found.text) == (7, 7, "O1 blind_resend")
    missed = hunt("blind_resend", range(1, 4), runner=told)
    assert (missed.seeds, missed.killed_at, missed.text) == (3, None, "")


def test_the_line_that_replays_a_seed_names_tier_row_and_mutant() -> None:
    """What is usual is left out."""
    assert Campaign().replay_line(4) == "perpbot chaos --seeds 1 --from 4"
    special = Campaign("dedupe_off", "6", tier="B")
    assert special.replay_line(4).endswith("--from 4 --tier B --row 6 --mutant dedupe_off")
