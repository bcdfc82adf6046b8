"""The names in a journal's directory, and who may write there.

A segment is `journal-<first sequence>.log`. While the segment before it is not known to be on the
disk it is `journal-<first sequence>.new`: should the power fail then, the end of the older one may
be gone, and this one with it. At most the newest is one.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import BinaryIO

from perpbot.domain.errors import StateConflict

_SEGMENT = re.compile(r"journal-(\d{12})\.(?:log|new)")
_SETTLED, _UNSETTLED = ".log", ".new"


def segment_path(directory: Path, first: int, *, settled: bool = True) -> Path:
    """Return where the segment lies that begins with the record `first`."""
    return directory / f"journal-{first:012d}{_SETTLED if settled else _UNSETTLED}"


def is_settled(segment: Path) -> bool:
    """Whether all records before a segment are on the disk."""
    return segment.suffix == _SETTLED


def settle_name(segment: Path) -> Path:
    """Give an unsettled segment its name for good, on the disk too; return it."""
    settled = segment.rename(segment.with_suffix(_SETTLED))
    sync_directory(segment.parent)
    return settled


def open_segment(path: Path) -> BinaryIO:
    """Open a segment for reading; its writer may have settled it since it was listed."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        if is_settled(path):
            raise
        return path.with_suffix(_SETTLED).open("rb")


def read_segment(path: Path) -> bytes:
    """Return what a segment holds; its writer may have settled it since it was listed."""
    with open_segment(path) as file:
        return file.read()


def open_scratch(directory: Path) -> int:
    """Return the descriptor of a file without a name, -1 where there is no such thing."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except (AttributeError, OSError):  # Linux has them, on most of its file systems
        return -1


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


def records_size(directory: Path) -> int:
    """Return the bytes of all segments, of a journal that somebody else may be writing too."""
    size = 0
    for _, path in segment_files(directory):
        with open_segment(path) as file:
            size += os.fstat(file.fileno()).st_size
    return size


def sync_records(directory: Path) -> None:
    """Force every record that was written before to the disk. From any thread."""
    segments = [path for _, path in segment_files(directory)][-2:]
    if is_settled(segments[-1]):
        segments = segments[-1:]
    for path in segments:
        with open_segment(path) as file:
            os.fdatasync(file.fileno())
    if not is_settled(segments[-1]):
        sync_directory(directory)
