"""Reads a recorded cross-venue tape of best bids and asks, row by row.

Format: csv or csv.gz with the header `recv_ts,venue,symbol,bid,bid_size,ask,ask_size[,exch_ts]`,
times in unix seconds (kept to the microsecond). A row that cannot be used is refused with its file
and line and counted by reason, and the reading goes on; a wrong header, or a tape without one
usable row, raises `InvalidValue`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import parse_asset

COLUMNS = ("recv_ts", "venue", "symbol", "bid", "bid_size", "ask", "ask_size")
_EXCHANGE_TIME = "exch_ts"
_KEPT_PROBLEMS = 20
_INFINITY = float("inf")


class TapeRow(NamedTuple):
    """One best bid and ask; prices and base coins as floats."""

    ts_ns: int
    venue: str
    asset: str
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    exch_ns: int
    """The venue's own time; 0 where it was not recorded."""


class Tape:
    """One tape. Iterate it; the counts are complete when the iteration ends.

    `venues` maps the tape's venue names to ours; rows of other venues are passed over and counted
    in `unmapped`.
    """

    def __init__(self, path: Path, venues: Mapping[str, str]) -> None:
        if not venues:
            raise InvalidValue("venue map was empty, such as binance_usdm=binance was expected")
        self.path = path
        self._venues = dict(venues)
        self._reset()

    def _reset(self) -> None:
        self.rows = 0
        self.unmapped = 0
        self.refused: dict[str, int] = {}
        """Rows that could not be used, by reason."""
        self.problems: list[str] = []
        """The first of them, each with file and line."""

    def __iter__(self) -> Iterator[TapeRow]:
        self._reset()
        try:
            with _open(self.path) as lines:
                yield from self._read(lines)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InvalidValue(f"{self.path}: broken gzip file: {error}") from error
        if not self.rows:
            raise InvalidValue(
                f"{self.path}: no usable row ({self._why_empty()}); venues of the map: "
                f"{', '.join(sorted(self._venues))}"
            )

    def _read(self, lines: TextIO) -> Iterator[TapeRow]:
        width = self._header(lines.readline())
        keys = _Keys(self._venues)
        last_ns = 0
        for number, line in enumerate(lines, start=2):
            cells = line.rstrip("\r\n").split(",")
            if len(cells) != width:
                if line.strip():
                    self._refuse("column_count", number, f"{len(cells)} columns, {width} expected")
                continue
            key = keys.get(cells[1], cells[2])
            if key is None:
                self.unmapped += 1
                continue
            venue, asset = key
            if not asset:
                self._refuse("symbol", number, f"symbol was {cells[2]!r}")
                continue
            try:
                seconds, bid, bid_size, ask, ask_size = (
                    float(cells[0]),
                    float(cells[3]),
                    float(cells[4]),
                    float(cells[5]),
                    float(cells[6]),
                )
                told = cells[7] if width > len(COLUMNS) else ""
                exchange_s = float(told) if told else 0.0
            except ValueError as error:
                self._refuse("not_a_number", number, str(error))
                continue
            if not (
                0.0 < bid < ask < _INFINITY
                and 0.0 < bid_size < _INFINITY
                and 0.0 < ask_size < _INFINITY
                and 0.0 < seconds < _INFINITY
                and 0.0 <= exchange_s < _INFINITY
            ):
                reason = _reason(seconds, exchange_s, (bid, bid_size, ask, ask_size))
                self._refuse(reason, number, line.strip())
                continue
            ts_ns = round(seconds * 1e6) * 1000
            if ts_ns < last_ns:
                self._refuse("out_of_order", number, f"recv_ts {cells[0]} after a later row")
                continue
            last_ns = ts_ns
            self.rows += 1
            exch_ns = round(exchange_s * 1e6) * 1000
            yield TapeRow(ts_ns, venue, asset, bid, bid_size, ask, ask_size, exch_ns)

    def _header(self, line: str) -> int:
        names = tuple(line.strip().removeprefix("\ufeff").split(","))
        if names not in (COLUMNS, (*COLUMNS, _EXCHANGE_TIME)):
            raise InvalidValue(
                f"{self.path}:1: header was {line.strip()[:120]!r}, "
                f"{','.join(COLUMNS)}[,{_EXCHANGE_TIME}] was expected"
            )
        return len(names)

    def _refuse(self, reason: str, number: int, detail: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(f"{self.path}:{number}: {reason}: {detail[:120]}")

    def _why_empty(self) -> str:
        counts = dict(self.refused)
        if self.unmapped:
            counts["unmapped venue"] = self.unmapped
        return (
            ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items())) or "empty"
        )


class _Keys:
    """Venue and asset of a row's spellings, read once each. An unreadable symbol gives ''."""

    def __init__(self, venues: Mapping[str, str]) -> None:
        self._venues = venues
        self._known: dict[tuple[str, str], tuple[str, str] | None] = {}

    def get(self, venue: str, symbol: str) -> tuple[str, str] | None:
        key = (venue, symbol)
        if key in self._known:
            return self._known[key]
        ours = self._venues.get(venue)
        found = None if ours is None else (ours, _asset(symbol))
        # Only what names a market is kept: garbage must not fill the memory.
        if found is not None and found[1]:
            self._known[key] = found
        return found


def _asset(symbol: str) -> str:
    try:
        return parse_asset(symbol)
    except InvalidValue:
        return ""


def _reason(seconds: float, exchange_s: float, numbers: tuple[float, float, float, float]) -> str:
    every = (seconds, exchange_s, *numbers)
    if not all(math.isfinite(number) for number in every):
        return "not_finite"
    if min(every) < 0.0:
        return "negative"
    if seconds == 0.0 or min(numbers) == 0.0:
        return "zero"
    return "locked" if numbers[0] == numbers[2] else "crossed"


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="\n")
    return path.open(encoding="utf-8", errors="replace", newline="\n")
