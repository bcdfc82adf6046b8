"""Heartbeats, the lease that they are, and the fence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpbot.domain.errors import InvalidValue, StateConflict
from perpbot.guardian import pulse as pulse_module
from perpbot.guardian.bootclock import boot_id, boot_ns
from perpbot.guardian.epoch import FILE_NAME as EPOCH_FILE
from perpbot.guardian.epoch import Epoch, raise_epoch
from perpbot.guardian.heartbeat import FILE_NAME, Beat, HeartbeatFile, read_beat
from perpbot.guardian.pulse import Pulse, TakenOver
from perpbot.kernel.clock import SECOND


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Hand:
    """The clock of node and guardian."""
    return Hand()


@pytest.fixture
def pulse(tmp_path: Path, clock: Hand) -> Iterator[Pulse]:
    """The pulse of run 4, with a lease of 5 s."""
    made = Pulse(tmp_path, run="77-1", epoch=4, lease_s=5.0, clock_ns=clock)
    yield made
    made.close()


def take_over(directory: Path, number: int = 5) -> None:
    """Do what a guardian does."""
    raise_epoch(directory, Epoch(number=number, run_epoch=4, at_ns=9, reason="silent for 10 s"))


def test_a_beat_tells_run_epoch_time_and_boot(tmp_path: Path, pulse: Pulse, clock: Hand) -> None:
    """The guardian reads what the node wrote, the newest only."""
    pulse.beat()
    clock.now_ns += SECOND
    pulse.beat()

    beat = read_beat(tmp_path)
    assert beat is not None
    assert (beat.run, beat.epoch, beat.at_ns) == ("77-1", 4, clock.now_ns)
    assert beat.boot_id == boot_id()
    assert beat.count >= 2
    assert not beat.ended


def test_within_the_lease_nothing_is_read(
    tmp_path: Path, pulse: Pulse, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send costs a comparison, no file."""
    pulse.beat()

    def read(_directory: Path) -> None:
        pytest.fail("the epoch file was read")

    monkeypatch.setattr(pulse_module, "read_epoch", read)
    clock.now_ns += 5 * SECOND - 1
    pulse.check()
    pulse.beat()

    assert tmp_path.exists()


def test_after_a_gap_without_a_guardian_it_goes_on(pulse: Pulse, clock: Hand) -> None:
    """It beats again and has a new lease."""
    pulse.beat()
    before = pulse.gaps
    clock.now_ns += 60 * SECOND

    pulse.check()
    pulse.check()

    assert pulse.gaps == before + 1


@pytest.mark.parametrize("act", ["check", "beat"])
def test_after_a_gap_in_which_a_guardian_acted_nothing_is_sent(
    tmp_path: Path, pulse: Pulse, clock: Hand, act: str
) -> None:
    """Again and again, until the run ends."""
    pulse.beat()
    take_over(tmp_path)
    clock.now_ns += 5 * SECOND

    for _ in range(3):
        with pytest.raises(TakenOver, match="silent for 10 s"):
            getattr(pulse, act)()


def test_a_gap_beats_before_it_reads(
    tmp_path: Path, pulse: Pulse, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else node and guardian could miss each other, and both act."""
    pulse.beat()
    clock.now_ns += 20 * SECOND
    seen: list[int] = []

    def read(directory: Path) -> None:
        beat = read_beat(directory)
        assert beat is not None
        seen.append(beat.at_ns)

    monkeypatch.setattr(pulse_module, "read_epoch", read)
    pulse.check()

    assert seen == [clock.now_ns]
    assert tmp_path.exists()


def test_an_older_epoch_stops_nobody(tmp_path: Path, clock: Hand) -> None:
    """A run after the guardian's has a higher number."""
    take_over(tmp_path, 5)
    pulse = Pulse(tmp_path, run="78-1", epoch=6, lease_s=5.0, clock_ns=clock)

    pulse.beat()
    pulse.check()
    pulse.end()


def test_a_first_beat_looks_at_the_epoch(tmp_path: Path, pulse: Pulse) -> None:
    """A guardian that took over while the node started stops it."""
    take_over(tmp_path)
    with pytest.raises(TakenOver):
        pulse.beat()


def test_a_damaged_epoch_stops_sending(tmp_path: Path, pulse: Pulse, clock: Hand) -> None:
    """It is not known who may send."""
    pulse.beat()
    (tmp_path / EPOCH_FILE).write_bytes(b"?")
    clock.now_ns += 6 * SECOND
    with pytest.raises(StateConflict):
        pulse.check()


def test_an_end_in_order_says_so(tmp_path: Path, clock: Hand) -> None:
    """Silence after it means nothing."""
    pulse = Pulse(tmp_path, run="77-1", epoch=4, lease_s=5.0, clock_ns=clock)
    pulse.beat()
    pulse.end()

    beat = read_beat(tmp_path)
    assert beat is not None
    assert beat.ended


def test_a_beat_that_cannot_be_written_leaves_the_fence_up(
    tmp_path: Path, pulse: Pulse, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hedges go on, each after a look at the epoch file; the beat itself says what is wrong."""
    pulse.beat()
    clock.now_ns += 6 * SECOND

    def full(*_: object) -> int:
        raise OSError("no space")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space"):
        pulse.beat()
    pulse.check()
    take_over(tmp_path)
    with pytest.raises(TakenOver):
        pulse.check()


def test_no_node_and_torn_beats(tmp_path: Path) -> None:
    """Nothing there is not the same as something unreadable."""
    assert read_beat(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(b"")
    assert read_beat(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(b'{"run":"77-1"} #00000000\n')
    with pytest.raises(InvalidValue):
        read_beat(tmp_path)


def test_the_clock_of_both_never_steps_back() -> None:
    """And the machine has a name for this start of it, or none."""
    first = boot_ns()
    assert boot_ns() >= first > 0
    assert boot_id() == boot_id()


def test_a_heartbeat_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """A guardian that finds no file would take the node for one that never ran."""
    file = HeartbeatFile(tmp_path)
    beat = Beat(run="1-1", epoch=1, count=1, at_ns=1, boot_id="a")
    file.write(beat)
    (tmp_path / FILE_NAME).unlink()

    file.write(beat)

    assert read_beat(tmp_path) == beat
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    file.close()
