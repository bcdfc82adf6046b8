"""`python -m tests.benchmarks [--json] [--only NAME] [--rounds N]`: the table of ratios.

Progress goes to standard error, the result to standard output. Exit code 1 when a line does not
hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.benchmarks import book, bus, feed, memory, order_bytes, scan, tick_to_order
from tests.benchmarks.measure import Effort, Row, say

BENCHMARKS: Mapping[str, Callable[[Effort], list[Row]]] = {
    "feed": feed.run,
    "bus": bus.run,
    "book": book.run,
    "scan": scan.run,
    "order_bytes": order_bytes.run,
    "tick_to_order": tick_to_order.run,
    "memory": memory.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run one (repeatable)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender (5)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the usual repetitions (1)"
    )
    options = parser.parse_args(arguments)
    effort = Effort(rounds=max(options.rounds, 1), scale=options.scale)
    rows: list[Row] = []
    for name in options.only or BENCHMARKS:
        say(f"bench: {name}")
        rows += BENCHMARKS[name](effort)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


def table(rows: Sequence[Row]) -> str:
    """Return the rows for people."""
    lines = [f"{'':24}{'ours':>12}{'contender':>12}  {'unit':10}{'ratio':>8}{'limit':>8}"]
    lines += [
        f"{row.name:24}{row.ours:>12,.5g}{row.contender:>12,.5g}  {row.unit:10}"
        f"{row.ratio:>8.3g}{row.limit:>8.3g}  {'holds' if row.holds else 'DOES NOT HOLD'}"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
