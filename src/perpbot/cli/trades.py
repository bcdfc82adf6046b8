"""`perpbot trades export`: trades, orders, fills, transfers and equity as CSV."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from perpbot.cli.output import Exit, emit, fail
from perpbot.cli.place import place_of
from perpbot.operations.records.export import rows_of, write_csv
from perpbot.operations.records.recorder import TradeRecorder
from perpbot.operations.records.tables import EXPORTED


def run_export(
    table: str,
    form: str,
    out: Path | None,
    *,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Bring the tables up to the journal, then write one; with --json and a file tell its sum."""
    if form != "csv":
        fail(f"--format was {form!r}, csv was expected", Exit.USAGE)
    if table not in EXPORTED:
        fail(f"--table was {table!r}, one of {', '.join(EXPORTED)} was expected", Exit.USAGE)
    place = place_of(files, mode)
    recorder = TradeRecorder(place.state / "records.db", place.journal)
    try:
        recorder.catch_up()
        if out is not None:
            with out.open("w", newline="") as file:
                rows = write_csv(recorder.engine, table, file)
            if as_json:
                emit({"out": str(out), "format": form, "table": table, "rows": rows})
        elif as_json:
            emit(list(rows_of(recorder.engine, table)))
        else:
            write_csv(recorder.engine, table, sys.stdout)
    finally:
        recorder.close()
    return Exit.OK
