"""The memory: an append-only record of every durable event.

A record is `length u32 | crc32 u32 | sequence u64 | time u64 | kind length u8 | kind | msgpack`,
little-endian; length counts everything after the checksum, and the checksum covers that. One
unbuffered `os.write` a record, so nothing acknowledged is lost when the process is killed; a torn
last record is cut off at the next start, damage anywhere else raises `JournalCorrupt`.

The directory holds `journal-<first sequence>.log` segments, `snapshot-<sequence>.bin` files and a
`lock` that one process holds (flock: the kernel frees it on any end of the process).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from perpbot.domain.errors import JournalCorrupt, JournalFull, StateConflict
from perpbot.domain.events import Event, event_class

_HEAD = struct.Struct("<II")
_BODY = struct.Struct("<QQB")
_SEGMENT = re.compile(r"journal-(\d{12})\.log")
_SNAPSHOT = re.compile(r"snapshot-(\d{12})\.bin")
_SNAPSHOT_HEAD = struct.Struct("<IQ")
MAX_RECORD_BYTES = 16 * 1024 * 1024


class Record(msgspec.Struct, frozen=True):
    """One journalled event."""

    sequence: int
    ts_ns: int
    kind: str
    payload: bytes

    def event(self) -> Event:
        """Decode the event. Raises `InvalidValue` for an unknown kind."""
        decoded: Event = _decoder(self.kind).decode(self.payload)
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
    body = _BODY.pack(sequence, event.ts_ns, len(kind)) + kind + payload
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _segments(directory: Path) -> list[tuple[int, Path]]:
    found = [(m, path) for path in directory.iterdir() if (m := _SEGMENT.fullmatch(path.name))]
    return sorted((int(match.group(1)), path) for match, path in found)


def _scan(path: Path, expected: int) -> Iterator[tuple[Record, int]]:
    """Yield records with the offset after each; raise `JournalCorrupt` at the first bad byte."""
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        where = f"{path.name} at byte {offset}"
        if offset + _HEAD.size > len(data):
            raise JournalCorrupt(f"{where}: torn head")
        length, checksum = _HEAD.unpack_from(data, offset)
        start = offset + _HEAD.size
        if not _BODY.size <= length <= MAX_RECORD_BYTES:
            raise JournalCorrupt(f"{where}: record length was {length}")
        if start + length > len(data):
            raise JournalCorrupt(f"{where}: torn record")
        body = data[start : start + length]
        if zlib.crc32(body) != checksum:
            raise JournalCorrupt(f"{where}: checksum does not match")
        sequence, ts_ns, kind_length = _BODY.unpack_from(body)
        if sequence != expected:
            raise JournalCorrupt(f"{where}: sequence was {sequence}, {expected} was expected")
        kind_end = _BODY.size + kind_length
        record = Record(sequence, ts_ns, body[_BODY.size : kind_end].decode(), body[kind_end:])
        offset = start + length
        expected += 1
        yield record, offset


def read_records(directory: Path, after: int = 0) -> Iterator[Record]:
    """Yield the records of a journal that nobody writes, from sequence `after` + 1.

    Raises `JournalCorrupt` at damage, a torn tail included (opening for writing repairs that).
    """
    segments = _segments(directory)
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
            raise JournalCorrupt(f"{path.name} ends at {last}, the next segment starts {following}")


class Journal:
    """A journal open for writing. One process holds it at a time."""

    def __init__(
        self, directory: Path, *, segment_bytes: int = 64 * 1024 * 1024, sync: bool = False
    ) -> None:
        """Open or create. `sync` adds an fdatasync a record (power loss; 4 ms where measured).

        Raises `StateConflict` when another process holds it, `JournalCorrupt` for damage that is
        not a torn tail.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = self._take_lock()
        self.repaired_bytes = 0
        """Length of the torn tail that opening cut off."""
        self.last_sequence = 0
        self._offset = 0
        self._fd = -1
        try:
            self._open_tail()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> int:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StateConflict(
                f"{self.directory} is in use by another perpbot; stop it first, or give this one "
                "its own state directory"
            ) from None
        return descriptor

    def _open_tail(self) -> None:
        segments = _segments(self.directory)
        if not segments:
            self._start_segment(1)
            return
        first, path = segments[-1]
        good = 0
        self.last_sequence = first - 1
        try:
            for record, good in _scan(path, first):  # noqa: B007 - good is used after the loop
                self.last_sequence = record.sequence
        except JournalCorrupt as damage:
            if not _is_torn_tail(path, good):
                raise
            self.repaired_bytes = path.stat().st_size - good
            del damage
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(self._fd, good)
        os.lseek(self._fd, good, os.SEEK_SET)
        self._offset = good

    def _start_segment(self, first: int) -> None:
        path = self.directory / f"journal-{first:012d}.log"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
        self._fd = fd
        self._offset = 0

    def append(self, event: Event) -> int:
        """Write one event; return its sequence number.

        Raises `JournalFull` when not the whole record could be written; what was written of it is
        taken back, so the journal stays readable and the number is not used.
        """
        sequence = self.last_sequence + 1
        record = pack_record(sequence, event, self._encoder.encode(event))
        if self._offset >= self._segment_bytes:
            self._start_segment(sequence)
        try:
            written = os.write(self._fd, record)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
                raise JournalFull(f"{self.directory}: {error.strerror}") from error
            raise
        if written != len(record):
            os.ftruncate(self._fd, self._offset)
            os.lseek(self._fd, self._offset, os.SEEK_SET)
            raise JournalFull(f"{self.directory}: wrote {written} of {len(record)} bytes")
        if self._sync:
            os.fdatasync(self._fd)
        self._offset += written
        self.last_sequence = sequence
        return sequence

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1 up to the newest."""
        return read_records(self.directory, after)

    def write_snapshot(self, state: bytes, *, keep: int = 2) -> Path:
        """Keep the folded state at the newest sequence; atomic; older ones are removed."""
        path = self.directory / f"snapshot-{self.last_sequence:012d}.bin"
        scratch = path.with_suffix(".tmp")
        head = _SNAPSHOT_HEAD.pack(zlib.crc32(state), self.last_sequence)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head + state)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        for _, old in sorted(self._snapshots())[:-keep]:
            old.unlink()
        return path

    def _snapshots(self) -> list[tuple[int, Path]]:
        found = [(_SNAPSHOT.fullmatch(path.name), path) for path in self.directory.iterdir()]
        return [(int(match.group(1)), path) for match, path in found if match]

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return (sequence, state) of the newest snapshot whose checksum holds, or None.

        A damaged snapshot is passed over: the records before it are still there.
        """
        for sequence, path in sorted(self._snapshots(), reverse=True):
            data = path.read_bytes()
            if len(data) < _SNAPSHOT_HEAD.size:
                continue
            checksum, at = _SNAPSHOT_HEAD.unpack_from(data)
            state = data[_SNAPSHOT_HEAD.size :]
            if at == sequence <= self.last_sequence and zlib.crc32(state) == checksum:
                return sequence, state
        return None

    def close(self) -> None:
        """Flush to disk and let go of the lock."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            os.close(self._lock)


def _is_torn_tail(path: Path, good: int) -> bool:
    """Tell a write cut short (the file ends inside the record) from damage in the middle."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(good)
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return True
    length, _ = _HEAD.unpack(head)
    return bool(_BODY.size <= length <= MAX_RECORD_BYTES and good + _HEAD.size + length > size)


class MemoryJournal:
    """A journal that forgets with the process: replay, backtests, tests. Encodes all the same."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self._records: list[Record] = []
        self._encoder = msgspec.msgpack.Encoder()

    def append(self, event: Event) -> int:
        """Keep one event as its bytes."""
        self.last_sequence += 1
        self._records.append(
            Record(self.last_sequence, event.ts_ns, event.kind, self._encoder.encode(event))
        )
        return self.last_sequence

    def records(self, after: int = 0) -> Iterator[Record]:
        """Yield records from sequence `after` + 1."""
        return iter(self._records[after:])
