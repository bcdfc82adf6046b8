"""The journal that is written: one unbuffered `os.write` a record.

So nothing acknowledged is lost when the process is killed; a torn last record is cut off at the
next start, damage anywhere else raises `JournalCorrupt`. A full segment is forced to the disk
while the next one is written already; a record that waits for the disk waits for both.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from perpbot.domain.errors import InvalidValue, JournalCorrupt, JournalFull
from perpbot.domain.events import Event
from perpbot.kernel.journal import settling
from perpbot.kernel.journal.files import (
    is_settled,
    open_scratch,
    segment_files,
    segment_path,
    settle_name,
    sync_directory,
    sync_records,
    take_lock,
)
from perpbot.kernel.journal.reading import JournalCursor, read_records, scan
from perpbot.kernel.journal.record import MAX_RECORD_BYTES, Record, pack_record
from perpbot.kernel.journal.settling import Beside, Work, at_once
from perpbot.kernel.journal.snapshots import read_snapshot, save_snapshot, snapshot_path
from perpbot.kernel.journal.space import RESERVE_BYTES, DiskSpace
from perpbot.kernel.journal.tail import is_torn_tail

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Journal:
    """A journal open for writing. One process holds it at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = 64 * 1024 * 1024,
        sync: Callable[[Event], bool] | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        min_free_bytes: int = 0,
        lock: int | None = None,
        beside: Beside = at_once,
    ) -> None:
        """Open or create. `sync` tells which records wait for the disk (4 ms where measured).

        The disk then has all records before them too: a power loss takes later ones only.
        Below `min_free_bytes` on the disk `low_space` holds, long before the reserve is needed.
        `lock` is a descriptor of `take_lock` that this journal now owns. `beside` does what a full
        segment needs; no record waits for that but one that waits for the disk anyway.
        Raises `StateConflict` when another process holds it, `JournalCorrupt` for damage that is
        not a torn tail.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = take_lock(directory) if lock is None else lock
        self.repaired_bytes = 0
        """Length of the torn tail that opening cut off."""
        self.last_sequence = 0
        self._offset = 0
        self._fd = -1
        self._broken = ""
        self._beside = beside
        self._settling: Work | None = None
        self._scratch = -1
        self._space = DiskSpace(
            directory, reserve_bytes=reserve_bytes, min_free_bytes=min_free_bytes
        )
        try:
            self._open_tail()
        except BaseException:
            if self._fd >= 0:
                os.close(self._fd)
            os.close(self._lock)
            raise
        self._scratch = open_scratch(directory)
        self.regain_reserve()

    def _open_tail(self) -> None:
        segments = segment_files(self.directory)
        if not segments:
            self._fd = os.open(segment_path(self.directory, 1), _CREATE, 0o600)
            sync_directory(self.directory)
            return
        first, path = segments[-1]
        if not is_settled(path):
            if len(segments) > 1 and not self._continues(segments[-2], first):
                # The power failed before the end of the older one was on the disk.
                self.repaired_bytes = path.stat().st_size
                path.unlink()
                sync_directory(self.directory)
                first, path = segments[-2]
            else:
                path = settle_name(path)
        self._offset, torn = self._end_of(first, path)
        self.repaired_bytes += torn
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(self._fd, self._offset)
        os.lseek(self._fd, self._offset, os.SEEK_SET)

    def _end_of(self, first: int, path: Path) -> tuple[int, int]:
        """Read a segment to its end; return where its last record ends, and what is torn there."""
        good = 0
        self.last_sequence = first - 1
        try:
            for record, good in scan(path, first):  # noqa: B007 - good is used after the loop
                self.last_sequence = record.sequence
        except JournalCorrupt:
            rest = path.read_bytes()[good:]
            if not is_torn_tail(rest, self.last_sequence):
                raise
            return good, len(rest)
        return good, 0

    def _continues(self, older: tuple[int, Path], first: int) -> bool:
        """Whether a segment is whole up to the record `first`; it is on the disk then."""
        _, torn = self._end_of(*older)
        if torn or self.last_sequence + 1 != first:
            return False
        with older[1].open("rb") as file:
            os.fsync(file.fileno())
        return True

    def _begin_segment(self, first: int) -> None:
        """Go on in a new segment; the full one is forced to the disk meanwhile."""
        self._settle()
        path = segment_path(self.directory, first, settled=False)
        descriptor = os.open(path, _CREATE, 0o600)
        full, self._fd, self._offset = self._fd, descriptor, 0
        self._settling = self._beside(partial(settling.settle, full, path))
        self._look_back()

    def _look_back(self) -> None:
        """Raise `OSError` where the segment before this one has failed; wait for nothing."""
        if self._settling is not None and self._settling.done():
            self._settle()

    def _settle(self) -> None:
        """Wait for the segment before this one; raise `OSError` where the disk did not take it.

        Then nothing more is written: what was acknowledged could not be made to last.
        """
        settling, self._settling = self._settling, None
        if settling is None:
            return
        try:
            settling.result()
        except OSError as error:
            self._broken = f"a full segment did not reach the disk ({error.strerror})"
            raise

    def append(self, event: Event) -> int:
        """Write one event; return its sequence number.

        Raises `JournalFull` when not the whole record could be written, with the reserve given up;
        what was written of it is taken back, so the journal stays readable and the number is not
        used. Raises `InvalidValue` for a record that no reader would take.
        """
        sequence = self.last_sequence + 1
        record = pack_record(sequence, event, self._encoder.encode(event))
        if len(record) > MAX_RECORD_BYTES:
            raise InvalidValue(
                f"a {event.kind} record of {len(record)} bytes, at most {MAX_RECORD_BYTES} allowed"
            )
        try:
            self._write(sequence, record, event)
        except OSError as error:
            if not self._space.give_up(error):
                raise JournalFull(f"{self.directory}: {error.strerror}") from error
            try:
                self._write(sequence, record, event)
            except OSError as again:
                raise JournalFull(f"{self.directory}: {again.strerror}") from again
        self._offset += len(record)
        self.last_sequence = sequence
        return sequence

    def _write(self, sequence: int, record: bytes, event: Event) -> None:
        """Write the whole record or none of it; raise `OSError`."""
        self._look_back()
        if self._broken:
            raise OSError(errno.EIO, self._broken)
        if self._offset >= self._segment_bytes:
            self._begin_segment(sequence)
        written = os.write(self._fd, record)
        if written != len(record):
            self._take_back()
            raise OSError(errno.ENOSPC, f"no space left, it took {written} of {len(record)} bytes")
        if self._sync is not None and self._sync(event):
            try:
                self._settle()  # the records before it come first
                os.fdatasync(self._fd)
            except OSError:
                self._take_back()
                raise

    def rehearse(self, event: Event) -> None:
        """Do what `append` does, where nobody reads it: keeps that way fast. Nothing stays."""
        record = pack_record(0, event, self._encoder.encode(event))
        if self._scratch >= 0:
            with suppress(OSError):  # a full disk is found out by what is meant
                os.pwrite(self._scratch, record, 0)

    def _take_back(self) -> None:
        """Cut off what was written of a record; the journal takes no more when even that fails."""
        try:
            os.ftruncate(self._fd, self._offset)
            os.lseek(self._fd, self._offset, os.SEEK_SET)
        except OSError as error:
            self._broken = f"a part of a record could not be taken back ({error.strerror})"
            raise

    # --- space ---

    @property
    def low_space(self) -> bool:
        """Whether little space or no reserve is left: nothing may open, all else is taken."""
        return self._space.low

    def regain_reserve(self) -> bool:
        """Set disk space aside again; return whether it is there. The node calls it on a timer.

        Looks at what is free on the disk, too.
        """
        return self._space.regain()

    # --- reading ---

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1 up to the newest."""
        return read_records(self.directory, after)

    def cursor(self, after: int = 0) -> JournalCursor:
        """Return a place in this journal, for a reader that keeps its own pace."""
        return JournalCursor(self.directory, after)

    def write_snapshot(self, state: bytes, *, sequence: int | None = None, keep: int = 2) -> Path:
        """Keep the folded state at a sequence, the newest one if not told otherwise.

        Atomic; all but the `keep` newest snapshots are removed. May be called from another thread
        while this one appends. Raises `JournalFull` when it could not be written; the older ones
        are still there.
        """
        at = self.last_sequence if sequence is None else sequence
        try:
            # A snapshot must not survive a power loss that its records do not survive.
            sync_records(self.directory)
            return save_snapshot(self.directory, at, state, keep)
        except OSError as error:
            path = snapshot_path(self.directory, at)
            raise JournalFull(f"{path}: {error.strerror}") from error

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return (sequence, state) of the newest snapshot whose checksum holds, or None.

        A damaged snapshot is passed over: the records before it are still there.
        """
        return read_snapshot(self.directory, self.last_sequence)

    def close(self) -> None:
        """Flush to disk and let go of the lock. Raises `JournalFull` when the disk refuses."""
        if self._fd < 0:
            return
        try:
            self._settle()
            os.fsync(self._fd)
        except OSError as error:
            raise JournalFull(f"{self.directory}: {error.strerror}") from error
        finally:
            os.close(self._fd)
            self._fd = -1
            os.close(self._lock)
            if self._scratch >= 0:
                os.close(self._scratch)
