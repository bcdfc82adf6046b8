"""`perpbot journal export`: records as JSON lines or CSV, one after the other as they are read.

Nothing is left out or masked: no secret ever reaches a journal.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import msgspec

from perpbot.cli.journal import kinds_of, moment_ns
from perpbot.cli.output import Exit, UsageError, emit, say
from perpbot.cli.place import place_of
from perpbot.cli.progress import Progress
from perpbot.domain.errors import InvalidValue
from perpbot.kernel.journal.reading import JournalCursor
from perpbot.kernel.journal.record import Record
from perpbot.operations.explanation import clock_text

FORMATS = ("jsonl", "csv")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: kinds (all where empty), sequences and times, both ends included."""

    kinds: frozenset[str] = frozenset()
    first: int = 1
    last: int | None = None
    from_ns: int = 0
    to_ns: int | None = None
    limit: int | None = None

    def takes(self, record: Record) -> bool:
        """Whether a record is wanted."""
        return (
            (not self.kinds or record.kind in self.kinds)
            and record.ts_ns >= self.from_ns
            and (self.to_ns is None or record.ts_ns <= self.to_ns)
        )


def run_journal_export(
    kinds: Sequence[str],
    out: Path | None,
    form: str,
    *,
    first: int,
    last: int | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
    now_ns: int,
) -> int:
    """Write what the filters take to a file or standard output; with --json and a file its sum."""
    if form not in FORMATS:
        raise UsageError(f"--format was {form!r}, one of {', '.join(FORMATS)} was expected")
    wanted = Filter(
        kinds=kinds_of(kinds),
        first=first,
        last=last,
        from_ns=moment_ns(since, now_ns) if since else 0,
        to_ns=moment_ns(until, now_ns) if until else None,
        limit=limit,
    )
    records = selected(place_of(files, mode).journal, wanted, Progress("reading"))
    with nullcontext(sys.stdout) if out is None else out.open("w", newline="") as stream:
        count = _write(records, _writer(form, stream))
    if out is not None:
        if as_json:
            emit({"out": str(out), "format": form, "records": count})
        else:
            say(f"{count:,} records written to {out}")
    return Exit.OK


def selected(directory: Path, wanted: Filter, progress: Progress) -> Iterator[Record]:
    """Yield the records that a filter takes, of a journal that a node may be writing."""
    left = wanted.limit
    cursor = JournalCursor(directory, wanted.first - 1)
    while found := cursor.read():
        for record in found:
            progress.tick()
            if wanted.last is not None and record.sequence > wanted.last:
                return
            if wanted.takes(record):
                yield record
                left = None if left is None else left - 1
                if left == 0:
                    return


def _write(records: Iterator[Record], write: Callable[[Record, Any], None]) -> int:
    count = 0
    for record in records:
        try:
            content = msgspec.to_builtins(record.event())
        except InvalidValue:
            # Of another version, or the reason for looking: shown as it is.
            content = msgspec.to_builtins(msgspec.msgpack.decode(record.payload))
        write(record, content)
        count += 1
    return count


def _writer(form: str, stream: IO[str]) -> Callable[[Record, Any], None]:
    if form == "jsonl":

        def line(record: Record, content: Any) -> None:
            row = {
                "sequence": record.sequence,
                "ts_ns": record.ts_ns,
                "kind": record.kind,
                "data": content,
            }
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")

        return line
    table = csv.writer(stream)
    table.writerow(("sequence", "time", "kind", "data"))

    def row(record: Record, content: Any) -> None:
        data = json.dumps(content, ensure_ascii=False)
        table.writerow((record.sequence, clock_text(record.ts_ns), record.kind, data))

    return row
