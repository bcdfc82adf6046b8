"""The guardian's own steps: watch, raise the epoch, look again, act, hand back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from perpbot.domain.errors import StateConflict
from perpbot.guardian import guardian as guardian_module
from perpbot.guardian.epoch import FILE_NAME as EPOCH_FILE
from perpbot.guardian.epoch import Epoch, epoch_number, raise_epoch, read_epoch
from perpbot.guardian.guardian import Guardian
from perpbot.guardian.hand import Hand
from perpbot.guardian.heartbeat import FILE_NAME as HEARTBEAT_FILE
from perpbot.guardian.plan import unhedged
from perpbot.guardian.pulse import Pulse, TakenOver
from perpbot.guardian.record import Fact, GuardianRecord
from perpbot.guardian.settings import Flatten, GuardianSettings
from perpbot.guardian.status import GuardianLock, guardian_of
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.port import Venue
from tests.unit.guardian.door import FakeVenue

SETTINGS = GuardianSettings(silence_s=10.0, flatten_after_s=30.0)


class Scene:
    """A node's pulse and a guardian on one clock, moved by hand."""

    def __init__(self, directory: Path, venue: FakeVenue, flatten: Flatten) -> None:
        self.directory = directory
        self.time = VirtualTime(1_000 * SECOND)
        self.facts: list[Fact] = []
        self.lock = GuardianLock(directory)
        self.record = GuardianRecord(self.lock.directory, self.time.now_ns, self.facts.append)
        self.hand = Hand(
            cast("Venue", venue), self.record, self.time, slippage_bps=100.0, flattens=True
        )
        self.guardian = Guardian(
            directory,
            SETTINGS,
            [self.hand],
            self.lock,
            self.record,
            self.time,
            flatten=flatten,
            clock_ns=self.time.monotonic_ns,
            sleep=lambda _seconds: asyncio.sleep(0),
        )

    def node(self, epoch: int = 1) -> Pulse:
        """Start a node's pulse."""
        pulse = Pulse(
            self.directory,
            run=f"run-{epoch}",
            epoch=epoch,
            lease_s=5.0,
            clock_ns=self.time.monotonic_ns,
        )
        pulse.beat()
        return pulse

    async def wait(self, seconds: int) -> None:
        """Let time pass in steps of a second, the guardian looking at each."""
        for _ in range(seconds):
            self.time.advance(self.time.now_ns() + SECOND)
            await self.guardian.step()
            for _ in range(50):
                await asyncio.sleep(0)

    def kinds(self) -> list[str]:
        """What was recorded."""
        return [fact["kind"] for fact in self.facts]


@asynccontextmanager
async def scene(
    directory: Path, venue: FakeVenue, flatten: Flatten = Flatten.UNHEDGED
) -> AsyncIterator[Scene]:
    """Have a scene; everything is closed after it."""
    made = Scene(directory, venue, flatten)
    await made.hand.prepare()
    await made.guardian.step()
    try:
        yield made
    finally:
        await made.guardian._stop_work()
        made.record.close()
        made.lock.close()


async def test_a_beating_node_is_left_alone(tmp_path: Path) -> None:
    """And an absent one, and one that ended in order."""
    venue = FakeVenue("okx", "1")
    async with scene(tmp_path, venue) as it:
        await it.wait(20)
        pulse = it.node()
        for _ in range(6):
            await it.wait(9)
            pulse.beat()
        pulse.end()
        await it.wait(60)

        assert epoch_number(tmp_path) == 0
        assert it.kinds() == ["hand", "alive", "absent"]
        status = guardian_of(tmp_path, it.time.now_ns())
        assert status is not None
        assert status.phase == "absent"
        assert status.venues["okx"].ready


async def test_silence_raises_the_epoch_cancels_and_later_flattens(tmp_path: Path) -> None:
    """At 10 s and at 30 s; then the node that wakes up is fenced."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with scene(tmp_path, venue) as it:
        pulse = it.node()
        await it.wait(9)
        assert epoch_number(tmp_path) == 0
        await it.wait(1)
        epoch = read_epoch(tmp_path)
        assert epoch is not None
        assert (epoch.number, epoch.run_epoch) == (2, 1)
        assert venue.resting == {}
        await it.wait(19)
        assert venue.sent == []
        await it.wait(1)
        assert venue.quantity == 0
        with pytest.raises(TakenOver):
            pulse.check()
        pulse.close()


async def test_it_hands_back_to_a_run_above_its_epoch_only(tmp_path: Path) -> None:
    """A beat of the fenced run changes nothing."""
    venue = FakeVenue("okx", "1")
    async with scene(tmp_path, venue) as it:
        old = it.node()
        await it.wait(10)
        with pytest.raises(TakenOver):
            old.beat()
        old.close()
        await it.wait(1)
        assert "handed_back" not in it.kinds()
        status = guardian_of(tmp_path, it.time.now_ns())
        assert status is not None
        assert (status.phase, status.epoch) == ("taken over", 2)

        new = it.node(epoch=3)
        await it.wait(1)

        assert it.kinds()[-1] == "handed_back"
        await it.wait(12)
        assert epoch_number(tmp_path) == 4  # and watches over that one
        new.close()


async def test_a_node_that_beats_while_the_epoch_is_raised_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises first and looks again; the node beats first and reads: one sees the other."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with scene(tmp_path, venue) as it:
        pulse = it.node()

        def meanwhile(directory: Path, epoch: Epoch, *, durable: bool = True) -> None:
            pulse._write()
            raise_epoch(directory, epoch, durable=durable)

        monkeypatch.setattr(guardian_module, "raise_epoch", meanwhile)
        await it.wait(10)

        assert it.kinds()[-1] == "not_needed"
        await it.wait(3)
        assert len(venue.resting) == 1
        pulse.close()


@pytest.mark.parametrize("damage", ["unreadable", "unwritable"])
async def test_without_the_fence_it_does_not_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A node that wakes up would act beside it: it says so, and tries again."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with scene(tmp_path, venue) as it:
        it.node().close()
        if damage == "unreadable":
            (tmp_path / EPOCH_FILE).write_bytes(b"?")
        else:

            def full(*_: object, **__: object) -> None:
                raise OSError("no space")

            monkeypatch.setattr(guardian_module, "raise_epoch", full)
        await it.wait(15)

        assert len(venue.resting) == 1
        assert it.kinds().count("problem") == 1
        status = guardian_of(tmp_path, it.time.now_ns())
        assert status is not None
        assert "cannot take over" in status.problem


async def test_a_status_that_cannot_be_written_keeps_it_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full disk is told where it can be."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with scene(tmp_path, venue) as it:
        it.node().close()

        def full(_status: object) -> None:
            raise OSError("no space")

        monkeypatch.setattr(it.lock, "tell", full)
        await it.wait(11)

        assert venue.resting == {}
        assert "problem" in it.kinds()


async def test_run_watches_until_it_is_cancelled(tmp_path: Path) -> None:
    """It tries its keys, and says when it starts and ends."""
    venue = FakeVenue("okx")
    async with scene(tmp_path, venue) as it:
        task = asyncio.create_task(it.guardian.run())
        async with asyncio.timeout(20):
            while "started" not in it.kinds():  # noqa: ASYNC110 - a record is waited for
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert it.kinds() == ["hand", "started", "ended"]


async def test_a_takeover_of_an_earlier_guardian_goes_on_with_higher_ids(tmp_path: Path) -> None:
    """The epoch grows with each guardian; an epoch that would not is refused."""
    venue = FakeVenue("okx", "1")
    async with scene(tmp_path, venue) as it:
        it.node().close()
        await it.wait(10)
    async with scene(tmp_path, venue) as it:
        await it.wait(10)
        assert epoch_number(tmp_path) == 3
        with pytest.raises(StateConflict):
            raise_epoch(
                tmp_path,
                Epoch(number=3, run_epoch=1, at_ns=0, reason=""),
            )


async def test_a_disk_that_hangs_holds_it_up_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be why the node is silent: the fence goes up without the disk's promise."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    free = threading.Event()

    def hang(directory: Path, epoch: Epoch, *, durable: bool = True) -> None:
        if durable:
            free.wait(10)
        else:
            raise_epoch(directory, epoch, durable=False)

    monkeypatch.setattr(guardian_module, "raise_epoch", hang)
    monkeypatch.setattr(guardian_module, "DISK_LIMIT_S", 0.01)
    async with scene(tmp_path, venue) as it:
        it.node().close()
        await it.wait(11)
        free.set()

        assert epoch_number(tmp_path) == 2
        assert venue.resting == {}
        assert "problem" in it.kinds()


async def test_a_heartbeat_that_is_damaged_for_good_is_no_node_that_came_back(
    tmp_path: Path,
) -> None:
    """The process died, and its file was torn: nobody writes there, so the guardian acts."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with scene(tmp_path, venue) as it:
        it.node().close()
        await it.wait(5)
        (tmp_path / HEARTBEAT_FILE).write_bytes(b"torn")
        await it.wait(6)
        assert venue.resting == {}
        await it.wait(25)
        assert venue.quantity == 0
        assert epoch_number(tmp_path) == 2


async def test_a_heartbeat_that_cannot_be_read_from_the_start_is_told(tmp_path: Path) -> None:
    """It is not known then whether a node is there, or which: a person has to look."""
    (tmp_path / HEARTBEAT_FILE).write_bytes(b"torn")
    venue = FakeVenue("okx", "1")
    async with scene(tmp_path, venue) as it:
        await it.wait(12)
        status = guardian_of(tmp_path, it.time.now_ns())
        assert status is not None
        assert "heartbeat" in status.problem
        assert it.kinds().count("problem") == 1

        pulse = it.node()
        await it.wait(1)
        status = guardian_of(tmp_path, it.time.now_ns())
        assert status is not None
        assert (status.phase, status.problem) == ("alive", "")
        pulse.close()


async def test_nothing_is_sent_beside_a_node_that_is_back(tmp_path: Path) -> None:
    """It beats between the guardian's look at the venue and its order: the order stays here."""
    venue = FakeVenue("okx", "1")
    async with scene(tmp_path, venue) as it:
        it.node().close()
        await it.wait(29)
        new = it.node(epoch=3)

        sent = await it.hand.shrink(unhedged(await venue.positions()))

        assert sent == 0
        assert venue.sent == []
        new.close()
