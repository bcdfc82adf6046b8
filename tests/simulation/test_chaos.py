"""The node under chaos: seeds, the corpus of seeds that failed once, and the teeth."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from perpbot.cli.main import app
from perpbot.domain.errors import InvalidValue
from perpbot.research.chaos.campaign import Campaign, hunt
from perpbot.research.chaos.mutants import MUTANTS, mutated
from perpbot.research.chaos.plan import ROWS, draw
from perpbot.research.chaos.run import run_seed, shrink
from perpbot.simulation.venue import SimulatedVenue
from tests.simulation.pythons import HASH_SEEDS, found, trace

CORPUS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.timeout(120)
@pytest.mark.no_cover
def test_no_invariant_breaks() -> None:
    """Seeds in a row: nothing is lost, doubled, left unhedged or left over."""
    campaign = Campaign()
    for seed in range(1, 61):
        campaign.run(seed)
    assert campaign.violations == []
    assert campaign.counters.kill_points, "no seed killed the node"
    missed = [row for row, hits in campaign.rows().items() if not hits]
    assert missed == []


@pytest.mark.parametrize("seed", CORPUS)
def test_corpus(seed: int) -> None:
    """What failed once stays repaired."""
    assert run_seed(seed).violations == ()


# Near which seed a mutant was caught last (`perpbot chaos --mutant all`).
CAUGHT_AT = {
    "adjust_on_first_sight": 15,
    "empty_is_flat": 54,
    "gate_passes_bad_quotes": 12,
    "kill_switch_not_persisted": 102,
    "not_found_is_rejected": 65,
    "old_grid_kept": 15,
    "transfers_are_losses": 34,
}


@pytest.mark.timeout(300)
@pytest.mark.no_cover
@pytest.mark.parametrize(("mutant", "first"), [(name, CAUGHT_AT.get(name, 1)) for name in MUTANTS])
def test_a_missing_safeguard_is_caught(mutant: str, first: int) -> None:
    """The checkers have teeth: within 500 seeds, mostly near one that caught it before."""
    found = hunt(mutant, [*range(first, first + 10), *range(1, 501)])
    assert found.killed_at is not None
    assert found.text


def test_a_failing_seed_is_shrunk_to_the_faults_that_it_needs() -> None:
    """Faults that have nothing to do with it are taken out; what is left still fails."""
    with mutated("kill_switch_not_persisted"):
        seed = next(s for s in range(100, 400) if {"21", "kill"} <= draw(s).rows and _forgets(s))
        small = shrink(seed)
        assert {"21", "kill"} <= {fault.row for fault in small.faults}
        assert run_seed(seed, plan=small).violations
        for fault in small.faults:
            rest = tuple(other for other in small.faults if other is not fault)
            assert not run_seed(seed, plan=msgspec.structs.replace(small, faults=rest)).violations
    assert len(small.faults) < len(draw(seed).faults)
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
    assert len(MUTANTS) >= 22


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
    traces = {trace(Path(sys.executable), hash_seed, seeds=4) for hash_seed in HASH_SEEDS}
    assert len(traces) == 1


def test_other_interpreters_are_found_by_what_they_say(tmp_path: Path) -> None:
    """A name that cannot be run, or is another version, is none."""
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3.12").chmod(0o700)
    assert found(["3.12"], path=str(tmp_path), roots=()) == {}
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / f"python{own}").symlink_to(sys.executable)
    assert list(found([own, "3.12"], path=str(tmp_path), roots=())) == [own]


def test_the_command_reports_in_json() -> None:
    """The keys of the contract, the rows that were hit, how long nets stayed open."""
    done = CliRunner().invoke(
        app, ["chaos", "--seeds", "2", "--from", "5", "--row", "6", "--json", "--jobs", "1"]
    )
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["seeds"] == 2
    assert result["tier"] == "A"
    assert result["violations"] == []
    assert set(result["rows"]) == set(ROWS)
    assert result["mutants"] == {}
    assert len(result["trace_hash"]) == 64
    assert set(result["unhedged_s"]) == {"healthy", "blocked"}
    assert result["unhedged_s"]["healthy"]["count"] > 0
    assert result["missing"] == []
    assert result["reservation_edges"]


def test_a_strict_run_fails_when_something_was_not_hit() -> None:
    """One seed cannot hit everything: each thing that is missing is named."""
    done = CliRunner().invoke(app, ["chaos", "--seeds", "1", "--strict"])
    assert done.exit_code == 1
    assert "0 violations" in done.stdout
    assert "missing: kill point before append ORDER_FILLED" in done.stdout


def test_a_campaign_ends_when_its_time_is_over() -> None:
    """It says how many seeds were run, and does not miss what the others would have hit."""
    done = CliRunner().invoke(
        app, ["chaos", "--seeds", "9", "--within", "0.001", "--strict", "--jobs", "1", "--json"]
    )
    assert done.exit_code == 0
    assert "after 1 of 9 seeds" in done.stderr
    result = json.loads(done.stdout)
    assert (result["seeds"], result["missing"]) == (1, [])


def test_the_command_reports_for_people() -> None:
    """A line a row; a mutant that is caught ends with 0, one that survives with 1."""
    runner = CliRunner()
    plain = runner.invoke(app, ["chaos", "--seeds", "1"])
    assert plain.exit_code == 0
    assert "0 violations" in plain.stdout
    caught = runner.invoke(app, ["chaos", "--seeds", "3", "--mutant", "transfers_unheard"])
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
        (["--mutant", "all", "--within", "9"], "--within ends"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(options: list[str], text: str) -> None:
    """Usage errors end with 2 and say what would be right."""
    done = CliRunner().invoke(app, ["chaos", "--seeds", "1", *options])
    assert done.exit_code == 2
    assert text in done.output
