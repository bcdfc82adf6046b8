"""Memory: what happens above each limit, and below them again."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import pytest

from perpbot.domain.errors import PerpbotError
from perpbot.operations import memory
from perpbot.operations.memory import MemoryExhausted, MemoryWatch, resident_bytes

MB = 1024 * 1024


class Machine:
    """A process whose memory is set by hand, and what the watch did about it."""

    def __init__(self) -> None:
        self.held_mb = 50
        self.strains: list[bool] = []
        self.alarms: list[str] = []
        self.failures: list[PerpbotError] = []
        self.watch = MemoryWatch(
            100,
            200,
            strain=self.strains.append,
            alarm=self.alarms.append,
            fail=self.failures.append,
            measure=lambda: self.held_mb * MB,
            interval_s=0.0,
        )

    def hold(self, megabytes: int) -> None:
        self.held_mb = megabytes
        self.watch.check()


def test_above_the_soft_limit_nothing_opens_until_it_is_well_below() -> None:
    """Told once; a little less is not yet enough."""
    machine = Machine()
    for held in (99, 100, 101, 150, 95, 101, 89, 80):
        machine.hold(held)
    assert machine.strains == [True, False]
    (alarm,) = machine.alarms
    assert "nothing opens above 100 MB" in alarm
    assert not machine.failures


def test_above_the_hard_limit_the_node_ends() -> None:
    """Once, with the numbers and the name of the setting."""
    machine = Machine()
    for held in (201, 300, 50):
        machine.hold(held)
    (failure,) = machine.failures
    assert isinstance(failure, MemoryExhausted)
    assert "201 MB of memory held, at most 200" in str(failure)
    assert "health.memory_hard_mb" in str(failure)
    assert "started anew" in machine.alarms[0]


async def test_the_task_looks_again_and_again() -> None:
    """Until it is cancelled."""
    machine = Machine()
    running = asyncio.create_task(machine.watch.run())
    await asyncio.sleep(0)
    machine.held_mb = 300
    while not machine.failures:  # noqa: ASYNC110 - a list of a fake
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_resident_memory_is_measured_or_its_peak(
    platform: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bytes, whatever the system counts in."""
    assert resident_bytes() > 10 * MB
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", platform)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resident_bytes() >= peak * unit
