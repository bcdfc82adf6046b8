"""Where a node may die: before and after each journal append, send and receive.

The reaper waits for a place, armed by the plan of the seed. `NodeCrash` is the death of the
process: it is no `Exception`, nothing in the node handles it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from perpbot.research.chaos.counters import Counters


class NodeCrash(BaseException):
    """The process dies here."""


class Place(StrEnum):
    """What the node was about to do, or had just done."""

    APPEND = "append"
    SEND = "send"
    RECEIVE = "receive"


class Death(msgspec.Struct, frozen=True):
    """Die before (or after) the n-th time that this happens from now on."""

    place: Place
    after: bool
    count: int = 1
    kind: str = ""
    """Kind of record, purpose of an order or kind of report; "" for any."""


class Reaper:
    """Lives through all incarnations of the node, as the plan does."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._death: Death | None = None
        self._left = 0
        self._due_after: Place | None = None
        self._nested = False
        self._row = ""
        self.dead = False
        self.killed_by = ""
        """The row of the matrix that the death came from, until the next life."""

    def arm(self, death: Death, row: str = "21", *, nested: bool = False) -> None:
        """Wait for a place; `nested`: it is a death in the recovery from another one."""
        self._death, self._left, self._nested = death, max(death.count, 1), nested
        self._row = row
        self._due_after = None

    def disarm(self) -> None:
        """No death after all."""
        self._death = self._due_after = None

    def revive(self) -> None:
        """A new process lives."""
        self.dead = False
        self.killed_by = ""

    def before(self, place: Place, kind: str) -> None:
        """This is about to happen. Raises `NodeCrash` where it kills, or to who is dead."""
        if self.dead:
            raise NodeCrash("dead already")
        death = self._death
        if death is None or death.place is not place or death.kind not in {"", kind}:
            return
        self._left -= 1
        if self._left:
            return
        if death.after:
            self._due_after = place
        else:
            self._kill("before", place, kind)

    def after(self, place: Place, kind: str) -> None:
        """This has happened. Raises `NodeCrash` where it kills."""
        if self._due_after is place:
            self._kill("after", place, kind)

    def _kill(self, point: str, place: Place, kind: str) -> None:
        self.disarm()
        self.dead = True
        self.killed_by = self._row
        name = f"{point} {place} {kind}"
        self._counters.kill_points[name] += 1
        if self._nested:
            self._counters.kill_points["nested"] += 1
        self._counters.hit(self._row)
        raise NodeCrash(name)
