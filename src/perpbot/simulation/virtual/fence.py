"""Keeps the real world out while simulated code runs: clocks, randomness, threads, sockets.

Code of perpbot that reaches for a clock or a random number which was not handed to it raises
`Forbidden`, wherever it stands; libraries get virtual time and seeded bytes instead. Threads and
executors raise for everybody; sockets are virtual for everybody.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import picows

from perpbot.kernel.clock import RealClock
from perpbot.simulation.virtual.loop import Forbidden, VirtualLoop
from perpbot.simulation.virtual.sockets import VirtualSocket

OURS = "perpbot."
LIBRARIES = (aiohttp.__name__, picows.__name__, "aiohappyeyeballs")
"""Those that may have bound a clock by name when they were imported."""
_RANDOM = (
    "random", "randrange", "randint", "uniform", "choice", "choices", "shuffle", "sample",
    "gauss", "getrandbits", "randbytes", "expovariate", "seed",
)  # fmt: skip


@contextlib.contextmanager
def fenced(loop: VirtualLoop, wall_ns: Callable[[], int], rng: random.Random) -> Iterator[None]:
    """Fence the block: `wall_ns` is what libraries take for the time of day."""
    with contextlib.ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            before = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
            stack.callback(setattr, owner, name, before)
            setattr(owner, name, value)

        _fence_clocks(put, loop, wall_ns)
        for name in _RANDOM:
            put(random, name, _forbidden_to_us(f"random.{name}", getattr(rng, name)))
        put(os, "urandom", _forbidden_to_us("os.urandom", rng.randbytes))
        put(secrets, "token_bytes", _forbidden_to_us("secrets", rng.randbytes))
        put(uuid, "uuid4", _forbidden_to_all("uuid.uuid4"))
        put(threading.Thread, "start", _forbidden_to_all("threading.Thread.start"))
        put(socket, "socket", VirtualSocket)
        for name in ("create_connection", "getaddrinfo", "gethostbyname"):
            put(socket, name, _forbidden_to_all(f"socket.{name}"))
        _use_the_loop(put)
        yield


def _use_the_loop(put: Callable[[Any, str, Any], None]) -> None:
    """Let what connects around the loop (a faster transport of picows) go through it."""
    fast = sys.modules.get("aiofastnet")
    if fast is not None:

        def connect(over: VirtualLoop, *args: Any, **options: Any) -> Any:
            return over.create_connection(*args, **options)

        put(fast, "create_connection", connect)


def _fence_clocks(
    put: Callable[[Any, str, Any], None], loop: VirtualLoop, wall_ns: Callable[[], int]
) -> None:
    clocks: dict[str, Callable[[], float]] = {
        "time": lambda: wall_ns() / 1e9,
        "time_ns": wall_ns,
        "monotonic": loop.time,
        "monotonic_ns": loop.now_ns,
        "perf_counter": loop.time,
        "perf_counter_ns": loop.now_ns,
    }
    real = {name: getattr(time, name) for name in clocks}
    for name, virtual in clocks.items():
        put(time, name, _forbidden_to_us(f"time.{name}", virtual))
    put(time, "sleep", _forbidden_to_all("time.sleep"))
    for name in ("now_ns", "monotonic_ns"):
        put(RealClock, name, staticmethod(_forbidden_to_all(f"RealClock.{name}")))
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(LIBRARIES):
            for name, clock in real.items():
                if module.__dict__.get(name) is clock:
                    put(module, name, clocks[name])


def _forbidden_to_us(what: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*args: Any, **options: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - who asks?
        if caller.startswith(OURS):
            raise Forbidden(f"{caller} called {what} in virtual time")
        return otherwise(*args, **options)

    return guarded


def _forbidden_to_all(what: str) -> Callable[..., Any]:
    def refuse(*_args: Any, **_options: Any) -> Any:
        raise Forbidden(f"{what} was called in virtual time")

    return refuse
