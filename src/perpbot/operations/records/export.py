"""The tables as rows and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, TextIO

from sqlalchemy import Engine, select

from perpbot.domain.errors import InvalidValue
from perpbot.operations.records.tables import EXPORTED


def rows_of(engine: Engine, table: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, oldest first. Raises `InvalidValue` for an unknown one."""
    found = EXPORTED.get(table)
    if found is None:
        raise InvalidValue(f"table was {table!r}, one of {', '.join(EXPORTED)} was expected")
    with engine.connect() as connection:
        for row in connection.execute(select(found).order_by(found.c.ts_ns)):
            yield dict(row._mapping)  # noqa: SLF001 - the library's documented way to a mapping


def write_csv(engine: Engine, table: str, out: TextIO) -> int:
    """Write a table with a head line; return how many rows."""
    rows = rows_of(engine, table)
    first = next(rows, None)
    writer = csv.DictWriter(out, [column.name for column in EXPORTED[table].columns])
    writer.writeheader()
    if first is None:
        return 0
    writer.writerow(first)
    count = 1
    for row in rows:
        writer.writerow(row)
        count += 1
    return count
