"""How often one address may open a websocket, as a venue's front door counts it."""

from __future__ import annotations

from collections import deque

import msgspec

SECOND_NS = 1_000_000_000


class ConnectLimit(msgspec.Struct, frozen=True):
    """At most `limit` websockets opened in any `period_s` seconds, for each address."""

    limit: int
    period_s: float


class Connects:
    """What was let in, by address. Who was refused does not count."""

    def __init__(self, limit: ConnectLimit) -> None:
        self._limit = limit.limit
        self._period_ns = int(limit.period_s * SECOND_NS)
        self._let_in: dict[str, deque[int]] = {}
        self.refused = 0

    def take(self, address: str, now_ns: int) -> bool:
        """Let one in and return True, or refuse."""
        let_in = self._let_in.setdefault(address, deque())
        while let_in and let_in[0] + self._period_ns <= now_ns:
            let_in.popleft()
        if len(let_in) >= self._limit:
            self.refused += 1
            return False
        let_in.append(now_ns)
        return True
