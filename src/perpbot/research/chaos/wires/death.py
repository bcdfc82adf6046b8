"""When and where the node dies, and the journal files that it may die at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from perpbot.domain.events import Event
from perpbot.kernel.journal.writer import Journal
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.virtual.hosts import Host, HostDied

RESERVE_BYTES = 1 << 16
SEGMENT_BYTES = 1 << 15
"""Small enough for nodes to begin several segments in a life."""
_TRADING = ("ORDER_", "PAIR_", "SUBMIT_", "CLOSE_PAIR", "CAPITAL_R", "LEASE_", "POSITION_")
"""How the kinds of records begin that trading leaves."""


class Doom:
    """When the node dies next: at the n-th append (before or after it) or at the n-th write."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._left = 0
        self._point = ""
        self._at_trading = False

    def arm(self, point: str, count: int, *, at_trading: bool = False) -> None:
        """Die at the `count`-th `point` from now; of orders and pairs only, where told so."""
        self._point, self._left, self._at_trading = point, count, at_trading

    def disarm(self) -> None:
        """No death after all."""
        self._left = 0

    def strikes(self, point: str, what: str) -> bool:
        """Whether the node dies at this point."""
        if not self._left or point != self._point:
            return False
        if self._at_trading and not what.startswith(_TRADING):
            return False
        self._left -= 1
        if self._left:
            return False
        self._counters.hit("21")
        self._counters.kill_points[f"{point} {what}"] += 1
        return True


class Mortal(Protocol):
    """What a journal needs of the life that it belongs to."""

    host: Host
    witness: Witness
    doom: Doom
    journal: LifeJournal | None

    def die(self) -> None:
        """The process is gone."""


class LifeJournal(Journal):
    """The journal files of the node; tells the witness, and may be where the node dies."""

    def __init__(self, directory: Path, life: Mortal, **options: Any) -> None:
        self._life = life
        options |= {"reserve_bytes": RESERVE_BYTES, "segment_bytes": SEGMENT_BYTES}
        super().__init__(directory, **options)
        life.journal = self

    def append(self, event: Event) -> int:
        """Write one event, or die."""
        life = self._life
        if not life.host.alive:
            raise HostDied("dead already")
        if life.doom.strikes("before", event.kind):
            life.die()
            raise HostDied(event.kind)
        sequence = super().append(event)
        life.witness.journalled(event)
        if life.doom.strikes("after", event.kind):
            life.die()
            raise HostDied(event.kind)
        return sequence
