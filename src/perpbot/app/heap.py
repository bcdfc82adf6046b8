"""The memory of a process that holds a node for weeks: what lives long, and what is large.

Modules, settings and components live as long as the process. A full collection would walk over all
of them again and again, in the middle of an order for tens of milliseconds. And the state of a
snapshot is megabytes for a moment: they are to go back to the system.
"""

from __future__ import annotations

import ctypes
import gc

LARGE_BYTES = 128 * 1024
_M_MMAP_THRESHOLD = -3
"""Of malloc.h, glibc."""


def set_aside() -> None:
    """Collect once, then leave alone everything that is alive now; call it when a node is open.

    What an earlier call left alone is looked at again, so that a node that ended leaves nothing.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def give_large_back() -> bool:
    """Have each large buffer mapped by itself, so that it is given back when it is freed.

    Once a large one was freed glibc takes ones of its size from the heap, where whatever comes
    after them holds their place: each snapshot leaves the process a little larger. Return whether
    the allocator takes the wish; others have none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1
