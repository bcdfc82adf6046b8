"""Our exchanges for nodes that start many times a minute: the same program, without rate limits.

A node that is killed every second asks for more than a venue grants; how a node behaves at the
limit is judged elsewhere (row 9).
"""

from __future__ import annotations

import sys

from perpbot.simulation.wire.__main__ import main
from perpbot.simulation.wire.binance.limits import Window


def _count_nothing(self: Window, now_ns: int, amount: int) -> None:
    """Leave every window empty."""


if __name__ == "__main__":
    Window.add = _count_nothing  # type: ignore[method-assign]
    sys.exit(main())
