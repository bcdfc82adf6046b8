"""Delays between attempts to connect: full jitter, a cap, and no last attempt."""

from __future__ import annotations

import random

_DOUBLINGS = 32  # beyond this every cap is reached; keeps the power small for ever


class Backoff:
    """Draws each delay evenly from 0 to min(`cap_s`, `base_s` doubled per attempt)."""

    def __init__(self, *, base_s: float = 1.0, cap_s: float = 60.0, rng: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """How many delays were drawn since the last reset."""
        return self._attempts

    def next_s(self) -> float:
        """Return the next delay in seconds."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self._attempts, _DOUBLINGS))
        self._attempts += 1
        return self._rng.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Start again at the base: the connection proved itself."""
        self._attempts = 0
