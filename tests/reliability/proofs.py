"""What is proven, by which command, and what its figures must keep to.

A proof is a command of ours that prints one JSON object. Its figures become lines of a table: what
is claimed, what was seen, and whether that is enough. Limits stand here and nowhere else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

Told = Mapping[str, Any]
LEAST_HITS = 20


class Figure(msgspec.Struct, frozen=True):
    """One line of the page."""

    claim: str
    seen: str
    holds: bool


class Scale(msgspec.Struct, frozen=True):
    """How much is run."""

    seeds: int
    wire_seeds: int
    kills: int
    soak_s: int
    mutant_seeds: int


CI = Scale(seeds=5_000, wire_seeds=300, kills=40, soak_s=20, mutant_seeds=500)
LONG = Scale(seeds=20_000, wire_seeds=1_000, kills=1_000, soak_s=600, mutant_seeds=500)
NIGHT = Scale(seeds=200_000, wire_seeds=10_000, kills=1_000, soak_s=3_600, mutant_seeds=500)
SCALES = {"ci": CI, "long": LONG, "night": NIGHT}


class Proof(msgspec.Struct, frozen=True):
    """A command, and how to read what it tells."""

    name: str
    command: Callable[[Scale], list[str]]
    read: Callable[[Told], list[Figure]]
    as_json: bool = True
    """Whether the command prints JSON; else `read` gets its output as `text`."""


def _perpbot(*words: object) -> list[str]:
    return [sys.executable, "-m", "perpbot", *map(str, words)]


def _python(module: str, *words: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, words)]


def count(number: float) -> str:
    """Write a count so that people can read it."""
    return f"{number:,}"


# --- seeds ---------------------------------------------------------------------------------------


def _seeds(told: Told) -> list[Figure]:
    violations, least = told["violations"], _least(told["rows"])
    rate = told["seeds"] / told["seconds"]
    return [
        Figure(
            f"Tier {told['tier']}: no invariant breaks",
            f"{len(violations)} violations in {count(told['seeds'])} seeds from {told['from']}, "
            f"{told['seconds']:.0f} s, {rate:.1f} seeds a second",
            not violations,
        ),
        Figure(
            f"Tier {told['tier']}: each row is hit at least {LEAST_HITS} times",
            f"{len(told['rows'])} rows, the least is row {least[0]} with {count(least[1])}",
            least[1] >= LEAST_HITS,
        ),
        *_reach(told),
        *_unhedged(told),
    ]


def _least(rows: Mapping[str, int]) -> tuple[str, int]:
    return min(rows.items(), key=lambda row: row[1])


def _reach(told: Told) -> Iterable[Figure]:
    if told.get("missing") is None:
        return
    missing = told["missing"]
    edges = sum(len(told.get(name, ())) for name in ("order_edges", "pair_edges"))
    yield Figure(
        f"Tier {told['tier']}: each edge of each state table and each kill point is taken",
        f"{edges} edges, {len(told['kill_points'])} kill points; missing: "
        + (", ".join(missing) or "none"),
        not missing,
    )


def _unhedged(told: Told) -> Iterable[Figure]:
    spells = told.get("unhedged_s")
    if not spells or not spells["healthy"]["count"]:
        return
    healthy, blocked = spells["healthy"], spells["blocked"]
    yield Figure(
        f"Tier {told['tier']}: unhedged for at most 2 s (p99) and 7 s when all is healthy",
        f"p50 {healthy['p50']} s, p99 {healthy['p99']} s, at most {healthy['max']} s "
        f"({count(healthy['count'])} spells)",
        healthy["p99"] <= 2.0 and healthy["max"] <= 7.0,
    )
    yield Figure(
        f"Tier {told['tier']}: otherwise within the bound of its seed; loss within its bound",
        f"at most {blocked['max']} s; worst loss {told['worst_loss_ratio']} of its bound",
        not told["violations"],
    )


def _mutants(told: Told) -> list[Figure]:
    killed = {name: seed for name, seed in told["mutants"].items() if seed is not None}
    last = max(killed.items(), key=lambda one: one[1], default=("none", 0))
    return [
        Figure(
            "Safeguards taken away are noticed within 500 seeds",
            f"{len(killed)} of {len(told['mutants'])} mutants, the last at seed {last[1]} "
            f"({last[0]})",
            len(killed) == len(told["mutants"]) >= 15,
        )
    ]


# --- processes and load --------------------------------------------------------------------------


def _kills(told: Told) -> list[Figure]:
    return [
        Figure(
            "kill -9: nothing told is lost, nothing executes twice, recovering twice is the same",
            f"{count(told['kills'])} kills, {count(told['records'])} records, {told['lost']} "
            f"lost, {count(told['orders'])} orders, {len(told['violations'])} violations",
            told["lost"] == 0 and not told["violations"] and told["kills"] > 0,
        )
    ]


def _journal(told: Told) -> list[Figure]:
    return [
        Figure(
            "Ready to trade within 15 s from a long journal, by snapshot",
            f"{told['ready_s']} s from {count(told['records'])} records",
            told["ready_s"] <= 15.0,
        ),
        Figure(
            "Full fold at 50,000 records/s or more",
            f"{count(round(told['fold_records_per_s']))} records/s",
            told["fold_records_per_s"] >= 50_000,
        ),
    ]


def _reconnects(told: Told) -> list[Figure]:
    return [
        Figure(
            "500 reconnects leave no task and no socket behind",
            f"{told['reconnects']} reconnects; tasks {told['tasks_before']} before, "
            f"{told['tasks_after']} after; descriptors {told['descriptors_before']} and "
            f"{told['descriptors_after']}",
            told["holds"] and told["reconnects"] >= 500,
        )
    ]


def _soak(told: Told) -> list[Figure]:
    return [
        Figure(
            "Load: no durable event lost, loop lag p99 under 50 ms, under 1 MB per million events",
            f"{told['orders_per_s']:.0f} orders and {told['quotes_per_s']:,} quotes a second for "
            f"{told['seconds']:.0f} s; {told['lost_records']} of {told['records']:,} records "
            f"lost, {len(told['orders_that_differ'])} of {told['orders_sent']:,} orders differ; "
            f"lag p99 {told['loop_lag_own_p99_ms']} ms ({told['loop_lag_p99_ms']} by the wall); "
            f"{told['memory_mb_per_million_events']} MB by million events, "
            f"{told['python_blocks_grown']:,} blocks of {told['python_blocks']:,} more at rest",
            bool(told["holds"]),
        )
    ]


# --- tests that are counted ----------------------------------------------------------------------


def _passed(claim: str, least: int) -> Callable[[Told], list[Figure]]:
    def read(told: Told) -> list[Figure]:
        found = re.search(r"(\d+) passed", told["text"])
        passed = int(found[1]) if found else 0
        broken = re.search(r"\d+ (failed|error)", told["text"])
        return [Figure(claim, f"{passed} passed", passed >= least and broken is None)]

    return read


def _pytest(*words: str) -> Callable[[Scale], list[str]]:
    return lambda _scale: _python("pytest", "-q", "--no-header", *words)


PROOFS = (
    Proof("seeds", lambda s: _perpbot("chaos", "--seeds", s.seeds, "--strict", "--json"), _seeds),
    Proof(
        "wires",
        lambda s: _perpbot("chaos", "--tier", "B", "--seeds", s.wire_seeds, "--json"),
        _seeds,
    ),
    Proof(
        "mutants",
        lambda s: _perpbot("chaos", "--mutant", "all", "--seeds", s.mutant_seeds, "--json"),
        _mutants,
    ),
    Proof(
        "incidents",
        _pytest("tests/incidents"),
        _passed("Scenarios named after public incidents, at least 30", 30),
        as_json=False,
    ),
    Proof(
        "processes",
        _pytest("tests/processes"),
        _passed("Process scenarios: every C row, every kill point, the guardian", 20),
        as_json=False,
    ),
    Proof(
        "kills",
        lambda s: _python("tests.processes.kills", "--count", s.kills, "--json"),
        _kills,
    ),
    Proof("journal", lambda _s: _python("tests.load", "journal", "--json"), _journal),
    Proof("reconnects", lambda _s: _python("tests.load", "reconnects", "--json"), _reconnects),
    Proof(
        "soak",
        lambda s: _python("tests.load", "soak", "--seconds", s.soak_s, "--json"),
        _soak,
    ),
)
