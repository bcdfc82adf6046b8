"""The garbage collector, large buffers, and what a node is made of."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from perpbot.app.heap import set_aside


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """Other tests want their garbage collected."""
    yield
    gc.unfreeze()


class Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_alive_is_not_walked_over_any_more() -> None:
    """Almost everything that there is; what is made afterwards is collected as ever."""
    before = len(gc.get_objects())
    set_aside()
    assert gc.get_freeze_count() > before / 2
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None


def test_what_has_ended_since_is_freed_by_the_next_call() -> None:
    """A node that begins anew does not keep the one before it."""
    knot = Knot()
    seen = weakref.ref(knot)
    set_aside()
    del knot
    gc.collect()
    assert seen() is not None
    set_aside()
    assert seen() is None


HELD = """
import os, sys
from perpbot.app.heap import give_large_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if sys.argv[1] == "back":
    assert give_large_back()
del_me = bytes(30 << 20)
del del_me
before, large, pins = resident(), [], []
for _ in range(20):
    large.append(b"x" * (1 << 20))
    pins.append(bytearray(2_000))
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator takes no wishes")
def test_large_buffers_go_back_to_the_system() -> None:
    """Beside small ones that stay, and after a larger one was freed."""

    def held(how: str) -> int:
        command = [sys.executable, "-c", HELD, how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert held("back") < 2 << 20 < held("usual")
