"""How late the event loop is: the time between when a timer was due and when it ran."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.1


async def watch_loop_lag(note: Callable[[float], None]) -> None:
    """Tell `note` the lag in milliseconds of every tick, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        note(max(loop.time() - due, 0.0) * 1000)
