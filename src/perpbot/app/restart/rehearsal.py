"""What a restart would do, and why: the restart itself, with nobody behind the doors.

The recovered state is given to a core in virtual time that writes to memory and has no venue. It
starts as any node starts, and what it decides in the first moment is what a restart would decide:
the same watch, the same pair trader, the same gates, no second opinion. The folds are used up.
"""

from __future__ import annotations

import random

import msgspec

from perpbot import __version__
from perpbot.app.core import Core
from perpbot.app.markets import Markets
from perpbot.app.recovery import Recovered
from perpbot.app.restart.found import Found
from perpbot.app.restart.outlook import Outlook, Step, VenueOutlook
from perpbot.app.restart.words import text_of
from perpbot.configuration import Settings
from perpbot.domain.events import EvaluatePair, Event, FollowCapital, RunStarted
from perpbot.guardian.epoch import Epoch
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import MS, Clock, Timers, VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal

LOOK_NS = 500 * MS
"""How far into the restart is looked: every first question has been asked by then."""
_INTERNAL = (EvaluatePair, FollowCapital, RunStarted)


class Rehearsal:
    """A core that is about to start; `start` starts it, `outlook` tells what it has done since."""

    def __init__(
        self,
        settings: Settings,
        markets: Markets,
        recovered: Recovered,
        clock: Clock,
        timers: Timers,
        takeover: Epoch | None = None,
        *,
        may_lack: bool = False,
    ) -> None:
        """`takeover` and `may_lack` are what the restart will find, as for a `Core`."""
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._heard: list[tuple[int, Event]] = []
        self.core = Core(
            settings,
            markets,
            recovered.folds,
            clock=clock,
            timers=timers,
            rng=random.Random(0),
            journal=MemoryJournal(),
            takeover=takeover,
            may_lack=may_lack,
        )
        self.core.bus.subscribe(Event, self._hear)
        self._found = Found(self.core, self._started_ns)

    def _hear(self, event: Event) -> None:
        if not isinstance(event, _INTERNAL):
            self._heard.append((self._clock.now_ns() - self._started_ns, event))

    def start(self) -> str:
        """Start the core as a node would; return what halted it, or ""."""
        try:
            self.core.start(mode=self.core.settings.mode, version=__version__)
        except BusHalted as halt:
            return str(halt)
        return ""

    def outlook(self, halted: str = "") -> Outlook:
        """Tell what was found and what has been done so far."""
        found, runs = self._found, self.core.folds.runs
        by_order, by_pair, others = self._steps()
        return Outlook(
            epoch=runs.epoch,
            orders=tuple(
                msgspec.structs.replace(order, steps=tuple(by_order[order.client_id]))
                for order in found.orders
            ),
            pairs=tuple(
                msgspec.structs.replace(
                    pair,
                    steps=tuple(by_pair[pair.pair]),
                    state_after=self._state_after(pair.pair),
                    next_look_ms=self._next_look_ms(pair.pair),
                    waits_for=self._waits_for(pair.pair),
                )
                for pair in found.pairs
            ),
            reservations=found.reservations,
            leases=found.leases,
            latches=found.latches,
            venues=tuple(
                VenueOutlook(
                    venue=venue,
                    whole_until_ns=runs.whole_until_ns(venue),
                    refusal=self.core.readiness.refusal(venue),
                )
                for venue in self.core.markets.capabilities
            ),
            holdings=found.holdings,
            others=tuple(others),
            halted=halted,
        )

    def _steps(self) -> tuple[dict[str, list[Step]], dict[str, list[Step]], list[Step]]:
        """Return what was done about each order, about each pair, and about neither."""
        by_order: dict[str, list[Step]] = {order.client_id: [] for order in self._found.orders}
        by_pair: dict[str, list[Step]] = {pair.pair: [] for pair in self._found.pairs}
        others: list[Step] = []
        for after_ns, event in self._heard:
            step = Step(after_ns // MS, event.kind, text_of(event, self.core))
            named = [name for name in _orders_of(event) if name in by_order]
            pair = getattr(event, "pair_id", "") or event.correlation_id
            for name in named:
                by_order[name].append(step)
            if pair in by_pair:
                by_pair[pair].append(step)
            elif not named:
                others.append(step)
        return by_order, by_pair, others

    def _state_after(self, pair_id: str) -> str:
        pair = self.core.folds.pairs.get(pair_id)
        return "flat" if pair is None else str(pair.state)

    def _waits_for(self, pair_id: str) -> tuple[str, ...]:
        pair = self.core.folds.pairs.get(pair_id)
        return () if pair is None else self.core.trader.unheard(pair)

    def _next_look_ms(self, pair_id: str) -> int | None:
        due_ns = self.core.trader.next_look_ns(pair_id)
        return None if due_ns is None else max(due_ns - self._clock.monotonic_ns(), 0) // MS


def rehearse(
    settings: Settings,
    markets: Markets,
    recovered: Recovered,
    now_ns: int,
    takeover: Epoch | None = None,
    *,
    may_lack: bool = False,
) -> Outlook:
    """Start a core on what was recovered, at `now_ns`, without any venue; tell what it did."""
    time = VirtualTime(now_ns)
    rehearsal = Rehearsal(settings, markets, recovered, time, time, takeover, may_lack=may_lack)
    halted = rehearsal.start()
    if not halted:
        try:
            time.run_until(now_ns + LOOK_NS)
        except BusHalted as halt:
            halted = str(halt)
    return rehearsal.outlook(halted)


def _orders_of(event: Event) -> tuple[str, ...]:
    many: tuple[str, ...] = getattr(event, "client_ids", ())
    one: str = getattr(event, "client_id", "")
    # Questions for missing executions name their order by correlation.
    return many or (one or event.correlation_id,)
