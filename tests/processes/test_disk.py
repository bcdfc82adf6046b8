"""Disks that fill up under a trading node: a small one of its own, and a limit on file sizes."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perpbot.kernel.journal.reading import read_records
from tests.processes.nursery import Child, Nursery
from tests.processes.stage import Stage, open_stage, report_of, until
from tests.processes.test_network import opened, trading

pytestmark = [pytest.mark.timeout(180)]

DISK_MB = 16
PART = 64 * 1024
MOUNT = 'mount -t tmpfs -o size=$1m none "$0" && shift && exec "$@"'


def within(place: Path) -> tuple[str, ...]:
    """The command that gives a process a small disk of its own at `place`; skips without it."""
    command = ("unshare", "--user", "--map-root-user", "--mount")
    mounted = (*command, "sh", "-c", MOUNT, str(place), str(DISK_MB))
    try:
        subprocess.run([*mounted, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    return mounted


def fill(filler: Path) -> None:
    """Take all space that is left, as another program would."""
    with filler.open("ab", buffering=0) as file:
        size = PART
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def kinds_since(stage: Stage, since_ns: int) -> list[str]:
    """The kinds of the records that were journalled since."""
    return [record.kind for record in read_records(stage.journal) if record.ts_ns > since_ns]


def not_closed(stage: Stage) -> int:
    """How many pairs were planned and have not ended."""
    kinds = kinds_since(stage, 0)
    return kinds.count("PAIR_PLANNED") - kinds.count("TRADE_COMPLETED")


@contextlib.asynccontextmanager
async def small_disk(directory: Path) -> AsyncIterator[tuple[Stage, Path]]:
    """A stage whose nodes keep their state on a small disk, and that disk as seen from here."""
    place = directory / "disk"
    place.mkdir()
    async with (
        Nursery(directory, within(place)) as nursery,
        open_stage(directory / "stage", nursery) as stage,
    ):
        stage.state, stage.root = place / "state", nursery.root
        yield stage, nursery.root / place.relative_to("/")


async def test_disk_fills_up(tmp_path: Path) -> None:
    """Nothing opens once the reserve is given up; what is open is closed; opens come back."""
    async with small_disk(tmp_path) as (stage, disk):
        child = await stage.start()
        await trading(stage, child)
        fill(disk / "filler")
        await until(
            lambda: not (stage.journal / "reserve").exists(), within_s=60, what="a full disk"
        )
        low_ns = time.time_ns()
        # An opportunity may have been taken on the record that met the full disk.
        await until(
            lambda: "RISK_REJECTED" in kinds_since(stage, low_ns), within_s=60, what="a refusal"
        )
        assert opened(stage, low_ns, time.time_ns()) == 0
        await until(lambda: not_closed(stage) == 0, within_s=60, what="an end of every pair")
        (disk / "filler").unlink()
        await until((stage.journal / "reserve").exists, within_s=60, what="the reserve")
        await trading(stage, child)
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0, child.words()
        found, _ = await stage.judge()
    assert found == []
    assert report_of(child)["flat"]


async def end_of(child: Child) -> str:
    """Wait for a node that ends by itself; return its words."""
    assert await child.wait() == 1
    return str(report_of(child)["failed"])


async def test_disk_stays_full(tmp_path: Path) -> None:
    """Without room for a record nothing is sent: the node ends and says why; later all is well."""
    async with small_disk(tmp_path) as (stage, disk):
        child = await stage.start()
        await trading(stage, child)

        def fuller() -> bool:
            fill(disk / "filler")
            return child.ended.done()

        await until(fuller, within_s=60, what="the end of the node")
        assert "no space left" in (await end_of(child)).lower()
        (disk / "filler").unlink()
        found, _ = await stage.judge()
    assert found == []


async def test_file_reaches_its_largest_size(nursery: Nursery, tmp_path: Path) -> None:
    """A record that fits in part is taken back, its order is not sent; the journal stays whole."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        child = await stage.start()
        await trading(stage, child)
        child.kill()
        await child.wait()
        (segment,) = stage.journal.glob("journal-*.log")
        limit = segment.stat().st_size + 30_000
        child = await stage.start(file_limit=limit)
        words = await end_of(child)
        assert "File too large" in words or "no space left" in words
        assert segment.stat().st_size <= limit
        found, _ = await stage.judge()
    assert found == []
