"""Says that a node runs: `run.json` in its state directory, locked while the process lives.

The kernel drops the lock at any end of the process, so a file that a crash left behind is never
taken for a running node, whatever became of its process id.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from perpbot.domain.errors import StateConflict

FILE_NAME = "run.json"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run. `console_url` is empty where the console does not listen."""

    pid: int
    mode: str
    version: str
    started_ns: int
    console_url: str = ""


class RunFile:
    """The file, held. Raises `StateConflict` when another node runs in the same directory."""

    def __init__(self, directory: Path, info: RunInfo) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if directory.stat().st_mode & 0o077:
            # Made by hand, or before this was looked at. Journal, token and kill file lie in it.
            directory.chmod(0o700)
        self._path = directory / FILE_NAME
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            other = _read(self._path)
            who = f" (process {other.pid})" if other else ""
            raise StateConflict(
                f"{directory.absolute()} is in use by a running node{who}: stop that one first,"
                " or set paths.state_dir"
            ) from None
        self.write(info)

    def write(self, info: RunInfo) -> None:
        """Put new content in place of the old."""
        text = json.dumps(asdict(info)).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def close(self) -> None:
        """Remove the file and let go of it."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def running(directory: Path) -> RunInfo | None:
    """Return the run that holds a state directory, or None where no process does."""
    path = directory / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(path) or RunInfo(pid=0, mode="", version="", started_ns=0)
    else:
        return None
    finally:
        os.close(descriptor)


def _read(path: Path) -> RunInfo | None:
    try:
        return RunInfo(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
