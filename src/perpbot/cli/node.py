"""`perpbot status`, `kill`, `health`: looking at a running node from outside, stopping it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from perpbot.cli.output import Exit, UsageError, emit, fail, say, show
from perpbot.cli.place import Place, person, place_of
from perpbot.execution.killswitch import EXIT, LEVELS
from perpbot.operations.killfile import KillOrder, write_order
from perpbot.operations.protection import Protection, table
from perpbot.operations.runfile import RunInfo, running
from perpbot.operations.statusfile import read_status
from perpbot.settings.fields import suggest

TAKEN_LIMIT_S = 5.0
STATUS_STALE_S = 15.0
_LOOK_S = 0.05


def run_of(place: Place) -> RunInfo:
    """Return the node that runs there; ends the command where none does."""
    info = running(place.state)
    if info is None:
        fail(
            f"no node runs in mode {place.mode} ({place.state}): `perpbot run` starts one, --mode"
            " and -c name another",
            Exit.NOT_RUNNING,
        )
    return info


def run_status(
    *,
    watch: bool,
    interval_s: float,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Say what the node holds; with `watch` again and again."""
    place = place_of(files, mode)
    while True:
        _status_once(place, as_json=as_json)
        if not watch:
            return Exit.OK
        time.sleep(interval_s)


def _status_once(place: Place, *, as_json: bool) -> None:
    info = run_of(place)
    status = read_status(place.state)
    if as_json:
        emit({"pid": info.pid, "console_url": info.console_url, "status": status})
        return
    show(f"running, process {info.pid}, mode {info.mode}, version {info.version}")
    if status is None:
        show("  no figures yet: it is still waiting for its venues")
        return
    for label, text in status_rows(status):
        show(f"  {label:<14} {text}")
    for leg in status.get("positions", {}).get("unowned", []):
        show(f"  {leg['text']}")
    rows = msgspec.convert(status.get("protection", []), list[Protection])
    if any(row.trades for row in rows):
        for line in table(rows):
            show(f"  {line}")


def status_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of a status file for people."""
    overview, health = status["overview"], status["health"]
    score = "unknown" if health["score"] is None else f"{health['score']:.0f} of 100"
    killed = overview["kill_level"]
    rows = [
        ("age", f"{max(time.time() - status['ts_ns'] / 1e9, 0):.0f} s"),
        ("health", score),
        ("quotes", str(overview["quotes"])),
        ("opportunities", str(overview["opportunities"])),
        ("pairs", f"{overview['pairs_open']} open, {overview['pairs_closed']} closed"),
        ("open orders", str(overview["open_orders"])),
        ("profit", f"{overview['realised_usd']} USD realised"),
        ("equity", f"{overview['equity_usd'] or 'unknown'} USD"),
        *_transferred(overview.get("transferred_usd", "0")),
        ("kill switch", f"level {killed}: {overview['kill_reason']}" if killed else "off"),
        *(
            ("HALTED", f"{rule}: {why} (perpbot risk)")
            for rule, why in overview.get("halts", {}).items()
        ),
    ]
    # A node of before the latches of venues is looked at, too.
    rows += [
        (f"kill {name}", f"level {kill['level']}: {kill['reason']}")
        for name, kill in overview.get("venue_kills", {}).items()
    ]
    rows += [(f"venue {name}", text) for name, text in overview["venues"].items()]
    return rows


def _transferred(usd: str) -> list[tuple[str, str]]:
    """Return a line where anything came in or went out since the books began."""
    return [("transferred", f"{usd} USD, neither profit nor loss")] if usd != "0" else []


def run_health(*, mode: str | None, as_json: bool, files: Sequence[Path] | None) -> int:
    """Exit 0 when the node works, 3 when none runs, 1 when it is ill or does not answer."""
    place = place_of(files, mode)
    info = run_of(place)
    status = read_status(place.state)
    age_s = None if status is None else time.time() - status["ts_ns"] / 1e9
    problem = ""
    if status is None or age_s is None:
        problem = "has no figures yet"
    elif age_s > STATUS_STALE_S:
        problem = f"last spoke {age_s:.0f} s ago, at most {STATUS_STALE_S:g} s is healthy"
    elif status["health"]["grade"] == "critical":
        problem = f"score is {status['health']['score']:.0f}"
    answer = {
        "pid": info.pid,
        "healthy": not problem,
        "problem": problem,
        "health": None if status is None else status["health"],
    }
    if as_json:
        emit(answer)
    else:
        show(problem or "healthy")
    return Exit.ERROR if problem else Exit.OK


def run_kill(
    level: int,
    reason: str,
    *,
    venue: str,
    clear: bool,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Stop the node, or one venue, from trading, by level; wait until it has taken the order."""
    place = place_of(files, mode)
    info = run_of(place)
    if venue:
        _check_venue(place, venue, level, clear=clear)
    order = KillOrder(level=level, reason=reason, actor=person(), clear=clear, venue=venue)
    # The file works without a console and without a network, and needs no token.
    path = write_order(place.state, order)
    until = time.monotonic() + TAKEN_LIMIT_S
    while path.exists():
        if time.monotonic() > until:
            say(f"process {info.pid} has not taken {path} in {TAKEN_LIMIT_S:g} s; it stays there")
            return Exit.TIMEOUT
        time.sleep(_LOOK_S)
    did = "cleared" if clear else f"level {level}: {LEVELS[level]}"
    did = f"{venue}, {did}" if venue else did
    if as_json:
        emit({"pid": info.pid, "taken": True, "did": did})
    else:
        show(f"taken by process {info.pid}: {did}")
    return Exit.OK


def _check_venue(place: Place, venue: str, level: int, *, clear: bool) -> None:
    """Raise `UsageError` for a venue that the node does not trade on, and for level 5.

    The node would take such an order for one that holds for all of it. What it is latched for can
    always be cleared.
    """
    overview = (read_status(place.state) or {}).get("overview", {})
    known = list(overview.get("venues", place.configuration.settings.enabled_venues))
    if clear:
        known += [name for name in overview.get("venue_kills", {}) if name not in known]
    if venue not in known:
        near = suggest(venue, known)
        raise UsageError(
            f"--venue was {venue[:40]!r}, one of {', '.join(known)} was expected{near}"
        )
    if level >= EXIT and not clear:
        raise UsageError(
            f"--level was {level}, 1 to {EXIT - 1} was expected with --venue: level {EXIT} ends"
            " the node"
        )
