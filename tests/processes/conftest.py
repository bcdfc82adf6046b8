"""One nursery a session: it has imported everything, so that a node starts in a moment."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.processes.nursery import Nursery


@pytest_asyncio.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    """Where node processes come from; they end with it."""
    async with Nursery(tmp_path) as started:
        yield started


@pytest.fixture(autouse=True)
def no_leftover_process() -> Iterator[None]:
    """Fail a test that leaves a child process behind, and end that process."""
    yield
    left = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not pid:
            left = _children()
            for child in left:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            break
    assert not left, f"processes {left} were left behind"


def _children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return found
