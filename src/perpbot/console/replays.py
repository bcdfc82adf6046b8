"""Each request that changes something is taken once.

It carries the time at which it was made and an id of its own. What is too old, too early, or was
seen before, is refused; so is what was made before this console began, since the ids seen before
that are gone.
"""

from __future__ import annotations

import re
from collections import deque

from perpbot.kernel.clock import MS, SECOND, Clock

TIME_HEADER = "x-perpbot-time"
"""Milliseconds since 1970 UTC."""
ID_HEADER = "idempotency-key"
"""16 to 64 letters, digits, - and _; random, new for each request."""
WINDOW_NS = 30 * SECOND
KEPT_MAX = 4_096

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TIME = re.compile(r"[0-9]{1,15}")


class Replays:
    """The ids of the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()

    def refusal(self, time_text: str | None, id_text: str | None) -> tuple[int, str] | None:
        """Return (status, reason), or None and remember the id."""
        now_ns = self._clock.now_ns()
        if time_text is None or not _TIME.fullmatch(time_text):
            return 400, f"{TIME_HEADER} is needed: milliseconds since 1970, now {now_ns // MS}"
        if id_text is None or not _ID.fullmatch(id_text):
            return 400, f"{ID_HEADER} is needed: 16 to 64 random letters, digits, - and _"
        made_ns = int(time_text) * MS
        if abs(now_ns - made_ns) > WINDOW_NS:
            return 409, (
                f"{TIME_HEADER} was {time_text}, and it is {now_ns // MS} here: at most"
                f" {WINDOW_NS // SECOND} s apart is taken"
            )
        # Counted back from now: a wall clock that was put back must not shut everybody out.
        began_ns = now_ns - (self._clock.monotonic_ns() - self._began_ns)
        if made_ns < began_ns - began_ns % MS:
            return 409, "the request was made before this console began: make it anew"
        self._forget(self._clock.monotonic_ns())
        if id_text in self._seen:
            return 409, "this request was taken before: nothing was done a second time"
        if len(self._seen) >= KEPT_MAX:
            return 429, f"more than {KEPT_MAX} changes a minute: nothing was done"
        self._seen.add(id_text)
        # By the clock that never steps: a wall clock put back must not bring an id to life again.
        self._order.append((self._clock.monotonic_ns() + 2 * WINDOW_NS, id_text))
        return None

    def _forget(self, now_ns: int) -> None:
        while self._order and self._order[0][0] < now_ns:
            self._seen.discard(self._order.popleft()[1])
