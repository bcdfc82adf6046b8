"""`perpbot journal` and `perpbot explain`: reading a node's memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perpbot.cli.output import Exit, emit, fail, show
from perpbot.cli.place import place_of
from perpbot.domain.errors import ConfigError, JournalCorrupt
from perpbot.domain.events import event_class
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal import JournalCursor, Record, read_records
from perpbot.operations.explanation import clock_text, explain, ids_of, line

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def records_of(directory: Path) -> Iterator[Record]:
    """Yield the whole records of a journal that a node may be writing."""
    cursor = JournalCursor(directory)
    while found := cursor.read():
        yield from found


def since_ns(text: str, now_ns: int) -> int:
    """Read `10m`, `2h`, `1d` (ago) or an ISO time (UTC where it names no zone)."""
    if text[-1:] in _UNITS and text[:-1].isdigit():
        return now_ns - int(text[:-1]) * _UNITS[text[-1]] * SECOND
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since was {text!r}, such as 10m, 2h, 1d or 2026-01-31T12:00 was expected"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * SECOND)


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
    wanted = {event_class(kind.upper()).kind for kind in kinds}
    from_ns = since_ns(since, now_ns) if since else 0
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
    directory = place_of(files, mode).journal
    count = last = 0
    problem = ""
    try:
        for record in read_records(directory):
            record.event()
            count, last = count + 1, record.sequence
    except (JournalCorrupt, ValueError) as error:
        problem = str(error)
    answer = {
        "directory": str(directory),
        "records": count,
        "last_sequence": last,
        "intact": not problem,
        "problem": problem,
    }
    if as_json:
        emit(answer)
    elif problem:
        show(f"{directory}: damaged after record {last}: {problem}")
    else:
        show(f"{directory}: {count} records, intact")
    return Exit.ERROR if problem else Exit.OK


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
