"""Journals of several segments, and damage to them."""

from __future__ import annotations

from pathlib import Path

from perpbot.domain.events import AlertFired
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.writer import Journal


def alert(number: int) -> AlertFired:
    """Return a small event."""
    return AlertFired(ts_ns=number, name=f"n{number}", severity="low", text="t" * 20)


def written(directory: Path, count: int = 12, *, snapshots: tuple[int, ...] = ()) -> Path:
    """Write a journal of several segments; return its directory."""
    journal = Journal(directory, segment_bytes=300, reserve_bytes=0)
    for number in range(1, count + 1):
        journal.append(alert(number))
        if number in snapshots:
            journal.write_snapshot(f"state {number}".encode())
    journal.close()
    return directory


def flip(path: Path, at: int) -> None:
    """Turn one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def sequences(directory: Path, after: int = 0) -> list[int]:
    """Return what can be read now."""
    return [record.sequence for record in read_records(directory, after)]
