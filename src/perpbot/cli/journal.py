"""`perpbot journal` and `perpbot explain`: reading a node's memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perpbot.cli.output import Exit, UsageError, argument, emit, fail, show
from perpbot.cli.place import Place, place_of
from perpbot.cli.progress import Progress
from perpbot.domain.errors import InvalidValue, JournalCorrupt
from perpbot.domain.events import event_class
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal.reading import JournalCursor
from perpbot.kernel.journal.record import Record
from perpbot.kernel.journal.survey import Survey, survey
from perpbot.kernel.journal.view import JournalView
from perpbot.operations.explanation import clock_text, explain, ids_of, line
from perpbot.operations.runfile import running

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def records_of(directory: Path) -> Iterator[Record]:
    """Yield the whole records of a journal that a node may be writing."""
    cursor = JournalCursor(directory)
    while found := cursor.read():
        yield from found


def moment_ns(text: str, now_ns: int) -> int:
    """Read `10m`, `2h`, `1d` (ago) or an ISO time (UTC where it names no zone)."""
    if text[-1:] in _UNITS and text[:-1].isdigit():
        return now_ns - int(text[:-1]) * _UNITS[text[-1]] * SECOND
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"a time was {text!r}, such as 10m, 2h, 1d or 2026-01-31T12:00 was expected"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * SECOND)


def kinds_of(names: Sequence[str]) -> frozenset[str]:
    """Return the kinds that `--kind` names, in whatever case."""
    with argument("--kind"):
        return frozenset(event_class(name.upper()).kind for name in names)


def run_show(
    kinds: Sequence[str],
    since: str | None,
    pair: str | None,
    last: int | None,
    *,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
    now_ns: int,
) -> int:
    """Print records, one a line; with `--json` one JSON object a line."""
    wanted = kinds_of(kinds)
    from_ns = moment_ns(since, now_ns) if since else 0
    found = []
    for record in records_of(place_of(files, mode).journal):
        if wanted and record.kind not in wanted:
            continue
        if record.ts_ns < from_ns or (pair and pair not in set(ids_of(record.event()))):
            continue
        found.append(record)
        if last and len(found) > last:
            del found[0]
        if not last:
            _print(found.pop(), as_json=as_json)
    for record in found:
        _print(record, as_json=as_json)
    return Exit.OK


def _print(record: Record, *, as_json: bool) -> None:
    event = record.event()
    if not as_json:
        show(f"{record.sequence:>8} {clock_text(record.ts_ns)} {record.kind}  {line(event)}")
        return
    row = {
        "sequence": record.sequence,
        "ts_ns": record.ts_ns,
        "kind": record.kind,
        "data": msgspec.to_builtins(event),
    }
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def run_verify(*, mode: str | None, as_json: bool, files: Sequence[Path] | None) -> int:
    """Check every checksum and sequence number, and that every record can be read."""
    place = place_of(files, mode)
    found = survey(place.journal)
    progress = Progress("reading")
    problem = "; ".join(f"{h.file} at byte {h.offset}: {h.problem}" for h in found.holes)
    if not problem:
        problem = _unreadable(place, found, progress)
    torn = 0 if running(place.state) else found.torn
    answer = {
        "directory": str(place.journal),
        "records": found.records,
        "last_sequence": found.newest,
        "torn_bytes": torn,
        "intact": not problem,
        "problem": problem,
    }
    if as_json:
        emit(answer)
    elif problem:
        after = found.holes[0].after if found.holes else progress.count
        show(f"{place.journal}: damaged after record {after}: {problem}")
    else:
        rest = f"; the next start cuts off {torn} bytes of a write cut short" if torn else ""
        show(f"{place.journal}: {found.records} records, intact{rest}")
    return Exit.ERROR if problem else Exit.OK


def _unreadable(place: Place, found: Survey, progress: Progress) -> str:
    """Return which record does not fit this version, or ""."""
    first = found.runs[0][0] if found.runs else 1
    try:
        for record in JournalView(place.journal).records(first - 1):
            record.event()
            progress.tick()
    except (JournalCorrupt, InvalidValue) as error:
        return str(error)
    return ""


def run_explain(
    asked: str, *, mode: str | None, as_json: bool, files: Sequence[Path] | None
) -> int:
    """Tell the story of an id."""
    place = place_of(files, mode)
    story = explain(records_of(place.journal), asked)
    if story is None:
        fail(
            f"{asked} is not in the journal of {place.state}. It knows pairs (3-17), opportunities"
            " that were taken or refused, orders (32 hex digits) and reservations: see"
            " `perpbot journal show --kind PAIR_PLANNED --kind RISK_REJECTED`",
            Exit.USAGE,
        )
    if as_json:
        emit(msgspec.to_builtins(story))
        return Exit.OK
    show(f"{story.subject} {story.asked}")
    for told in story.told:
        show(f"  {clock_text(told.ts_ns)}  {told.kind.lower().replace('_', ' ')}: {told.text}")
    return Exit.OK
