"""What a process that holds keys sees to: privacy, and the signals that end it."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from perpbot.settings.private_files import private_umask


@contextmanager
def private_process() -> Iterator[None]:
    """Let nothing that this process leaves behind be readable by others."""
    # A core of this process would hold every key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with private_umask():
        yield


def until_told() -> asyncio.Event:
    """Return what SIGINT and SIGTERM set from now on, in the running loop."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    return told
