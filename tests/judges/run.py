"""Runs the judges: clients that we did not write, against our loopback exchanges.

Each judge is a script with pinned packages of its own; its virtual environment is made under
`.judges/` on first use. The servers are launched here, a new set for each judge, so that no judge
sees what another left behind. `python tests/judges/run.py [NAME…]`; exits 1 when any check fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from perpbot.simulation.wire.process import launch

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".judges"
SEED = 2024
JUDGE_TIMEOUT_S = 300


class JudgeSpec(NamedTuple):
    """A judge: its script, its pins, the venue that it judges."""

    name: str
    script: str
    requirements: str
    venue: str


JUDGES = (
    JudgeSpec("ccxt-binance", "ccxt_judge.py", "judges-ccxt.txt", "binance"),
    JudgeSpec("ccxt-okx", "ccxt_judge.py", "judges-ccxt.txt", "okx"),
    JudgeSpec("ccxt-hyperliquid", "ccxt_judge.py", "judges-ccxt.txt", "hyperliquid"),
    JudgeSpec("binance-sdk", "binance_sdk_judge.py", "judges-binance-sdk.txt", "binance"),
    JudgeSpec(
        "hyperliquid-sdk",
        "hyperliquid_sdk_judge.py",
        "judges-hyperliquid-sdk.txt",
        "hyperliquid",
    ),
)


def environment(requirements: Path) -> Path:
    """Return the interpreter of an environment with exactly these pins, made where missing."""
    pins = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = ENVIRONMENTS / f"{requirements.stem.removeprefix('judges-')}-{pins}"
    python = place / "bin" / "python"
    if (place / ".complete").exists():
        return python
    print(f"judges: making {place.relative_to(ROOT)}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run(
        [
            *(str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"),
            *("install", "-q", "--require-hashes", "-r", str(requirements)),
        ],
        check=True,
    )
    (place / ".complete").touch()
    return python


async def judge(spec: JudgeSpec, python: Path) -> bool:
    """Run one judge against a server of its own; tell whether it was content."""
    servers = await launch([spec.venue], seed=SEED)
    try:
        address = msgspec.json.encode(servers.server(spec.venue)).decode()
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(ROOT / "tests" / "judges" / spec.script),
            address,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        )
        try:
            async with asyncio.timeout(JUDGE_TIMEOUT_S):
                return await process.wait() == 0
        except TimeoutError:
            process.kill()
            await process.wait()
            print(f"FAIL {spec.name}: no end after {JUDGE_TIMEOUT_S} s", flush=True)
            return False
    finally:
        await servers.stop()


def main(names: list[str]) -> int:
    """Run the judges of `names`, or all; return the exit code."""
    known = {spec.name for spec in JUDGES}
    if unknown := set(names) - known:
        print(f"unknown judges {sorted(unknown)}; there are {sorted(known)}", file=sys.stderr)
        return 2
    unhappy: list[str] = []
    chosen = [spec for spec in JUDGES if not names or spec.name in names]
    for spec in chosen:
        print(f"judges: {spec.name}", flush=True)
        try:
            python = environment(ROOT / "requirements" / spec.requirements)
        except subprocess.CalledProcessError as error:
            print(f"FAIL {spec.name}: its environment could not be made: {error}", flush=True)
            unhappy.append(spec.name)
            continue
        if not asyncio.run(judge(spec, python)):
            unhappy.append(spec.name)
    print(f"judges: {len(chosen) - len(unhappy)} passed, {len(unhappy)} failed", flush=True)
    if unhappy:
        print(f"judges: failed: {', '.join(unhappy)}", flush=True)
    return 1 if unhappy else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
