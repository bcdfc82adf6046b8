"""Watches how much memory the process holds: it stops opening before the machine runs out of it.

Above the soft limit nothing opens; what is open goes on. Above the hard limit the node ends in
order, with an error, so that whatever keeps it running starts it anew. Both before the kernel ends
a process of its own choice.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from perpbot.domain.errors import PerpbotError

INTERVAL_S = 1.0
EASED = 0.9
"""Share of the soft limit below which opens are allowed again."""
_MB = 1024 * 1024
_STATM = Path("/proc/self/statm")


class MemoryExhausted(PerpbotError):
    """The process holds more memory than it may."""


def resident_bytes() -> int:
    """Return what the process holds in memory now; its peak where the system tells no more."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """`run` is the task."""

    def __init__(
        self,
        soft_mb: int,
        hard_mb: int,
        *,
        strain: Callable[[bool], None],
        alarm: Callable[[str], None],
        fail: Callable[[PerpbotError], None],
        measure: Callable[[], int] = resident_bytes,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`strain(active)` stops and allows opens; `fail` ends the node in order."""
        self._soft = soft_mb * _MB
        self._hard = hard_mb * _MB
        self._strain = strain
        self._alarm = alarm
        self._fail = fail
        self._measure = measure
        self._interval_s = interval_s
        self._strained = False
        self._ended = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(self._interval_s)

    def check(self) -> None:
        """Act on what is held now."""
        held = self._measure()
        if self._ended:
            return
        if held > self._hard:
            self._ended = True
            text = f"{held // _MB} MB of memory held, at most {self._hard // _MB} are allowed"
            self._alarm(f"{text}: the node ends and should be started anew")
            self._fail(MemoryExhausted(f"{text} (health.memory_hard_mb)"))
        elif held > self._soft and not self._strained:
            self._set(strained=True)
            self._alarm(
                f"{held // _MB} MB of memory held: nothing opens above "
                f"{self._soft // _MB} MB, the node ends above {self._hard // _MB} MB"
            )
        elif held < self._soft * EASED and self._strained:
            self._set(strained=False)

    def _set(self, *, strained: bool) -> None:
        self._strained = strained
        self._strain(strained)
