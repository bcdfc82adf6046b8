"""Torn tails are cut off, damage is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from perpbot.domain.errors import JournalCorrupt
from perpbot.domain.events import AlertFired
from perpbot.kernel.journal.record import pack_record
from perpbot.kernel.journal.writer import Journal
from tests.unit.kernel.journal.written import alert, events, fill


def test_a_torn_tail_is_cut_off_at_every_offset(tmp_path: Path) -> None:
    """Whatever part of the last record was written, all before it stay and writing goes on."""
    [segment] = fill(tmp_path, 3)
    whole = segment.read_bytes()
    ends = [0]
    for number in range(1, 4):
        ends.append(ends[-1] + len(pack_record(number, alert(number), _payload(number))))
    assert ends[-1] == len(whole)

    for length in range(len(whole)):
        segment.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends[1:])
        journal = Journal(tmp_path, reserve_bytes=0)
        assert journal.last_sequence == kept, length
        assert journal.repaired_bytes == length - ends[kept]
        journal.append(alert(kept + 1))
        journal.close()
        assert events(tmp_path) == [alert(n) for n in range(1, kept + 2)]


def _payload(number: int) -> bytes:
    return msgspec.msgpack.encode(alert(number))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Reading and opening name file and byte; nothing is cut off, nothing wrong is read."""
    [segment] = fill(tmp_path, 3)
    whole = segment.read_bytes()

    for offset in range(len(whole)):
        for bit in (0, 3, 7):
            spoiled = bytearray(whole)
            spoiled[offset] ^= 1 << bit
            segment.write_bytes(spoiled)
            with pytest.raises(JournalCorrupt, match=r"journal-0+1\.log at byte \d+"):
                Journal(tmp_path, reserve_bytes=0)
            with pytest.raises(JournalCorrupt, match=r"journal-0+1\.log at byte \d+"):
                events(tmp_path)
            assert segment.read_bytes() == bytes(spoiled)


def test_space_that_a_power_loss_left_unwritten_is_a_torn_tail(tmp_path: Path) -> None:
    """Zeros behind the last record are cut off."""
    [segment] = fill(tmp_path, 2)
    segment.write_bytes(segment.read_bytes() + bytes(300))

    journal = Journal(tmp_path, reserve_bytes=0)

    assert (journal.last_sequence, journal.repaired_bytes) == (2, 300)


def test_bytes_that_look_like_a_number_are_no_record(tmp_path: Path) -> None:
    """A torn record whose text holds the number of a later one is still torn."""
    journal = Journal(tmp_path, reserve_bytes=0)
    text = "\x02" + "\x00" * 7 + "x" * 40
    journal.append(AlertFired(name="n", severity="low", text=text))
    journal.close()
    [segment] = tmp_path.glob("journal-*.log")
    segment.write_bytes(segment.read_bytes()[:-4])

    assert Journal(tmp_path).last_sequence == 0


def test_a_tail_that_cannot_be_cut_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try can open it."""
    fill(tmp_path, 2)

    def fail(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="broken"):
            Journal(tmp_path)

    assert Journal(tmp_path).last_sequence == 2
