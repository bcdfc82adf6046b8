"""Small files that two processes share: a line of JSON and its checksum, so that a torn one shows.

{"epoch":3,...} #1a2b3c4d
"""

from __future__ import annotations

import zlib

from perpbot.domain.errors import InvalidValue

_MARK = b" #"
_DIGITS = 8


def seal(content: bytes) -> bytes:
    """Return the line of `content`, which holds no line break."""
    return content + _MARK + f"{zlib.crc32(content):08x}".encode() + b"\n"


def unseal(line: bytes) -> bytes:
    """Return the content of a line; raise `InvalidValue` where the checksum does not fit."""
    content, mark, check = line.strip().rpartition(_MARK)
    if not mark or len(check) != _DIGITS or check != f"{zlib.crc32(content):08x}".encode():
        raise InvalidValue(f"{len(line)} bytes without a fitting checksum")
    return content
