"""The node's sign of life: `heartbeat` in its state directory, read by the guardian.

Written in place into a block that exists already, so that a full disk does not look like a dead
node.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.guardian.bootclock import boot_id, boot_ns
from perpbot.guardian.sealed import seal, unseal

FILE_NAME = "heartbeat"
_SIZE = 512


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One sign of life."""

    run: str
    """Which process of a node."""
    epoch: int
    """The journalled number of its run."""
    count: int
    at_ns: int
    """Time since the machine was started (`bootclock`), ns."""
    boot_id: str
    ended: bool = False
    """Whether the run ended in order: then silence means nothing."""


class HeartbeatFile:
    """The file, open for writing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = self._open()

    def _open(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(self._directory / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, beat: Beat) -> None:
        """Put a beat in place of the last one. Raises `OSError`."""
        if not os.fstat(self._descriptor).st_nlink:
            # Somebody removed the file: a guardian would hear nothing any more.
            gone, self._descriptor = self._descriptor, self._open()
            os.close(gone)
        line = seal(msgspec.json.encode(beat))
        os.pwrite(self._descriptor, line.ljust(_SIZE), 0)

    def close(self) -> None:
        """Let go of the file; it stays where it is."""
        os.close(self._descriptor)


def read_beat(directory: Path) -> Beat | None:
    """Return the newest beat, or None where no node has run.

    Raises `InvalidValue` for a beat that is half written or damaged: look again.
    """
    try:
        line = (directory / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return None
    if not line.strip():
        return None  # made a moment ago
    try:
        return msgspec.json.decode(unseal(line), type=Beat)
    except msgspec.DecodeError as error:
        raise InvalidValue(f"{FILE_NAME}: {error}") from error


def machine_went_down(directory: Path) -> bool:
    """Return whether the machine was started anew since a node last beat here.

    The disk may lack the end of what that node wrote. A beat that cannot be read may be such an
    end itself.
    """
    try:
        beat = read_beat(directory)
    except InvalidValue:
        return True
    return beat is not None and (beat.boot_id != boot_id() or beat.at_ns > boot_ns())
