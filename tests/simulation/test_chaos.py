"""The node under chaos: seeds, the corpus of seeds that failed once, and the teeth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perpbot.cli.main import app
from perpbot.domain.errors import InvalidValue
from perpbot.research.chaos.campaign import Campaign
from perpbot.research.chaos.mutants import MUTANTS, mutated
from perpbot.research.chaos.plan import ROWS, draw
from perpbot.research.chaos.run import run_seed, shrink
from perpbot.simulation.venue import SimulatedVenue

CORPUS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.timeout(120)
def test_no_invariant_breaks() -> None:
    """Seeds in a row: nothing is lost, doubled, left unhedged or left over."""
    campaign = Campaign()
    for seed in range(1, 81):
        campaign.run(seed)
    assert campaign.violations == []
    assert campaign.counters.kill_points, "no seed killed the node"
    missed = [row for row, hits in campaign.rows().items() if not hits]
    assert missed == []


@pytest.mark.parametrize("seed", CORPUS)
def test_corpus(seed: int) -> None:
    """What failed once stays repaired."""
    assert run_seed(seed).violations == ()


# Near which seed a mutant was caught last; 500 seeds are allowed (`perpbot chaos --mutant all`).
CAUGHT_AT = {
    "adjust_on_first_sight": 13,
    "cached_quote_opens": 55,
    "empty_is_flat": 35,
    "ids_repeat_after_restart": 11,
    "kill_switch_not_persisted": 180,
    "not_found_is_rejected": 180,
    "orders_never_asked_for": 10,
    "retry_without_proof": 10,
    "timeout_is_failure": 102,
}


@pytest.mark.parametrize(("mutant", "first"), [(name, CAUGHT_AT.get(name, 1)) for name in MUTANTS])
def test_a_missing_safeguard_is_caught(mutant: str, first: int) -> None:
    """The checkers have teeth: each mutant is caught near a seed that caught it before."""
    campaign = Campaign(mutant)
    caught = next((seed for seed in range(first, first + 10) if campaign.run(seed)), None)
    assert caught is not None
    assert campaign.passed
    assert f"--mutant {mutant}" in campaign.replay_line(caught)


def test_a_failing_seed_is_shrunk_to_the_faults_that_it_needs() -> None:
    """Faults that have nothing to do with it are taken out; what is left still fails."""
    with mutated("kill_switch_not_persisted"):
        seed = next(s for s in range(150, 400) if {"21", "kill"} <= draw(s).rows and _forgets(s))
        small = shrink(seed)
        assert {fault.row for fault in small.faults} == {"21", "kill"}
        assert run_seed(seed, plan=small).violations
    assert "row 21" in " ".join(map(str, small.faults))


def _forgets(seed: int) -> bool:
    return bool(run_seed(seed).violations)


def test_mutants_leave_no_trace() -> None:
    """What a mutant takes away is back after it, whatever happened meanwhile."""
    whole = SimulatedVenue.__dict__["_unknown"]
    with mutated("blind_resend"):
        assert SimulatedVenue.__dict__["_unknown"] is not whole
    assert SimulatedVenue.__dict__["_unknown"] is whole
    with pytest.raises(InvalidValue, match="was expected"):
        run_seed(1, "no such thing")
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_row_can_be_asked_for(row: str) -> None:
    """A plan contains the row that was asked for, within the chaos phase."""
    plan = draw(7, row)
    found = [fault for fault in plan.faults if fault.row == row]
    assert found
    assert all(fault.start_ns < fault.stop_ns <= plan.heal_ns for fault in found)
    assert draw(7, row) == plan


def test_a_seed_is_the_same_under_every_hash_seed() -> None:
    """Two processes with different hash seeds give the same trace."""
    program = "from perpbot.cli.main import main; main()"
    options = ["chaos", "--seeds", "4", "--from", "20", "--json"]
    traces = []
    for hash_seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program, *options],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        )
        traces.append(json.loads(done.stdout)["trace_hash"])
    assert traces[0] == traces[1]


def test_the_command_reports_in_json() -> None:
    """The keys of the contract, and the rows that were hit."""
    done = CliRunner().invoke(
        app, ["chaos", "--seeds", "2", "--from", "5", "--row", "6", "--json"]
    )
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["seeds"] == 2
    assert result["tier"] == "A"
    assert result["violations"] == []
    assert set(result["rows"]) == set(ROWS)
    assert result["mutants"] == {}
    assert len(result["trace_hash"]) == 64


def test_the_command_reports_for_people() -> None:
    """A line a row; a mutant that is caught ends with 0, one that survives with 1."""
    runner = CliRunner()
    plain = runner.invoke(app, ["chaos", "--seeds", "1"])
    assert plain.exit_code == 0
    assert "0 violations" in plain.stdout
    caught = runner.invoke(app, ["chaos", "--seeds", "3", "--mutant", "dedupe_off"])
    assert caught.exit_code == 0
    assert "caught at seed" in caught.stdout
    survived = runner.invoke(
        app, ["chaos", "--seeds", "1", "--from", "2", "--mutant", "kill_switch_not_persisted"]
    )
    assert survived.exit_code == 1
    assert "NOT CAUGHT" in survived.stdout


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tier", "B", "--row", "33"], "--row was"),
        (["--tier", "Z"], "A or B"),
        (["--row", "99"], "--row was"),
        (["--mutant", "none"], "--mutant was"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(options: list[str], text: str) -> None:
    """Usage errors end with 2 and say what would be right."""
    done = CliRunner().invoke(app, ["chaos", "--seeds", "1", *options])
    assert done.exit_code == 2
    assert text in done.output
