"""One life of the node: folds rebuilt from the journal, a new core, new ways to the exchanges.

What a dead core had scheduled never runs; what it had journalled survives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from perpbot.app.core import Core
from perpbot.app.durability import is_synced_intent
from perpbot.app.markets import Markets
from perpbot.app.recovery import recover
from perpbot.configuration import Settings
from perpbot.domain.errors import JournalFull
from perpbot.domain.events import BusOverflow, Event
from perpbot.kernel.clock import TimerHandle, VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.door import Door
from perpbot.research.chaos.reaper import Place, Reaper


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
    """A journal at which the node can die, before or after any append; outlives every node."""

    def __init__(self, reaper: Reaper, counters: Counters, heard: Callable[[Event], None]) -> None:
        super().__init__()
        self._reaper = reaper
        self._counters = counters
        self._heard = heard
        self.low_space = False
        """Whether only the reserve of the disk is left."""
        self.exhausted = False
        """Whether the reserve is gone too: nothing can be written."""
        self.snapshot_every = 0
        self.dump: Callable[[], bytes] = bytes
        """What a snapshot holds: the state of the node that lives."""
        self._snapshot: tuple[int, bytes] | None = None

    def append(self, event: Event) -> int:
        """Keep one event, or die."""
        self._reaper.before(Place.APPEND, event.kind)
        if self.exhausted:
            raise JournalFull("no space left on the device")
        # Every handler of the record before this one is done: its state is whole.
        if self.snapshot_every and self.last_sequence % self.snapshot_every == 0:
            self._snapshot = (self.last_sequence, self.dump())
        sequence = self.keep(event)
        self._reaper.after(Place.APPEND, event.kind)
        return sequence

    def keep(self, event: Event) -> int:
        """Write the record."""
        sequence = super().append(event)
        self._counters.journalled[event.kind] += 1
        if isinstance(event, BusOverflow) and event.active:
            self._counters.hit("28")
        self._heard(event)
        return sequence

    def read_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot, as a journal of files does."""
        return self._snapshot

    def lose_tail(self) -> None:
        """The power fails: records after the newest one that waited for the disk are gone."""
        kept = 0 if self._snapshot is None else self._snapshot[0]
        for record in reversed(self._records):
            if record.sequence <= kept or is_synced_intent(record.event()):
                kept = max(kept, record.sequence)
                break
        del self._records[kept:]
        self.last_sequence = kept


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
        folds = recover(journal).folds
        self.core = Core(
            settings,
            markets,
            folds,
            clock=time,
            timers=self.timers,
            rng=random.Random(f"chaos node {seed} {folds.runs.epoch}"),
            journal=journal,
        )
        journal.dump = self.core.state.dump
        counters.watch(self.core)
        self.doors = dict(doors(self.core))
        self.slots = {
            key: self.core.quotes.slot(instrument)
            for key, instrument in markets.instruments.items()
        }

    @property
    def alive(self) -> bool:
        """Whether anything of it still runs."""
        return self.timers.alive

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
