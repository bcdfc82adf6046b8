"""`perpbot recover`: what a restart would find and do, and what a person has to decide before it.

It never sends an order. With `--dry-run` it changes nothing at all; without, it repairs a damaged
journal or passes over a record that cannot be folded, under the journal's lock.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from perpbot.app.known import read_known
from perpbot.app.rates import rates_of
from perpbot.app.recovery import Recovered, pass_over, recover, repair
from perpbot.app.restart.inquiry import inquire
from perpbot.app.restart.outlook import Outlook
from perpbot.app.restart.rehearsal import rehearse
from perpbot.cli.output import Exit, emit, fail, say, show
from perpbot.cli.place import Place, place_of
from perpbot.cli.progress import Progress
from perpbot.cli.recover_text import report_text
from perpbot.domain.errors import ConfigError, JournalCorrupt
from perpbot.kernel.clock import RealClock
from perpbot.kernel.fold import PoisonRecord
from perpbot.kernel.journal.files import records_size
from perpbot.kernel.journal.repair import RepairPlan, plan_repair
from perpbot.kernel.journal.survey import Survey, survey
from perpbot.kernel.journal.view import JournalView
from perpbot.operations.runfile import RunInfo, running

_LARGE_BYTES = 100_000_000
"""Of a journal whose check takes more than a moment."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the command found out; the keys of its JSON."""

    mode: str
    state_dir: str
    running: int | None
    """Process id of a node that runs here now."""
    journal: Survey
    repair: RepairPlan | None
    poison: dict[str, Any] | None
    recovered: dict[str, Any] | None
    markets_as_of_ns: int | None
    """When the instruments and accounts that the outlook uses were learned."""
    asked: dict[str, str] | None
    """What each venue answered to `--ask`; None where nobody was asked."""
    outlook: Outlook | None
    problem: str
    """What keeps a node from starting; empty where nothing does."""


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
    report = _look(place, node, ask=ask)
    if report.repair is not None and not dry_run and skip is None:
        _refuse_beside(node)
        _repair(place, report.repair, yes=yes, as_json=as_json)
        report = _look(place, node, ask=ask)
    if as_json:
        emit(_as_json(report))
    else:
        show(report_text(report, RealClock().now_ns()))
    return Exit.ERROR if report.problem else Exit.OK


def _as_json(report: Report) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(report)
    found = report.journal
    data["journal"] |= {"records": found.records, "newest": found.newest, "anchor": found.anchor}
    return data


# --- looking ---


def _look(place: Place, node: RunInfo | None, *, ask: bool) -> Report:
    directory = place.journal
    size = records_size(directory)
    if size > _LARGE_BYTES:
        say(f"checking {size / 1e6:,.0f} MB of journal")
    found = survey(directory)
    if node is not None:
        # What looks torn is a record that the node is about to finish.
        found = msgspec.structs.replace(found, torn=0)
    plan = plan_repair(found)
    recovered, poison, seconds = None, None, 0.0
    problem = "" if plan is None else f"the journal is damaged: {plan.damage}"
    if plan is None:
        progress = Progress("folding")
        try:
            recovered = recover(JournalView(directory), progress.tick)
        except PoisonRecord as record:
            poison, problem = record, str(record)
        except JournalCorrupt as damage:
            problem = str(damage)
        seconds = progress.seconds
    told = None if recovered is None else _told(recovered, seconds)
    outlook, as_of_ns, asked = None, None, None
    if recovered is not None:
        outlook, as_of_ns, asked = _outlook(place, recovered, ask=ask)
        problem = problem or (outlook.halted if outlook else "")
    return Report(
        mode=place.mode,
        state_dir=str(place.state),
        running=None if node is None else node.pid,
        journal=found,
        repair=plan,
        poison=None if poison is None else _named(poison),
        recovered=told,
        markets_as_of_ns=as_of_ns,
        asked=asked,
        outlook=outlook,
        problem=problem,
    )


def _told(recovered: Recovered, seconds: float) -> dict[str, Any]:
    return {
        "snapshot": recovered.snapshot,
        "records": recovered.records,
        "passed_over": list(recovered.passed_over),
        "refused_snapshot": recovered.refused_snapshot,
        "seconds": round(seconds, 3),
        "state_hash": recovered.state.digest(),
    }


def _named(poison: PoisonRecord) -> dict[str, Any]:
    return {
        "sequence": poison.sequence,
        "kind": poison.kind,
        "component": poison.component,
        "error": poison.error,
    }


def _outlook(
    place: Place, recovered: Recovered, *, ask: bool
) -> tuple[Outlook | None, int | None, dict[str, str] | None]:
    """Return what a restart would do, when its markets were known, and what venues answered."""
    now_ns = RealClock().now_ns()
    if ask:
        asked = inquire(place.configuration, recovered, say)
        return asked.outlook, now_ns, asked.answers
    known = read_known(place.state)
    if known is None:
        return None, None, None
    markets = known.markets(rates_of(place.configuration.settings))
    return rehearse(place.configuration.settings, markets, recovered, now_ns), known.ts_ns, None


# --- deciding ---


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
            raise ConfigError("a repair needs --yes where nobody can be asked")
        if input("Repair it now? [y/N] ").strip().lower() not in {"y", "yes"}:
            fail("nothing was changed", Exit.INTERRUPTED)
    moved = repair(place.journal, plan, quarantine, RealClock(), getpass.getuser())
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
        raise ConfigError("--skip decides something: it does not go together with --dry-run")
    if not reason:
        raise ConfigError("--skip needs --reason: it is journalled with your name")
    _refuse_beside(node)
    try:
        recover(JournalView(directory))
    except PoisonRecord as poison:
        if poison.sequence != sequence:
            fail(f"record {sequence} stops nothing: {poison}", Exit.USAGE)
        decision = pass_over(directory, poison, RealClock(), getpass.getuser(), reason)
        say(
            f"record {sequence} is passed over (decision {decision}); the kill switch is latched"
            " at level 1: nothing opens until you clear it with `perpbot kill --clear`"
        )
    else:
        fail(f"record {sequence} stops nothing: the whole journal can be folded", Exit.USAGE)
