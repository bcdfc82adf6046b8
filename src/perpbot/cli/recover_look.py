"""What `perpbot recover` finds out; nothing is changed by looking."""

from __future__ import annotations

from typing import Any

import msgspec

from perpbot.app.durability import may_lack
from perpbot.app.known import read_known
from perpbot.app.rates import rates_of
from perpbot.app.recovery import Recovered, recover
from perpbot.app.restart.inquiry import inquire
from perpbot.app.restart.outlook import Outlook
from perpbot.app.restart.rehearsal import rehearse
from perpbot.cli.output import say
from perpbot.cli.place import Place
from perpbot.cli.progress import Progress
from perpbot.domain.errors import JournalCorrupt, StateConflict
from perpbot.guardian.epoch import read_epoch
from perpbot.kernel.clock import RealClock
from perpbot.kernel.fold import PoisonRecord
from perpbot.kernel.journal.files import records_size
from perpbot.kernel.journal.repair import RepairPlan, plan_repair
from perpbot.kernel.journal.survey import Survey, survey
from perpbot.kernel.journal.view import JournalView
from perpbot.operations.runfile import RunInfo

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

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--json` shows it."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        found = self.journal
        data["journal"] |= {
            "records": found.records,
            "newest": found.newest,
            "anchor": found.anchor,
        }
        return data


def look(place: Place, node: RunInfo | None, *, ask: bool) -> Report:
    """Read everything, fold it, rehearse the restart; `ask` compares with the venues, too."""
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
        try:
            outlook, as_of_ns, asked = _outlook(place, recovered, ask=ask)
        except StateConflict as unclear:
            problem = str(unclear)
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
    settings = place.configuration.settings
    outlook = rehearse(
        settings,
        known.markets(rates_of(settings)),
        recovered,
        now_ns,
        read_epoch(place.state),
        may_lack=may_lack(place.state, settings.journal.sync),
    )
    return outlook, known.ts_ns, None
