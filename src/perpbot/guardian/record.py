"""What the guardian did: `guardian/journal.jsonl`, one sealed line a fact, only ever added to.

Written before anything is sent, and there after any death of the process. It never waits for the
disk: a disk that hangs may be why the node is silent. Where it takes nothing more the guardian
still acts, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from perpbot.domain.errors import InvalidValue, PerpbotError
from perpbot.guardian.sealed import seal, unseal

FILE_NAME = "journal.jsonl"

Fact = dict[str, Any]


class GuardianRecord:
    """The file, open for writing; `earlier` is what it holds already."""

    def __init__(
        self,
        directory: Path,
        now_ns: Callable[[], int],
        tell: Callable[[Fact], None] = lambda _fact: None,
        redact: Callable[[Fact], Fact] = lambda fact: fact,
    ) -> None:
        """`tell` hears every fact as well; `redact` takes secrets out of what venues answer."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / FILE_NAME
        self.earlier = tuple(read_record(path))
        self._now_ns = now_ns
        self._tell = tell
        self._redact = redact
        self._count = self.earlier[-1]["n"] if self.earlier else 0
        self.trouble = ""
        """Why the last fact could not be written, or ""."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            os.write(self._descriptor, b"\n")  # a line that a death cut short stays one line

    def write(self, kind: str, **content: Any) -> Fact:
        """Add a fact; return it with its number and time."""
        self._count += 1
        fact = {"n": self._count, "ts_ns": self._now_ns(), "kind": kind, **content}
        plain = self._redact(msgspec.to_builtins(fact, enc_hook=str))
        try:
            line = seal(msgspec.json.encode(plain))
            if os.write(self._descriptor, line) != len(line):
                raise OSError("short write")
            self.trouble = ""
        except OSError as error:
            self.trouble = f"the guardian's journal takes nothing: {error}"
        self._tell(plain)
        return plain

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read_record(path: Path) -> Iterator[Fact]:
    """Yield the facts of a record; a damaged line is left out, it says `kind: damaged`."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    last = 0
    for line in lines:
        try:
            fact: Fact = msgspec.json.decode(unseal(line))
        except (PerpbotError, InvalidValue, msgspec.DecodeError):
            fact = {"n": last, "ts_ns": 0, "kind": "damaged"}
        last = fact["n"]
        yield fact
