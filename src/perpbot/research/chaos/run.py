"""One seed from its plan to its verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal

import msgspec

from perpbot.kernel.clock import SECOND
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.market import LARGEST_JUMP
from perpbot.research.chaos.mutants import mutated
from perpbot.research.chaos.plan import Plan, draw
from perpbot.research.chaos.stage import Stage
from perpbot.research.chaos.trap import collections_between_seeds, trapped
from perpbot.research.chaos.unhedged import (
    HEALTHY_UNHEDGED_NS,
    Window,
    bound_ns,
    in_ms,
    is_healthy,
)
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant

CLIP_LOSS = Decimal("0.0204")
"""Of a pair's notional: slip cap of 100 bps on both ways, four taker fees."""
DRIFT = Decimal("0.006")
"""What the market may move while a blocked leg is unhedged, beside the jumps of the plan."""


class SeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed gave. Money in USD; a loss is positive."""

    seed: int
    violations: tuple[str, ...]
    counters: Counters
    trace_hash: str
    pairs_usd: Decimal
    worst_unhedged_s: float
    unhedged_bound_s: float
    """The largest bound of any spell."""
    loss: Decimal
    bound: Decimal
    lives: int


def run_seed(
    seed: int, mutant: str | None = None, row: str | None = None, plan: Plan | None = None
) -> SeedResult:
    """Run a seed; raises `InvalidValue` for a mutant that does not exist."""
    chosen = plan or draw(seed, row)
    counters = Counters()
    context: AbstractContextManager[None] = nullcontext() if mutant is None else mutated(mutant)
    with context, collections_between_seeds(), trapped():
        stage = Stage(chosen, counters)
        stage.run()
    return judged(
        chosen,
        counters,
        stage.witness,
        stage.ground.accountant,
        stage.absences,
        trace_hash=hash_of(stage),
        lives=stage.lives,
    )


def judged(
    plan: Plan,
    counters: Counters,
    witness: Witness,
    accountant: Accountant,
    absences: Sequence[Window],
    *,
    trace_hash: str,
    lives: int,
) -> SeedResult:
    """Hold the end of a seed, of either tier, against its bounds; return what it gave."""
    loss = -accountant.summary()["net"]
    bound = loss_bound(plan, witness.books.planned_usd)
    if loss > bound:
        witness.violate(f"the loss is {loss:.4f} USD, its bound {bound:.4f}")
    bound_s = judge_spells(plan, witness, absences, counters) / SECOND
    return SeedResult(
        seed=plan.seed,
        violations=tuple(witness.violations),
        counters=counters,
        trace_hash=trace_hash,
        pairs_usd=witness.books.planned_usd,
        worst_unhedged_s=witness.exposure.worst_ns / SECOND,
        unhedged_bound_s=bound_s,
        loss=loss,
        bound=bound,
        lives=lives,
    )


def judge_spells(
    plan: Plan, witness: Witness, absences: Sequence[Window], counters: Counters
) -> int:
    """Hold every unhedged spell against its own bound; count it. Return the largest bound, ns."""
    largest_ns = HEALTHY_UNHEDGED_NS
    for spell in witness.exposure.spells:
        healthy = is_healthy(spell, plan, absences)
        (counters.healthy_ms if healthy else counters.blocked_ms)[in_ms(spell.lasted_ns)] += 1
        allowed_ns = bound_ns(spell, plan, absences)
        largest_ns = max(largest_ns, allowed_ns)
        if spell.lasted_ns > allowed_ns:
            witness.violate(
                f"P4 {spell.asset} unhedged for {spell.lasted_ns / SECOND:.1f} s, "
                f"the bound is {allowed_ns / SECOND:.1f} s"
            )
    return largest_ns


def loss_bound(plan: Plan, planned_usd: Decimal) -> Decimal:
    """Return L2: every pair may lose its slip cap, its fees and the moves of the plan once."""
    jumps = sum(fault.row == "jump" for fault in plan.faults)
    moves = Decimal(str(LARGEST_JUMP)) * jumps + DRIFT
    return planned_usd * (CLIP_LOSS + moves) + Decimal("0.01")


def hash_of(stage: Stage) -> str:
    """Return a hash over every record of the journal and every execution."""
    digest = hashlib.sha256()
    for record in stage.journal.records():
        digest.update(f"{record.sequence} {record.ts_ns} {record.kind} ".encode())
        digest.update(record.payload)
    for line in stage.witness.truth.trace:
        digest.update(line.encode())
    return digest.hexdigest()


def shrink(seed: int, row: str | None = None) -> Plan:
    """Return the plan of a failing seed with every fault taken out that it does not need."""
    return shrunk(draw(seed, row), lambda plan: run_seed(seed, plan=plan))


def shrunk(plan: Plan, run: Callable[[Plan], SeedResult]) -> Plan:
    """Return a failing plan with every fault taken out that it does not need."""
    for fault in plan.faults:
        rest = tuple(other for other in plan.faults if other is not fault)
        smaller = msgspec.structs.replace(plan, faults=rest)
        if run(smaller).violations:
            plan = smaller
    return plan
