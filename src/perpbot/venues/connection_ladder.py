"""The state table of a venue's public side: quotes by websocket, by REST, or none."""

from __future__ import annotations

from typing import ClassVar

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import ConnectionState

LIVE = ConnectionState.LIVE
POLLING = ConnectionState.POLLING
STALE = ConnectionState.STALE
DOWN = ConnectionState.DOWN


class ConnectionLadder:
    """Where the public side is, and what moves it.

    | from    | data | silent  | poll ok | polls failed | closed |
    |---------|------|---------|---------|--------------|--------|
    | DOWN    | LIVE | POLLING | DOWN    | DOWN         | DOWN   |
    | LIVE    | LIVE | POLLING | LIVE    | LIVE         | DOWN   |
    | POLLING | LIVE | POLLING | POLLING | STALE        | DOWN   |
    | STALE   | LIVE | STALE   | POLLING | STALE        | DOWN   |
    """

    _TABLE: ClassVar[dict[tuple[ConnectionState, str], ConnectionState]] = {
        (DOWN, "data"): LIVE,
        (DOWN, "silent"): POLLING,
        (LIVE, "silent"): POLLING,
        (POLLING, "data"): LIVE,
        (POLLING, "polls failed"): STALE,
        (STALE, "data"): LIVE,
        (STALE, "poll ok"): POLLING,
        (LIVE, "closed"): DOWN,
        (POLLING, "closed"): DOWN,
        (STALE, "closed"): DOWN,
    }
    _EVENTS = frozenset({"data", "silent", "poll ok", "polls failed", "closed"})

    def __init__(self) -> None:
        self.state = DOWN

    def on(self, event: str) -> bool:
        """Move; return whether the state changed. Raise `StateConflict` for an unknown event."""
        if event not in self._EVENTS:
            raise StateConflict(
                f"ladder event was {event!r}, one of {sorted(self._EVENTS)} expected"
            )
        before = self.state
        self.state = self._TABLE.get((before, event), before)
        return self.state is not before
