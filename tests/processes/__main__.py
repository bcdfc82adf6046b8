"""`python -m tests.processes`: every scenario with processes, several files beside each other.

They wait more than they work, so more of them run at once than there are cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST_FIRST = ("test_kills.py", "test_takeover.py", "test_damage.py", "test_ladder.py")


async def main(jobs: int) -> int:
    """Run all files; print one line each, and everything that a failing one said."""
    files = sorted(
        HERE.rglob("test_*.py"),
        key=lambda file: (file.name not in LONGEST_FIRST, file.name),
    )
    room = asyncio.Semaphore(jobs)
    codes = await asyncio.gather(*(_run(file, room) for file in files))
    return max(codes, default=0)


async def _run(file: Path, room: asyncio.Semaphore) -> int:
    async with room:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)),
            cwd=HERE.parents[1],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    code = process.returncode or 0
    text = said.decode(errors="replace").rstrip()
    if code:
        sys.stdout.write(f"{text}\n")
    summary = text.splitlines()[-1] if text else ""
    name, took_s = file.relative_to(HERE), time.monotonic() - began
    sys.stdout.write(f"processes: {name} {summary} ({took_s:.0f} s with start)\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.processes", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 2))
    sys.exit(asyncio.run(main(parser.parse_args().jobs)))
