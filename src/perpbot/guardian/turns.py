"""Looks at each turn of the event loop whether the process had been stopped before it.

What waits inside an adapter (for its turn under a rate limit, for a connection) passes no gate of
ours any more when it goes on. So after a gap between two turns of the loop, before anything else
runs, somebody is asked whether it may.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

from perpbot.guardian.bootclock import boot_ns


class TurnGuard(selectors.DefaultSelector):
    """The selector of a loop. `arm` says after which gap to ask, and whom."""

    def __init__(self, clock_ns: Callable[[], int] = boot_ns) -> None:
        super().__init__()
        self._clock_ns = clock_ns
        self._gap_ns = 0
        self._ask: Callable[[], None] | None = None
        self._until_ns = 0

    def loop(self) -> asyncio.AbstractEventLoop:
        """Return a loop that turns on this selector."""
        return asyncio.SelectorEventLoop(self)

    def arm(self, gap_ns: int, ask: Callable[[], None]) -> None:
        """Call `ask` after each gap of more than `gap_ns` from now on; it must not raise."""
        self._gap_ns = gap_ns
        self._until_ns = self._clock_ns() + gap_ns
        self._ask = ask

    def disarm(self) -> None:
        """Ask nobody any more."""
        self._ask = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, then ask if more time has passed than anybody wanted."""
        ready = super().select(timeout)
        if self._ask is not None:
            now_ns = self._clock_ns()
            if now_ns >= self._until_ns:
                self._ask()
            self._until_ns = now_ns + self._gap_ns
        return ready
