"""Run the proofs and write what was seen into docs/reliability.md.

    python -m tests.reliability                     # as much as a release needs (about an hour)
    python -m tests.reliability --scale ci          # the size of every change
    python -m tests.reliability --only kills,soak   # these lines anew, the others stay

Exit code 1 when a figure does not hold. Figures of earlier runs are kept in
`.reliability.json` beside the page's marks, so that lines can be measured one by one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.reliability.page import put, table
from tests.reliability.proofs import PROOFS, SCALES, Figure, Proof, Scale, Told

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / ".reliability.json"


class Measured(msgspec.Struct):
    """What one proof gave, and when."""

    scale: str
    date: str
    seconds: float
    figures: list[Figure]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    given = _arguments(arguments)
    kept = _kept()
    for proof in PROOFS:
        if given.only and proof.name not in given.only:
            continue
        kept[proof.name] = _measure(proof, SCALES[given.scale], given.scale)
        KEPT.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    if given.write:
        _write(kept)
    broken = [figure for one in kept.values() for figure in one.figures if not figure.holds]
    for figure in broken:
        _say(f"does not hold: {figure.claim}: {figure.seen}")
    return 1 if broken else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES, default="long", help="how much is run")
    parser.add_argument("--only", help="proofs, with commas: " + ",".join(p.name for p in PROOFS))
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the page as it is"
    )
    given = parser.parse_args(arguments)
    given.only = given.only.split(",") if given.only else []
    unknown = set(given.only) - {proof.name for proof in PROOFS}
    if unknown:
        parser.error(f"--only: {', '.join(sorted(unknown))} is no proof")
    return given


def _measure(proof: Proof, scale: Scale, name: str) -> Measured:
    command = proof.command(scale)
    _say(f"{proof.name}: {' '.join(command[1:])}")
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    try:
        told: Told = json.loads(done.stdout) if proof.as_json else {"text": done.stdout}
        figures = proof.read(told)
    except (json.JSONDecodeError, KeyError) as error:
        failed = f"exit code {done.returncode}, output unreadable: {error!r}"
        figures = [Figure(proof.name, failed, holds=False)]
    for figure in figures:
        _say(f"  {'holds' if figure.holds else 'NOT'}: {figure.claim}: {figure.seen}")
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return Measured(name, today, round(seconds, 1), figures)


def _kept() -> dict[str, Measured]:
    if not KEPT.exists():
        return {}
    return msgspec.json.decode(KEPT.read_bytes(), type=dict[str, Measured])


def _write(kept: dict[str, Measured]) -> None:
    order = {proof.name: kept[proof.name] for proof in PROOFS if proof.name in kept}
    runs = ", ".join(
        f"{name} ({one.scale}, {one.date}, {one.seconds:.0f} s)" for name, one in order.items()
    )
    heading = f"On one machine with two cores, Python {sys.version.split()[0]}: {runs}."
    put(PAGE, table({name: one.figures for name, one in order.items()}, heading))


def _say(text: str) -> None:
    sys.stderr.write(f"reliability: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
