"""One record of the journal, as bytes and back.

A record is `length u32 | crc32 u32 | sequence u64 | time u64 | kind length u8 | kind | msgpack`,
little-endian; length counts everything after the checksum, and the checksum covers that.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec

from perpbot.domain.errors import InvalidValue, JournalCorrupt
from perpbot.domain.events import Event, event_class

MAX_RECORD_BYTES = 16 * 1024 * 1024
HEAD = struct.Struct("<II")
"""Length and checksum."""
_BODY = struct.Struct("<QQB")
_START = struct.Struct("<IIQQB")
"""Both, up to the kind."""
_KINDS: dict[bytes, str] = {}


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
    return b"".join((HEAD.pack(len(start) + len(payload), checksum), start, payload))


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
    if length > left - HEAD.size:
        raise TornRecord(f"{name} at byte {base + offset}: torn record")
    after = offset + HEAD.size + length
    if zlib.crc32(data[offset + HEAD.size : after]) != checksum:
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
    if len(data) - offset >= HEAD.size:
        length, _ = HEAD.unpack_from(data, offset)
        if not _BODY.size <= length <= MAX_RECORD_BYTES:
            return JournalCorrupt(f"{where}: record length was {length}")
    return TornRecord(f"{where}: torn head")


def _kind(text: bytes) -> str:
    """Return a kind as the one string that all its records share."""
    kind = _KINDS[text] = text.decode()
    return kind
