"""The names in a journal's directory, and who may write there."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from perpbot.domain.errors import StateConflict

_SEGMENT = re.compile(r"journal-(\d{12})\.log")


def segment_path(directory: Path, first: int) -> Path:
    """Return where the segment lies that begins with the record `first`."""
    return directory / f"journal-{first:012d}.log"


def segment_files(directory: Path) -> list[tuple[int, Path]]:
    """Return (first sequence, path) of every segment, oldest first."""
    found = [(m, path) for path in directory.iterdir() if (m := _SEGMENT.fullmatch(path.name))]
    return sorted((int(match.group(1)), path) for match, path in found)


def take_lock(directory: Path) -> int:
    """Hold a journal against every other process; raise `StateConflict` where one has it.

    It is an flock: the kernel frees it on any end of the process.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StateConflict(
            f"{directory} is in use by another perpbot; stop it first, or give this one "
            "its own state directory"
        ) from None
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
