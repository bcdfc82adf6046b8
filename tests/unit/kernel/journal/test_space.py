"""Room on the disk: the reserve, the floor, and disks that are full."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from perpbot.domain.errors import JournalFull
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import Disk, alert, events, in_process


def test_a_file_size_limit_is_a_full_journal_that_stays_readable(tmp_path: Path) -> None:
    """A real short write by the kernel: what it left of the record is taken back."""
    code = """resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        j = Journal(path, reserve_bytes=0)
        try:
            for _ in range(20):
                j.append(event)
        except JournalFull as full:
            print(j.last_sequence, full)"""
    done = in_process(tmp_path, code)

    count = int(done.stdout.split()[0])
    assert "no space left" in done.stdout
    assert 3 <= count <= 4
    assert len(events(tmp_path)) == count
    assert resource.getrlimit(resource.RLIMIT_FSIZE)


def test_the_reserve_takes_what_still_has_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the reserve is freed, the record is written, opens are told to stop."""
    journal = Journal(tmp_path, reserve_bytes=100_000)
    assert (tmp_path / "reserve").stat().st_size == 100_000
    monkeypatch.setattr(os, "write", Disk(errno.ENOSPC, times=1).write)

    assert journal.append(alert(1)) == 1

    assert journal.low_space
    assert not (tmp_path / "reserve").exists()
    assert journal.regain_reserve()
    low = journal.low_space
    assert not low


def test_a_disk_that_stays_full_is_told_after_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice without room: the second time for good."""
    journal = Journal(tmp_path, reserve_bytes=100_000)
    monkeypatch.setattr(os, "write", Disk(errno.ENOSPC).write)

    for _ in range(2):
        with pytest.raises(JournalFull, match="No space left"):
            journal.append(alert(1))

    assert journal.low_space


def test_without_room_for_the_reserve_space_is_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that starts on a full disk opens nothing."""

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = Journal(tmp_path)

    assert journal.low_space
    assert not journal.regain_reserve()
    assert not (tmp_path / "reserve").exists()


def test_little_space_on_the_disk_stops_opens_before_the_reserve_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor that people set; looked at again with the reserve. Unknown is too little."""
    free = os.statvfs(tmp_path)
    enough = free.f_bavail * free.f_frsize
    assert not Journal(tmp_path / "enough", reserve_bytes=0, min_free_bytes=1).low_space
    journal = Journal(tmp_path / "short", reserve_bytes=0, min_free_bytes=enough * 2)

    def low() -> bool:
        return journal.low_space

    assert low()
    assert journal.append(alert(1)) == 1

    roomy = os.statvfs_result((4096, 4096, *[enough] * 3, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: roomy)
    journal.regain_reserve()
    assert not low()

    def untold(path: Path) -> os.statvfs_result:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "statvfs", untold)
    journal.regain_reserve()
    assert low()
