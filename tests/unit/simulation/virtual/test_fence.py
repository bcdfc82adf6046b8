from __future__ import annotations

import os
import random
import socket
import threading
import time
import types
import uuid

import pytest

from perpbot.kernel.clock import RealClock
from perpbot.simulation.virtual.fence import fenced
from perpbot.simulation.virtual.loop import Forbidden, new_loop
from perpbot.simulation.virtual.sockets import VirtualSocket

WALL_NS = 1_780_000_000 * 10**9


def ours(code: str) -> types.ModuleType:
    """Return a module of perpbot's name with `code` in it."""
    module = types.ModuleType("perpbot.made_up")
    exec(code, module.__dict__)  # noqa: S102 - the fence looks at who calls
    return module


REACHES = [
    "time.time()",
    "time.time_ns()",
    "time.monotonic()",
    "time.monotonic_ns()",
    "time.perf_counter()",
    "random.random()",
    "random.choice([1, 2])",
    "os.urandom(4)",
    "secrets.token_bytes(4)",
    "uuid.uuid4()",
    "time.sleep(0)",
    "threading.Thread(target=print).start()",
    "socket.getaddrinfo('okx.test', 443)",
    "RealClock.now_ns()",
    "RealClock().monotonic_ns()",
]


@pytest.mark.parametrize("reach", REACHES)
def test_our_code_may_not_reach_out(reach: str) -> None:
    """Clocks, randomness, threads, names: whatever is not handed in raises."""
    module = ours(
        "import os, random, secrets, socket, threading, time, uuid\n"
        "from perpbot.kernel.clock import RealClock\n"
        f"def reach():\n    return {reach}\n"
    )
    with (
        fenced(new_loop(random.Random(1)), lambda: WALL_NS, random.Random(1)),
        pytest.raises(Forbidden),
    ):
        module.reach()
    if "Thread" not in reach and "getaddrinfo" not in reach:
        module.reach()


def test_libraries_get_virtual_time_and_seeded_bytes() -> None:
    """The same each time, and nothing of it real."""
    loop = new_loop(random.Random(1))
    seen = []
    for _ in range(2):
        with fenced(loop, lambda: WALL_NS, random.Random(5)):
            seen.append((time.time(), time.monotonic(), random.random(), os.urandom(8)))
            assert isinstance(socket.socket(), VirtualSocket)
            with pytest.raises(Forbidden):
                uuid.uuid4()
    assert seen[0] == seen[1]
    assert seen[0][:2] == (WALL_NS / 1e9, loop.time())


def test_the_fence_comes_down_again() -> None:
    """Also when the block raises."""
    before = (time.time, time.monotonic, os.urandom, socket.socket, threading.Thread.start)
    with (
        pytest.raises(ValueError, match="inside"),
        fenced(new_loop(random.Random(1)), lambda: WALL_NS, random.Random(1)),
    ):
        raise ValueError("inside")
    after = (time.time, time.monotonic, os.urandom, socket.socket, threading.Thread.start)
    assert before == after
    assert RealClock.now_ns() > WALL_NS // 10
