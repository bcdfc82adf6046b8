"""What a node is made of, out of the garbage collector's sight.

Modules, settings and components live as long as the process. A full collection would walk over all
of them again and again, in the middle of an order for tens of milliseconds.
"""

from __future__ import annotations

import gc


def set_aside() -> None:
    """Collect once, then leave alone everything that is alive now; call it when a node is open.

    What an earlier call left alone is looked at again, so that a node that ended leaves nothing.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
