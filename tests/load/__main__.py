"""`python -m tests.load journal|reconnects|soak [--json]`: figures of long runs.

Progress goes to standard error, the figures to standard output. Exit code 1 when a limit is not
kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.load import journal, reconnects, soak


def _journal(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        return journal.measure(
            Path(directory), records=options.records, left_open=options.left_open
        )


def _reconnects(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        return asyncio.run(reconnects.measure(Path(directory), reconnects=options.count))


def _soak(options: argparse.Namespace) -> dict[str, Any]:
    pace = soak.Pace(
        seconds=options.seconds,
        quotes_per_s=options.quotes,
        orders_per_s=options.orders,
        warm_up_s=options.warm_up,
        warm_up_at_most_s=2 * max(options.warm_up, soak.WARM_UP_S),
        history=options.history,
    )
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        return asyncio.run(soak.measure(Path(directory), pace))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one load; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    kinds = parser.add_subparsers(required=True)
    long_journal = kinds.add_parser(
        "journal", help="a long journal: written, folded, restarted from"
    )
    long_journal.add_argument("--json", action="store_true", help="print one JSON object")
    long_journal.add_argument("--records", type=int, default=1_000_000)
    long_journal.add_argument("--left-open", type=int, default=500, help="pairs open at the end")
    long_journal.add_argument("--directory", help="where to write (a temporary directory)")
    long_journal.set_defaults(run=_journal)
    cut_lines = kinds.add_parser("reconnects", help="cut lines leave nothing behind")
    cut_lines.add_argument("--json", action="store_true", help="print one JSON object")
    cut_lines.add_argument("--count", type=int, default=500)
    cut_lines.add_argument("--directory", help="where to write (a temporary directory)")
    cut_lines.set_defaults(run=_reconnects)
    long_run = kinds.add_parser("soak", help="quotes and orders at a pace; nothing grows")
    long_run.add_argument("--json", action="store_true", help="print one JSON object")
    long_run.add_argument("--seconds", type=float, default=600.0)
    long_run.add_argument("--quotes", type=float, default=5_000.0, help="a second")
    long_run.add_argument("--orders", type=float, default=100.0, help="a second")
    long_run.add_argument(
        "--warm-up", type=float, default=soak.WARM_UP_S, help="seconds before counting, at least"
    )
    long_run.add_argument("--history", type=int, default=1_000_000, help="records lived through")
    long_run.add_argument("--directory", help="where to write (a temporary directory)")
    long_run.set_defaults(run=_soak)
    options = parser.parse_args(arguments)
    figures = options.run(options)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        print("\n".join(f"{name:28}{value}" for name, value in figures.items()))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
