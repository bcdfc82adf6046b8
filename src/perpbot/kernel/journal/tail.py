"""What a write that was cut short leaves at the end of the newest segment."""

from __future__ import annotations

import zlib

from perpbot.domain.errors import JournalCorrupt
from perpbot.kernel.journal.record import HEAD, TornRecord, read_one

_LOOK_AHEAD = 8
"""How many records behind a damaged one are looked for, to tell damage from a torn tail."""


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
    if len(rest) >= HEAD.size:
        _, checksum = HEAD.unpack_from(rest)
        if zlib.crc32(rest[HEAD.size :]) == checksum:
            return False
    return not any(_holds_record(rest, last + ahead) for ahead in range(2, 2 + _LOOK_AHEAD))


def _holds_record(data: bytes, sequence: int) -> bool:
    """Tell whether the record of `sequence` is somewhere in `data`."""
    mark = sequence.to_bytes(8, "little")
    at = data.find(mark, HEAD.size)
    while at >= 0:
        try:
            read_one(data, at - HEAD.size, "tail")
        except JournalCorrupt:
            at = data.find(mark, at + 1)
        else:
            return True
    return False
