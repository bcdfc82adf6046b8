"""Whether a guardian is there, and what it says of itself: `guardian/` in the state directory.

The lock is the kernel's: it is gone with the process, however that ended. A guardian that hangs
still holds it, so its status must be young as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import msgspec

from perpbot.domain.errors import StateConflict
from perpbot.guardian.bootclock import boot_ns
from perpbot.kernel.clock import SECOND
from perpbot.settings.private_files import write_private

DIRECTORY = "guardian"
LOCK_NAME = "lock"
STATUS_NAME = "status.json"
YOUNG_NS = 5 * SECOND


class HandStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardian can do at one venue."""

    ready: bool
    """Whether its key was accepted, the last time it was tried."""
    flattens: bool
    problem: str = ""


class GuardianStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardian last said."""

    pid: int
    phase: str
    silence_s: float
    at_ns: int
    """On the clock of both (`bootclock`)."""
    epoch: int = 0
    flatten: str = "none"
    silence_limit_s: float = 0.0
    flatten_after_s: float = 0.0
    venues: dict[str, HandStatus] = {}
    problem: str = ""


class GuardianLock:
    """One guardian a state directory. Raises `StateConflict` where there is one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / DIRECTORY
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.directory / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            raise StateConflict(f"{directory} has a guardian already: one is enough") from None

    def tell(self, status: GuardianStatus) -> None:
        """Say how it stands, in one step."""
        path = self.directory / STATUS_NAME
        write_private(path, msgspec.json.encode(status), durable=False)

    def close(self) -> None:
        """Leave no word behind, and let go."""
        (self.directory / STATUS_NAME).unlink(missing_ok=True)
        os.close(self._descriptor)


def guardian_of(directory: Path, now_ns: int | None = None) -> GuardianStatus | None:
    """Return what the guardian of a state directory says; None where none is there and awake."""
    path = directory / DIRECTORY
    try:
        descriptor = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pass
    else:
        return None
    finally:
        os.close(descriptor)
    try:
        found = msgspec.json.decode((path / STATUS_NAME).read_bytes(), type=GuardianStatus)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    age_ns = (boot_ns() if now_ns is None else now_ns) - found.at_ns
    return found if 0 <= age_ns < YOUNG_NS else None
