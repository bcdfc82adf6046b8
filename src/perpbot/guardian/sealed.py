"""Small files that two processes share: a line of JSON and its checksum, so that a torn one shows.

{"epoch":3,...} #1a2b3c4d
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

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


def replace_durably(path: Path, line: bytes) -> None:
    """Put a file there in one step that survives a power cut: write, fsync, rename, fsync."""
    scratch = path.with_name(path.name + ".tmp")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(f"{scratch}: {written} of {len(line)} bytes were written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    scratch.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
