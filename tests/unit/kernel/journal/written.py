"""Journals for tests: what is in them, and a disk that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from perpbot.domain.events import AlertFired, Event
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.writer import Journal


def alert(number: int, size: int = 0) -> AlertFired:
    """One durable event, `size` bytes longer than it has to be."""
    return AlertFired(ts_ns=number, name=f"n{number}", severity="low", text="x" * size)


def fill(directory: Path, count: int, *, segment_bytes: int = 1 << 20) -> list[Path]:
    """Write `count` records and return the segments."""
    journal = Journal(directory, reserve_bytes=0, segment_bytes=segment_bytes)
    for number in range(1, count + 1):
        assert journal.append(alert(number)) == number
    journal.close()
    return sorted(directory.glob("journal-*.log"))


def events(directory: Path, after: int = 0) -> list[Event]:
    """Read everything back."""
    return [record.event() for record in read_records(directory, after)]


def in_process(directory: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own; it has a journal's `path` and an `event`."""
    source = f"""
        import os, sys, resource
        from pathlib import Path
        from perpbot.domain.errors import JournalFull
        from perpbot.domain.events import AlertFired
        from perpbot.kernel.journal.writer import Journal
        path = Path({str(directory)!r})
        event = AlertFired(name="n", severity="low", text="x" * 1000)
        {code}
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=False,
    )


class Disk:
    """Stands in for os.write: fails as told, `times` times from the `first` write on."""

    def __init__(self, error: int, *, times: int = 10**9, part: int = 0) -> None:
        self._error, self._times, self._part = error, times, part
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if self._times <= 0:
            return self._write(descriptor, data)
        self._times -= 1
        if self._part:
            return self._write(descriptor, data[: self._part])
        raise OSError(self._error, os.strerror(self._error))


class Later:
    """Does what a full segment needs when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Deferred] = []

    def __call__(self, work: Callable[[], object]) -> Deferred:
        self.waiting.append(Deferred(work))
        return self.waiting[-1]


class Deferred:
    """Work that is done when somebody waits for it, or when a test says so."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._error: OSError | None = None
        self._ended = False

    def run(self) -> None:
        """Do it now."""
        self._ended = True
        try:
            self._work()
        except OSError as error:
            self._error = error

    def done(self) -> bool:
        return self._ended

    def result(self) -> object:
        if not self._ended:
            self.run()
        if self._error is not None:
            raise self._error
        return None
