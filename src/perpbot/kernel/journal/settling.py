"""What becomes of a segment that is full: it is forced to the disk beside whoever appends.

Until then the segment after it is unsettled (see `files`). Settling keeps the order that a power
loss must not break: the records of the old segment first, then the name of the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from perpbot.kernel.journal import files


class Work(Protocol):
    """Something that was begun; a `concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Whether it has ended."""

    def result(self) -> object:
        """Wait for its end; raise what it raised."""


Beside = Callable[[Callable[[], object]], Work]
"""Begins work and does not wait for it; `ThreadPoolExecutor.submit` is one."""


class _Done:
    """Work that has ended."""

    def __init__(self, error: OSError | None) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def result(self) -> object:
        if self._error is not None:
            raise self._error
        return None


def at_once(work: Callable[[], object]) -> Work:
    """Do it before anything else: where there is one thread only."""
    try:
        work()
    except OSError as error:
        return _Done(error)
    return _Done(None)


def settle(full: int, following: Path) -> None:
    """Force the segment behind the descriptor `full` to the disk and close it.

    Then the one after it is settled.
    """
    try:
        os.fsync(full)
    finally:
        os.close(full)
    files.settle_name(following)
