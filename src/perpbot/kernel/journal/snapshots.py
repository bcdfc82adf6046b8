"""Snapshots: the folded state at a record, so that a restart reads little."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

from perpbot.kernel.journal.files import sync_directory

_SNAPSHOT = re.compile(r"snapshot-(\d{12})\.bin")
_HEAD = struct.Struct("<IQ")
"""Checksum of the state, and the sequence."""


def snapshot_path(directory: Path, sequence: int) -> Path:
    """Return where the snapshot of a sequence lies."""
    return directory / f"snapshot-{sequence:012d}.bin"


def snapshot_files(directory: Path) -> list[tuple[int, Path]]:
    """Return (sequence, path) of every snapshot, oldest first."""
    found = [(_SNAPSHOT.fullmatch(path.name), path) for path in directory.iterdir()]
    return sorted((int(match.group(1)), path) for match, path in found if match)


def snapshot_state(path: Path) -> bytes | None:
    """Return the state that a snapshot file holds, or None where it is damaged or gone."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEAD.size or _SNAPSHOT.fullmatch(path.name) is None:
        return None
    checksum, sequence = _HEAD.unpack_from(data)
    state = data[_HEAD.size :]
    whole = (
        path.name == snapshot_path(path.parent, sequence).name and zlib.crc32(state) == checksum
    )
    return state if whole else None


def read_snapshot(directory: Path, newest: int) -> tuple[int, bytes] | None:
    """Return (sequence, state) of the newest whole snapshot up to record `newest`, or None."""
    for sequence, path in reversed(snapshot_files(directory)):
        state = snapshot_state(path) if sequence <= newest else None
        if state is not None:
            return sequence, state
    return None


def save_snapshot(directory: Path, sequence: int, state: bytes, keep: int) -> Path:
    """Write a snapshot, atomically, and remove all but the `keep` newest ones.

    Raises `OSError` when it could not be written; the older ones are still there.
    """
    path = snapshot_path(directory, sequence)
    scratch = path.with_suffix(".tmp")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_HEAD.pack(zlib.crc32(state), sequence))
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        sync_directory(directory)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    for _, old in snapshot_files(directory)[:-keep]:
        old.unlink(missing_ok=True)
    return path
