"""Asks for known weaknesses of the pinned packages, if the database can be asked.

`make check` must work on a train: without a network it says that it skipped the question. `make
audit` asks the same without a way out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROBE_URL = "https://pypi.org/pypi/pip/json"
PROBE_LIMIT_S = 3.0
LIMIT_S = 20.0
SKIPPED = "pip-audit: skipped: the advisory database cannot be reached"

Run = Callable[[list[str]], tuple[str, str]]


def reachable(url: str = PROBE_URL) -> bool:
    """Tell whether the database answers at once."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_LIMIT_S) as answer:  # noqa: S310 - https
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def ask(command: list[str]) -> tuple[str, str]:
    """Run pip-audit; return its two outputs. Raises `TimeoutExpired`."""
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=REPOSITORY
    )
    return ended.stdout, ended.stderr


def weaknesses(answer: Any) -> list[str]:
    """Return a line for each weakness in pip-audit's JSON."""
    return [
        f"{package['name']} {package['version']}: {found['id']},"
        f" mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for package in answer["dependencies"]
        for found in package.get("vulns", ())
    ]


def skipped(answer: Any) -> list[str]:
    """Return the packages about which pip-audit got no answer."""
    return [package["name"] for package in answer["dependencies"] if "skip_reason" in package]


def main(probe: Callable[[], bool] = reachable, run: Run = ask) -> int:
    """Return 1 for a known weakness; 0 for none, or where nobody could be asked."""
    if not probe():
        sys.stderr.write(f"{SKIPPED}\n")
        return 0
    requirements = ["--requirement", "requirements/core.txt", "--require-hashes", "--disable-pip"]
    program = str(Path(sys.executable).with_name("pip-audit"))
    try:
        out, complaint = run([program, "--format", "json", "--progress-spinner", "off",
                              *requirements])  # fmt: skip
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"{SKIPPED} (no answer in {LIMIT_S:g} s)\n")
        return 0
    try:
        answer = json.loads(out)
        found, unanswered = weaknesses(answer), skipped(answer)
    except (ValueError, KeyError, TypeError):
        last = complaint.strip().splitlines()[-1:] or ["it said nothing"]
        sys.stderr.write(f"{SKIPPED} ({last[0][:200]})\n")
        return 0
    if unanswered:
        # No answer is not a good one.
        sys.stderr.write(f"{SKIPPED} for {len(unanswered)} of {len(answer['dependencies'])}"
                         f" packages: {', '.join(unanswered[:5])} ...\n")  # fmt: skip
    for line in found:
        sys.stderr.write(f"{line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
