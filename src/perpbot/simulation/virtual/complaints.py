"""What living code says without failing: warnings, and exceptions that nobody can raise any more.

A coroutine that was never awaited, a session that was never closed, an error in a finaliser: in a
program they scroll by. What a machine leaves that died in the middle of a callback is not heard;
nobody closes anything for the dead.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from perpbot.simulation.virtual.hosts import HOST


class Complaints:
    """See the module. `said` holds one line for each."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.deaf = False
        """While true, nothing is kept: remains of the dead are being cleared away."""

    def hear(self, text: str) -> None:
        """Keep a line, unless a dead machine says it."""
        host = HOST.get()
        if not self.deaf and (host is None or host.alive):
            self.said.append(text)


@contextlib.contextmanager
def complaints() -> Iterator[Complaints]:
    """Hear what the block says."""
    heard = Complaints()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any
    ) -> None:
        heard.hear(f"{category.__name__}: {message} ({filename}:{lineno})")

    def unraisable(found: Any) -> None:
        heard.hear(f"{type(found.exc_value).__name__}: {found.exc_value} in {found.object!r}")

    before = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        setattr(warnings, "showwarning", show)  # noqa: B010 - the module's own way
        sys.unraisablehook = unraisable
        try:
            yield heard
        finally:
            sys.unraisablehook = before
