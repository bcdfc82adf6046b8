"""A clock that two processes of one machine share, and that also counts while it sleeps."""

from __future__ import annotations

import time
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_ns() -> int:
    """Return nanoseconds since the machine was started; never steps back."""
    return time.clock_gettime_ns(_CLOCK)


def boot_id() -> str:
    """Return what names this start of the machine; "" where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
