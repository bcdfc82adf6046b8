"""Room on the disk: a reserve for what has to be written, and a floor for what may open.

When the disk is full the reserve is given up, so that cancels and hedges can still be journalled;
`low` then tells the gates to open nothing, as it does when little of the disk is left.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

RESERVE_BYTES = 4 * 1024 * 1024


class DiskSpace:
    """The space of one directory. A reserve of 0 bytes is none."""

    def __init__(
        self, directory: Path, *, reserve_bytes: int = RESERVE_BYTES, min_free_bytes: int = 0
    ) -> None:
        self._directory = directory
        self._reserve = directory / "reserve"
        self._reserve_bytes = reserve_bytes
        self._min_free_bytes = min_free_bytes
        self._without_reserve = False
        self._little_left = False

    @property
    def low(self) -> bool:
        """Whether little space or no reserve is left: nothing may open, all else is taken."""
        return self._without_reserve or self._little_left

    def regain(self) -> bool:
        """Set the reserve aside again; return whether it is there.

        Looks at what is free on the disk, too.
        """
        self._little_left = self._free_bytes() < self._min_free_bytes
        if self._reserve_bytes and not self._reserve.is_file():
            try:
                descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, self._reserve_bytes)
                finally:
                    os.close(descriptor)
            except OSError:
                self._reserve.unlink(missing_ok=True)
                self._without_reserve = True
                return False
        self._without_reserve = False
        return True

    def _free_bytes(self) -> int:
        """What this user may still write to the disk; 0 where it cannot be told."""
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize

    def give_up(self, error: OSError) -> bool:
        """Free the reserve after a full disk; return whether that gave any space."""
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return False
        self._without_reserve = True
        if not self._reserve.is_file():
            return False
        self._reserve.unlink()
        return True
