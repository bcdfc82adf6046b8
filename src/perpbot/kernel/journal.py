"""The memory: an append-only record of every durable event.

A record is `length u32 | crc32 u32 | sequence u64 | time u64 | kind length u8 | kind | msgpack`,
little-endian; length counts everything after the checksum, and the checksum covers that. One
unbuffered `os.write` a record, so nothing acknowledged is lost when the process is killed; a torn
last record is cut off at the next start, damage anywhere else raises `JournalCorrupt`.

The directory holds `journal-<first sequence>.log` segments, `snapshot-<sequence>.bin` files, a
`lock` that one process holds (flock: the kernel frees it on any end of the process) and a
`reserve` of disk space. When the disk is full the reserve is given up, so that cancels and hedges
can still be journalled; `low_space` then tells the gates to open nothing, as it does when
little of the disk is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from perpbot.domain.errors import InvalidValue, JournalCorrupt, JournalFull, StateConflict
from perpbot.domain.events import Event, event_class

_HEAD = struct.Struct("<II")
_BODY = struct.Struct("<QQB")
_START = struct.Struct("<IIQQB")
"""Both, up to the kind."""
_KINDS: dict[bytes, str] = {}
_SEGMENT = re.compile(r"journal-(\d{12})\.log")
_SNAPSHOT = re.compile(r"snapshot-(\d{12})\.bin")
_SNAPSHOT_HEAD = struct.Struct("<IQ")
MAX_RECORD_BYTES = 16 * 1024 * 1024
RESERVE_BYTES = 4 * 1024 * 1024
_CURSOR_BYTES = 1024 * 1024
_LOOK_AHEAD = 8
"""How many records behind a damaged one are looked for, to tell damage from a torn tail."""


class Record(msgspec.Struct, frozen=True):
    """One journalled event."""

    sequence: int
    ts_ns: int
    kind: str
    payload: bytes

    def event(self) -> Event:
        """Decode the event. Raises `InvalidValue` for a kind or a content of another version."""
        try:
            decoded: Event = _decoder(self.kind).decode(self.payload)
        except msgspec.DecodeError as error:
            raise InvalidValue(
                f"journal record {self.sequence} ({self.kind}) does not fit this version: {error}"
            ) from error
        return decoded


_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}


def _decoder(kind: str) -> msgspec.msgpack.Decoder[Any]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(event_class(kind))
    return decoder


def pack_record(sequence: int, event: Event, payload: bytes) -> bytes:
    """Return the bytes of one record."""
    kind = event.kind.encode()
    start = _BODY.pack(sequence, event.ts_ns, len(kind)) + kind
    checksum = zlib.crc32(payload, zlib.crc32(start))
    return b"".join((_HEAD.pack(len(start) + len(payload), checksum), start, payload))


def segment_files(directory: Path) -> list[tuple[int, Path]]:
    """Return (first sequence, path) of every segment, oldest first."""
    found = [(m, path) for path in directory.iterdir() if (m := _SEGMENT.fullmatch(path.name))]
    return sorted((int(match.group(1)), path) for match, path in found)


class TornRecord(JournalCorrupt):
    """The data ends before the record does."""


def read_one(data: bytes, offset: int, name: str, base: int = 0) -> tuple[Record, int]:
    """Return the record at `offset` and the offset after it.

    `name` and `base` (where `data` begins in it) are for errors. Raises `TornRecord` where the
    data ends before the record does, `JournalCorrupt` for damage.
    """
    left = len(data) - offset
    if left < _START.size:
        raise _unfinished(data, offset, f"{name} at byte {base + offset}")
    length, checksum, sequence, ts_ns, kind_length = _START.unpack_from(data, offset)
    if not _BODY.size <= length <= MAX_RECORD_BYTES:
        raise JournalCorrupt(f"{name} at byte {base + offset}: record length was {length}")
    if length > left - _HEAD.size:
        raise TornRecord(f"{name} at byte {base + offset}: torn record")
    after = offset + _HEAD.size + length
    if zlib.crc32(data[offset + _HEAD.size : after]) != checksum:
        raise JournalCorrupt(f"{name} at byte {base + offset}: checksum does not match")
    kind_start = offset + _START.size
    kind_end = kind_start + kind_length
    kind = data[kind_start:kind_end]
    return (
        Record(sequence, ts_ns, _KINDS.get(kind) or _kind(kind), data[kind_end:after]),
        after,
    )


def _unfinished(data: bytes, offset: int, where: str) -> JournalCorrupt:
    """Return what is wrong with the few bytes at the end of the data."""
    if len(data) - offset >= _HEAD.size:
        length, _ = _HEAD.unpack_from(data, offset)
        if not _BODY.size <= length <= MAX_RECORD_BYTES:
            return JournalCorrupt(f"{where}: record length was {length}")
    return TornRecord(f"{where}: torn head")


def _kind(text: bytes) -> str:
    """Return a kind as the one string that all its records share."""
    kind = _KINDS[text] = text.decode()
    return kind


def _scan(path: Path, expected: int) -> Iterator[tuple[Record, int]]:
    """Yield records with the offset after each; raise `JournalCorrupt` at the first bad byte."""
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        record, after = read_one(data, offset, path.name)
        if record.sequence != expected:
            raise JournalCorrupt(
                f"{path.name} at byte {offset}: sequence was {record.sequence}, {expected} was"
                " expected"
            )
        offset = after
        expected += 1
        yield record, offset


def read_records(directory: Path, after: int = 0) -> Iterator[Record]:
    """Yield the records of a journal that nobody writes, from sequence `after` + 1.

    Raises `JournalCorrupt` at damage, a torn tail included (opening for writing repairs that).
    """
    segments = segment_files(directory)
    if segments and segments[0][0] > after + 1:
        raise JournalCorrupt(
            f"{segments[0][1].name} is the oldest segment, records from {after + 1} were expected"
        )
    for number, (first, path) in enumerate(segments):
        following = segments[number + 1][0] if number + 1 < len(segments) else None
        if following is not None and following <= after + 1:
            continue
        last = first - 1
        for record, _ in _scan(path, first):
            last = record.sequence
            if record.sequence > after:
                yield record
        if following is not None and following != last + 1:
            raise JournalCorrupt(f"{path.name} ends at {last}, the next one starts at {following}")


def take_lock(directory: Path) -> int:
    """Hold a journal against every other process; raise `StateConflict` where one has it."""
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
    if len(data) < _SNAPSHOT_HEAD.size or _SNAPSHOT.fullmatch(path.name) is None:
        return None
    checksum, sequence = _SNAPSHOT_HEAD.unpack_from(data)
    state = data[_SNAPSHOT_HEAD.size :]
    whole = path.name == f"snapshot-{sequence:012d}.bin" and zlib.crc32(state) == checksum
    return state if whole else None


def read_snapshot(directory: Path, newest: int) -> tuple[int, bytes] | None:
    """Return (sequence, state) of the newest whole snapshot up to record `newest`, or None."""
    for sequence, path in reversed(snapshot_files(directory)):
        state = snapshot_state(path) if sequence <= newest else None
        if state is not None:
            return sequence, state
    return None


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
    ) -> None:
        """Open or create. `sync` tells which records wait for the disk (4 ms where measured).

        The disk then has all records before them too: a power loss takes later ones only.
        Below `min_free_bytes` on the disk `low_space` holds, long before the reserve is needed.
        `lock` is a descriptor of `take_lock` that this journal now owns.
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
        self._reserve = directory / "reserve"
        self._reserve_bytes = reserve_bytes
        self._min_free_bytes = min_free_bytes
        self._low_space = False
        self._little_left = False
        try:
            self._open_tail()
        except BaseException:
            if self._fd >= 0:
                os.close(self._fd)
            os.close(self._lock)
            raise
        self.regain_reserve()

    def _open_tail(self) -> None:
        segments = segment_files(self.directory)
        if not segments:
            self._start_segment(1)
            return
        first, path = segments[-1]
        good = 0
        self.last_sequence = first - 1
        try:
            for record, good in _scan(path, first):  # noqa: B007 - good is used after the loop
                self.last_sequence = record.sequence
        except JournalCorrupt:
            rest = path.read_bytes()[good:]
            if not is_torn_tail(rest, self.last_sequence):
                raise
            self.repaired_bytes = len(rest)
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(self._fd, good)
        os.lseek(self._fd, good, os.SEEK_SET)
        self._offset = good

    def _start_segment(self, first: int) -> None:
        path = self.directory / f"journal-{first:012d}.log"
        if self._fd >= 0:
            os.fsync(self._fd)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._offset = 0
        sync_directory(self.directory)

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
        if self._broken:
            raise JournalFull(f"{self.directory}: {self._broken}")
        try:
            self._write(sequence, record, event)
        except OSError as error:
            if not self._give_up_reserve(error):
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
        if self._offset >= self._segment_bytes:
            self._start_segment(sequence)
        written = os.write(self._fd, record)
        if written != len(record):
            self._take_back()
            raise OSError(errno.ENOSPC, f"no space left, it took {written} of {len(record)} bytes")
        if self._sync is not None and self._sync(event):
            try:
                os.fdatasync(self._fd)
            except OSError:
                self._take_back()
                raise

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
        return self._low_space or self._little_left

    def regain_reserve(self) -> bool:
        """Set disk space aside again; return whether it is there. The node calls it on a timer.

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
                self._low_space = True
                return False
        self._low_space = False
        return True

    def _free_bytes(self) -> int:
        """What this user may still write to the disk; 0 where it cannot be told."""
        try:
            disk = os.statvfs(self.directory)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize

    def _give_up_reserve(self, error: OSError) -> bool:
        """Free the reserve after a full disk; return whether that gave any space."""
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return False
        self._low_space = True
        if not self._reserve.is_file():
            return False
        self._reserve.unlink()
        return True

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
        path = self.directory / f"snapshot-{at:012d}.bin"
        scratch = path.with_suffix(".tmp")
        head = _SNAPSHOT_HEAD.pack(zlib.crc32(state), at)
        try:
            # A snapshot must not survive a power loss that its records do not survive.
            os.fdatasync(self._fd)
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(head)
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
            sync_directory(self.directory)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise JournalFull(f"{path}: {error.strerror}") from error
        for _, old in snapshot_files(self.directory)[:-keep]:
            old.unlink(missing_ok=True)
        return path

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return (sequence, state) of the newest snapshot whose checksum holds, or None.

        A damaged snapshot is passed over: the records before it are still there.
        """
        return read_snapshot(self.directory, self.last_sequence)

    def close(self) -> None:
        """Flush to disk and let go of the lock."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            os.close(self._lock)


def is_torn_tail(rest: bytes, last: int) -> bool:
    """Tell a write that was cut short from damage; `rest` begins after the record `last`.

    Cut short means: the file ends inside the record, and nothing in it reads as a whole record. A
    flipped bit in a length would look the same, but leaves readable records behind it, or a rest
    whose checksum holds. Zeros alone are space that a power loss left unwritten.
    """
    if not any(rest):
        return True
    try:
        read_one(rest, 0, "tail")
    except TornRecord:
        pass
    except JournalCorrupt:
        return False
    if len(rest) >= _HEAD.size:
        _, checksum = _HEAD.unpack_from(rest)
        if zlib.crc32(rest[_HEAD.size :]) == checksum:
            return False
    return not any(_holds_record(rest, last + ahead) for ahead in range(2, 2 + _LOOK_AHEAD))


def _holds_record(data: bytes, sequence: int) -> bool:
    """Tell whether the record of `sequence` is somewhere in `data`."""
    mark = sequence.to_bytes(8, "little")
    at = data.find(mark, _HEAD.size)
    while at >= 0:
        try:
            read_one(data, at - _HEAD.size, "tail")
        except JournalCorrupt:
            at = data.find(mark, at + 1)
        else:
            return True
    return False


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class JournalCursor:
    """A place in a journal that somebody else writes: reads on from there, part by part.

    For projections and slow subscribers. Raises `JournalCorrupt` at damage; a record that is only
    half written yet is simply not there yet.
    """

    def __init__(self, directory: Path, after: int = 0) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._offset = 0
        self.sequence = after
        """Of the last record that was read."""

    def read(self) -> list[Record]:
        """Return the next records, oldest first; an empty list when there are none yet."""
        # What seems to be the end may be a segment that the writer has left since.
        found = self._read() or (self._read() if self._left_behind() else [])
        if not found and self._left_behind():
            raise JournalCorrupt(f"{self._directory}: record {self.sequence + 1} is missing")
        return found

    def _left_behind(self) -> bool:
        """Whether there are later segments that the next record should have led to."""
        segments = segment_files(self._directory)
        if segments and not self.sequence:
            self.sequence = segments[0][0] - 1  # whatever was before is no part of it any more
        return any(first > self.sequence + 1 for first, _ in segments)

    def _read(self) -> list[Record]:
        found: list[Record] = []
        while not found and self._place():
            data, name = self._part(), str(self._path)
            offset = 0
            while offset < len(data):
                try:
                    record, offset = read_one(data, offset, name, self._offset)
                except TornRecord:
                    break
                if record.sequence > self.sequence:
                    self.sequence = record.sequence
                    found.append(record)
            self._offset += offset
            if not offset:
                break
        return found

    def _part(self) -> bytes:
        """Return bytes from here that hold at least one whole record, if there is one."""
        size = _CURSOR_BYTES
        assert self._path is not None
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(size)
            if len(data) >= _HEAD.size:
                missing = _HEAD.size + _HEAD.unpack_from(data)[0] - len(data)
                if 0 < missing <= MAX_RECORD_BYTES:
                    data += file.read(missing)
        return data

    def _place(self) -> bool:
        """Find the segment of the next record; return False where there is none."""
        segments = [(f, p) for f, p in segment_files(self._directory) if f <= self.sequence + 1]
        if not segments:
            return False
        _, path = segments[-1]
        if path != self._path:
            self._path, self._offset = path, 0
        return True


class MemoryJournal:
    """A journal that forgets with the process: replay, backtests, tests. Encodes all the same."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self._records: list[Record] = []
        self._encoder = msgspec.msgpack.Encoder()

    def append(self, event: Event) -> int:
        """Keep one event as its bytes; return its sequence number."""
        self.last_sequence += 1
        self._records.append(
            Record(self.last_sequence, event.ts_ns, event.kind, self._encoder.encode(event))
        )
        return self.last_sequence

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1."""
        return iter(self._records[after:])

    def cursor(self, after: int = 0) -> MemoryCursor:
        """Return a place in this journal."""
        return MemoryCursor(self, after)


class MemoryCursor:
    """A place in a `MemoryJournal`."""

    def __init__(self, journal: MemoryJournal, after: int) -> None:
        self._journal = journal
        self.sequence = after

    def read(self) -> list[Record]:
        """Return everything after the last record that was read."""
        found = list(self._journal.records(self.sequence))
        self.sequence += len(found)
        return found
