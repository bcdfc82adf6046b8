"""Heartbeats from the core's own step; what they cost when they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perpbot.app.lifeline import Lifeline
from perpbot.domain.events import AlertFired, Event
from perpbot.guardian.epoch import Epoch, raise_epoch
from perpbot.guardian.heartbeat import read_beat
from perpbot.guardian.pulse import TakenOver
from perpbot.guardian.settings import GuardianSettings
from perpbot.guardian.turns import TurnGuard
from perpbot.kernel.bus import BusHalted, EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.operations.servicemanager import ServiceManager


class FakeCore:
    """As much of a core as a lifeline hangs on."""

    epoch = 4

    def __init__(self, time: VirtualTime) -> None:
        self.clock = time
        self.halts: list[BaseException] = []
        self.bus = EventBus(time, on_halt=self.halts.append)
        self.said: list[Event] = []
        self.bus.subscribe(AlertFired, self.said.append)


class Manager(ServiceManager):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__({})
        self.words: list[str] = []

    def _say(self, text: str) -> None:
        self.words.append(text)


class Scene:
    """A lifeline on a fake core in virtual time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = VirtualTime(1_000 * SECOND)
        self.core = FakeCore(self.time)
        self.manager = Manager()
        self.turns = TurnGuard(self.time.monotonic_ns)
        self.line = Lifeline(
            directory,
            GuardianSettings(),
            run="1-1",
            turns=self.turns,
            manager=self.manager,
            clock_ns=self.time.monotonic_ns,
        )

    def begin(self) -> None:
        """Beat from now on."""
        core: Any = self.core
        self.line.begin(core, self.time)

    def wait(self, seconds: float) -> None:
        """Let the timers run."""
        self.time.run_until(self.time.now_ns() + int(seconds * SECOND))

    def stand_still(self, seconds: float) -> None:
        """Stop the process; the guardian does not."""
        self.time.advance(self.time.now_ns() + int(seconds * SECOND))

    def take_over(self) -> None:
        """Do what a guardian does."""
        raise_epoch(
            self.directory, Epoch(number=5, run_epoch=4, at_ns=1, reason="no heartbeat for 10 s")
        )

    @property
    def beat_ns(self) -> int:
        """When it last beat."""
        beat = read_beat(self.directory)
        assert beat is not None
        return beat.at_ns


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene; its files are closed after it."""
    made = Scene(tmp_path)
    yield made
    made.line.end(in_order=False)
    made.turns.close()


def test_it_beats_while_the_core_works_and_no_longer(scene: Scene) -> None:
    """Twice a second, and systemd hears each; a halted core is silent."""
    scene.begin()
    scene.wait(10)
    assert scene.time.now_ns() - scene.beat_ns <= SECOND // 2
    assert scene.manager.words[0] == "READY=1"
    assert scene.manager.words.count("WATCHDOG=1") == 20
    last_ns = scene.beat_ns

    scene.core.bus.halt(RuntimeError("broken"))
    scene.wait(10)

    assert scene.beat_ns == last_ns
    assert scene.manager.words.count("WATCHDOG=1") == 20


def test_a_core_that_is_taken_over_halts_at_its_next_step(scene: Scene) -> None:
    """The heartbeat itself finds out."""
    scene.begin()
    scene.wait(1)
    scene.take_over()
    scene.stand_still(20)

    with pytest.raises(BusHalted):
        scene.wait(1)

    assert isinstance(scene.core.halts[0], TakenOver)
    with pytest.raises(TakenOver):
        scene.line.check()


def test_a_gap_of_the_loop_is_seen_before_anything_goes_on(scene: Scene) -> None:
    """The selector asks; what waits in an adapter never runs."""
    scene.begin()
    scene.turns.select(0)
    assert scene.core.halts == []
    scene.stand_still(6)
    scene.turns.select(0)
    assert scene.core.halts == []
    assert scene.beat_ns == scene.time.now_ns()  # so that a guardian about to act sees it
    scene.take_over()
    scene.stand_still(20)

    scene.turns.select(0)

    assert isinstance(scene.core.halts[0], TakenOver)


def test_a_heartbeat_that_cannot_be_written_raises_one_alarm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And systemd still hears that the core lives."""
    scene.begin()

    def full(*_: object) -> int:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        scene.wait(3)
        scene.line.check()
    scene.wait(1)
    assert scene.beat_ns > 0

    (alert,) = scene.core.said
    assert isinstance(alert, AlertFired)
    assert alert.name == "heartbeat_not_written"
    assert scene.manager.words.count("WATCHDOG=1") == 8


def test_a_takeover_during_the_start_stops_it(scene: Scene) -> None:
    """Before it has sent anything."""
    assert scene.line.takeover() is None
    scene.take_over()
    epoch = scene.line.takeover()
    assert epoch is not None
    assert epoch.number == 5
    with pytest.raises(TakenOver):
        scene.begin()
    scene.line.check()  # it has not begun, and will not


@pytest.mark.parametrize("in_order", [True, False])
def test_the_end_is_told_only_where_it_was_one(scene: Scene, *, in_order: bool) -> None:
    """After any other end the guardian sees to what is left."""
    scene.begin()
    scene.line.end(in_order=in_order)

    beat = read_beat(scene.directory)
    assert beat is not None
    assert beat.ended is in_order
    scene.line.end(in_order=True)
    after = read_beat(scene.directory)
    assert after == beat
