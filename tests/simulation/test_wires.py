"""Tier B: real adapters over wires that break; the seeds that found something stay repaired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from perpbot.cli.main import app
from perpbot.domain.events import ComponentFailed, Event
from perpbot.research.chaos.campaign import Campaign
from perpbot.research.chaos.plan import START_NS, Fault
from perpbot.research.chaos.wires import run as wires
from perpbot.research.chaos.wires.plan import ROWS, draw
from perpbot.research.chaos.wires.stage import Stage

CORPUS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "wires_corpus.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def campaign() -> Campaign:
    """Return a campaign of tier B."""
    return Campaign(tier="B", runner=wires.run_seed, rows=ROWS)


@pytest.mark.timeout(180)
@pytest.mark.no_cover
def test_no_invariant_breaks() -> None:
    """Seeds in a row; what they hit together is most of the rows."""
    several = campaign()
    for seed in range(1, 9):
        several.run(seed)
    assert several.violations == []
    assert sum(hits > 0 for hits in several.rows().values()) > len(ROWS) // 2


def test_warnings_are_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine that nobody awaits fails the seed."""

    async def forgotten() -> None:
        """Never started."""

    heal = Stage._heal

    def careless(stage: Stage) -> None:
        unawaited = forgotten()
        del unawaited
        heal(stage)

    monkeypatch.setattr(Stage, "_heal", careless)

    assert "was never awaited" in " ".join(wires.run_seed(1).violations)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", CORPUS)
def test_corpus(seed: int) -> None:
    """What failed once stays repaired."""
    assert wires.run_seed(seed).violations == ()


@pytest.mark.timeout(60)
@pytest.mark.no_cover
@pytest.mark.parametrize(
    "mutant", ["hedge_never_sent", "real_clock_read", "tasks_left_behind", "waiters_spin"]
)
def test_safeguards_are_missed(mutant: str) -> None:
    """A safeguard that is taken away shows within a few seeds."""
    assert any(wires.run_seed(seed, mutant).violations for seed in range(1, 9))


@pytest.mark.timeout(60)
def test_books_that_do_not_check_their_chain_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost updates would leave levels that never were."""
    monkeypatch.setattr(
        "perpbot.venues.okx.books.SequencedBook._follows", lambda _book, _row: True
    )
    plan = draw(1)
    faults = tuple(
        Fault(
            row="4", venue="okx", asset=asset, start_ns=START_NS + 3 * 10**9,
            stop_ns=plan.heal_ns, intensity=1.0, variant=0, numbers=(1,),
        )
        for asset in plan.assets
    )  # fmt: skip
    assert "okx" in plan.venues
    result = wires.run_seed(1, plan=msgspec.structs.replace(plan, faults=faults))
    assert any("a touch that never was" in text for text in result.violations)


def trace(hash_seed: str) -> str:
    """Return the trace of two seeds under a hash seed, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "perpbot", "chaos", "--tier", "B", "--seeds", "2", "--from", "5",
         "--jobs", "1", "--json"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
        timeout=100,
    )  # fmt: skip
    found: str = json.loads(done.stdout)["trace_hash"]
    return found


@pytest.mark.timeout(240)
def test_a_seed_gives_one_trace_under_any_hash_seed() -> None:
    """Every step of the loop, every record, every execution."""
    here = campaign()
    for seed in (5, 6):
        here.run(seed)
    assert trace("1") == trace("2") == here.trace_hash


def test_the_command_runs_tier_b() -> None:
    """With the keys of tier A, and rows of its own."""
    done = CliRunner().invoke(app, ["chaos", "--tier", "b", "--seeds", "1", "--json"])
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert (result["tier"], result["violations"]) == ("B", [])
    assert set(result["rows"]) == set(ROWS)


def test_a_halted_core_and_a_fault_of_ours_are_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that raises is overlooked; the plan is shrunk to what it needs."""

    def refuse(_journal: object, event: Event) -> int:
        if isinstance(event, ComponentFailed):
            return 0
        raise ValueError("the disk is gone")

    monkeypatch.setattr("perpbot.kernel.journal.writer.Journal.append", refuse)
    broken = wires.run_seed(3).violations
    assert any("the disk is gone" in text for text in broken)
    assert wires.shrink(3).faults == ()
