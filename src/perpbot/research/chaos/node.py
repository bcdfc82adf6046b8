"""One life of the node: folds rebuilt from the journal, a new core, new ways to the exchanges.

`NodeCrash` is the death of the process: it is no `Exception`, nothing in the node handles it, and
what the dead core had scheduled never runs. What was journalled before it survives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from perpbot.app.core import Core, Folds, Markets
from perpbot.configuration import Settings
from perpbot.domain.events import Event
from perpbot.kernel.clock import TimerHandle, VirtualTime
from perpbot.kernel.journal import MemoryJournal
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.door import Door


class NodeCrash(BaseException):
    """The process dies here."""


class LifeTimers:
    """Timers that die with their node."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.alive = True

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call `callback` if the node still lives then."""

        def run() -> None:
            if self.alive:
                callback()

        return self._time.call_later(delay_ns, run)


class ChaosJournal(MemoryJournal):
    """A journal that can kill the node before or after any append; outlives every node."""

    def __init__(self, counters: Counters, heard: Callable[[Event], None]) -> None:
        super().__init__()
        self._counters = counters
        self._heard = heard
        self._dead = False
        self._left = 0
        self._point = "before"

    def arm(self, appends: int, point: str) -> None:
        """Die at the n-th append from now (`before` or `after` it), or at the next send."""
        self._left, self._point = max(appends, 1), point

    def revive(self) -> None:
        """A new process opened the journal."""
        self._dead = False

    @property
    def armed(self) -> bool:
        """Whether a death is waiting."""
        return self._left > 0

    def disarm(self) -> None:
        """No death after all."""
        self._left = 0

    def append(self, event: Event) -> int:
        """Keep one event, or die."""
        if self._dead:
            raise NodeCrash("dead already")
        dies = False
        if self._left and self._point != "send":
            self._left -= 1
            dies = self._left == 0
        if dies and self._point == "before":
            self._die(event.kind)
        sequence = self.keep(event)
        if dies:
            self._die(event.kind)
        return sequence

    def keep(self, event: Event) -> int:
        """Write the record."""
        sequence = super().append(event)
        self._heard(event)
        return sequence

    def before_send(self) -> None:
        """A request is about to leave: die here when armed for it."""
        if self._left and self._point == "send":
            self._left = 0
            self._die("request")

    def _die(self, what: str) -> None:
        self._dead = True
        self._counters.kill_points[f"{self._point} {what}"] += 1
        self._counters.hit("21")
        raise NodeCrash(f"{self._point} {what}")


class Life:
    """One incarnation. Building it may raise `NodeCrash` (death in recovery)."""

    def __init__(
        self,
        settings: Settings,
        markets: Markets,
        journal: ChaosJournal,
        time: VirtualTime,
        doors: Callable[[Core], Mapping[str, Door]],
        counters: Counters,
        seed: int,
    ) -> None:
        self.timers = LifeTimers(time)
        self.started_ns = time.now_ns()
        folds = Folds()
        folds.state().replay(journal.records())
        self.core = Core(
            settings,
            markets,
            folds,
            clock=time,
            timers=self.timers,
            rng=random.Random(f"chaos node {seed} {folds.runs.epoch}"),
            journal=journal,
        )
        counters.watch(self.core)
        self.doors = dict(doors(self.core))
        self.slots = {
            key: self.core.quotes.slot(instrument)
            for key, instrument in markets.instruments.items()
        }

    def start(self) -> None:
        """Say what is connected and begin."""
        for door in self.doors.values():
            door.start()
        self.core.start(mode="replay", version="chaos")

    def die(self) -> None:
        """Nothing of this node runs any more; what it sent is on its way."""
        self.timers.alive = False
        for door in self.doors.values():
            door.open = False
