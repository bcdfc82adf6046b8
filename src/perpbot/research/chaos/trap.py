"""Keeps the real world out while a seed of tier A runs: whoever reaches for it raises `Trapped`.

Nothing of the core, of the exchanges in process or of the checkers needs a clock, a random number,
a thread, a process or a socket that was not handed to it; a run that took one could not be
repeated. The lint (TID251 in pyproject.toml) says so of the source, this of what really runs.
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import socket
import subprocess  # nosec B404
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from perpbot.kernel.clock import RealClock


class Trapped(AssertionError):
    """Something reached for the real world."""


_FORBIDDEN: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (
        time,
        (
            "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
            "process_time", "process_time_ns", "sleep",
        ),
    ),
    (RealClock, ("now_ns", "monotonic_ns")),
    (
        random,
        (
            "random", "uniform", "randint", "randrange", "choice", "choices", "sample", "shuffle",
            "gauss", "expovariate", "getrandbits", "randbytes", "seed",
        ),
    ),
    (random.SystemRandom, ("random", "getrandbits")),
    (secrets, ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "choice")),
    (uuid, ("uuid1", "uuid4")),
    (os, ("urandom", "fork", "system", "popen")),
    (threading.Thread, ("start",)),
    (subprocess, ("Popen",)),
    (socket, ("socket", "create_connection", "getaddrinfo")),
)  # fmt: skip


@contextmanager
def trapped() -> Iterator[None]:
    """Forbid the real world to this thread in the block; everything is as before after it."""
    kept = [
        (owner, name, vars(owner)[name])
        for owner, names in _FORBIDDEN
        for name in names
        if name in vars(owner)
    ]
    thread = threading.get_ident()
    try:
        for owner, name, before in kept:
            setattr(owner, name, staticmethod(_refusal(owner, name, before, thread)))
        yield
    finally:
        for owner, name, before in kept:
            setattr(owner, name, before)


@contextmanager
def collections_between_seeds() -> Iterator[None]:
    """Collect no garbage in the block: what runs when something is forgotten runs after it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _refusal(owner: Any, name: str, before: Any, thread: int) -> Callable[..., Any]:
    real = before.__func__ if isinstance(before, staticmethod) else before

    def refuse(*args: Any, **options: Any) -> Any:
        if threading.get_ident() != thread:
            return real(*args, **options)
        raise Trapped(f"{owner.__name__}.{name} was called in virtual time")

    return refuse
