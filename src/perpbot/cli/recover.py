"""`perpbot recover`: what a restart would find and do, and what a person has to decide before it.

It never sends an order. With `--dry-run` it changes nothing at all; without, it repairs a damaged
journal or passes over a record that cannot be folded, under the journal's lock.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from perpbot.app.recovery import pass_over, recover, repair
from perpbot.cli.output import Exit, UsageError, emit, fail, say, show
from perpbot.cli.place import Place, person, place_of
from perpbot.cli.recover_look import look
from perpbot.cli.recover_text import report_text
from perpbot.kernel.clock import RealClock
from perpbot.kernel.fold import PoisonRecord
from perpbot.kernel.journal.repair import RepairPlan
from perpbot.kernel.journal.view import JournalView
from perpbot.operations.runfile import RunInfo, running


def run_recover(
    *,
    dry_run: bool,
    ask: bool,
    skip: int | None,
    reason: str | None,
    yes: bool,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Show, and where asked to, repair; 0 when a restart would work, else 1."""
    place = place_of(files, mode)
    directory = place.journal
    node = running(place.state)
    if skip is not None:
        _skip(directory, node, skip, reason, dry_run=dry_run)
    report = look(place, node, ask=ask)
    if report.repair is not None and not dry_run and skip is None:
        _refuse_beside(node)
        _repair(place, report.repair, yes=yes, as_json=as_json)
        report = look(place, node, ask=ask)
    if as_json:
        emit(report.as_dict())
    else:
        show(report_text(report, RealClock().now_ns()))
    return Exit.ERROR if report.problem else Exit.OK


def _refuse_beside(node: RunInfo | None) -> None:
    if node is not None:
        fail(f"process {node.pid} runs here: stop it first", Exit.REFUSED)


def _repair(place: Place, plan: RepairPlan, *, yes: bool, as_json: bool) -> None:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    quarantine = place.state / f"quarantine-{stamp}"
    say(f"the journal is damaged: {plan.damage}")
    say(
        f"damaged files will be moved to {quarantine}; records {plan.first} to {plan.last} stay"
        + (
            "; nothing of the state is lost"
            if plan.complete
            else f"; {plan.lost} or more records are lost, so the kill switch is latched at level"
            " 1, and the venues decide what is true"
        )
    )
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError("a repair needs --yes where nobody can be asked")
        if input("Repair it now? [y/N] ").strip().lower() not in {"y", "yes"}:
            fail("nothing was changed", Exit.INTERRUPTED)
    moved = repair(place.journal, plan, quarantine, RealClock(), person())
    # The tables follow the journal by sequence number, and numbers of lost records come again.
    for name in ("records.db", "records.db-wal", "records.db-shm"):
        path = place.state / name
        if path.exists() and not plan.complete:
            path.rename(quarantine / name)
            moved = (*moved, name)
    say(f"moved aside: {', '.join(moved)}")


def _skip(
    directory: Path, node: RunInfo | None, sequence: int, reason: str | None, *, dry_run: bool
) -> None:
    if dry_run:
        raise UsageError("--skip decides something: it does not go together with --dry-run")
    if not reason:
        raise UsageError("--skip needs --reason: it is journalled with your name")
    _refuse_beside(node)
    try:
        recover(JournalView(directory))
    except PoisonRecord as poison:
        if poison.sequence != sequence:
            fail(f"record {sequence} stops nothing: {poison}", Exit.USAGE)
        decision = pass_over(directory, poison, RealClock(), person(), reason)
        say(
            f"record {sequence} is passed over (decision {decision}); the kill switch is latched"
            " at level 1: nothing opens until you clear it with `perpbot kill --clear`"
        )
    else:
        fail(f"record {sequence} stops nothing: the whole journal can be folded", Exit.USAGE)
