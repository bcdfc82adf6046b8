"""One seed of tier A from its first step to its last: a world, and a node that may die in it.

`Stage.run` plays the chaos phase, heals everything, and waits until all is flat. It shares virtual
time and the in-process venues with backtests; nothing here is random beyond the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from perpbot.app.core import Core
from perpbot.configuration import Settings
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.ground import Ground
from perpbot.research.chaos.moments import Moments
from perpbot.research.chaos.money import Unit
from perpbot.research.chaos.node import ChaosJournal, Life
from perpbot.research.chaos.plan import START_NS, Plan
from perpbot.research.chaos.quotes import Quotes
from perpbot.research.chaos.reaper import Death, NodeCrash, Reaper
from perpbot.research.chaos.settings import chaos_settings
from perpbot.research.chaos.settlement import (
    CLOSE_AFTER_NS,
    CONVERGE_NS,
    check_profit,
    check_recovery,
    check_snapshot,
    check_wallets,
    unbooked,
)
from perpbot.research.chaos.unhedged import Window
from perpbot.research.chaos.witness import Witness

TICK_NS = 300 * MS
LIVES = 40
PROFIT_NEAR = Decimal("0.0001")
"""USD by which our profit may differ from the accountant's."""


class Stage:
    """See the module."""

    def __init__(self, plan: Plan, counters: Counters) -> None:
        self.plan = plan
        self.counters = counters
        self.time = VirtualTime(START_NS)
        self.witness = Witness(plan, self.time)
        self.reaper = Reaper(counters)
        self.journal = ChaosJournal(self.reaper, counters, self.witness.journalled)
        self.journal.snapshot_every = plan.quirks.snapshot_every
        self.rng = random.Random(f"chaos stage {plan.seed}")
        self.ground = Ground(plan, self.time, self.witness, counters)
        self.unit = Unit(
            self.ground.accountant, [purse.key for purse in self.ground.purses.values()]
        )
        self._quotes = Quotes(self.ground, self.witness, counters, self.rng)
        self.life: Life | None = None
        self.lives = 0
        self.absences: list[Window] = []
        """When there was no node."""
        self._died_ns = 0
        self._over = False
        """Something raised that nothing may raise: the seed has failed, nothing can go on."""
        self.nested: list[Death] = []
        """Deaths in the recoveries to come."""

    # --- lives -----------------------------------------------------------------------------------

    def _begin_life(self) -> None:
        self.lives += 1
        self._returned()
        self.reaper.revive()
        life = Life(
            self._settings(),
            self.ground.markets(),
            self.journal,
            self.time,
            lambda core: self.ground.doors(core, self.reaper),
            self.counters,
            self.plan.seed,
        )
        self.life = self._quotes.node = life
        if self.nested:
            self.reaper.arm(self.nested.pop(0), nested=True)
        life.start()
        if self.time.now_ns() >= self.plan.heal_ns:
            life.core.stop_opening()

    def _settings(self) -> Settings:
        """Return what the node is told; its queues are tiny only while things are broken."""
        quirks = self.plan.quirks
        settings = chaos_settings(self.plan.fallback, quirks.pace)
        self.witness.may_halt = False
        if not quirks.high_water or self.time.now_ns() >= self.plan.heal_ns:
            return settings
        limits = {"high_water_events": quirks.high_water}
        if quirks.hard_limit and self.lives == 1:
            limits["hard_limit_events"] = quirks.hard_limit
            self.witness.may_halt = True
        return settings.model_copy(update={"bus": settings.bus.model_copy(update=limits)})

    def _returned(self) -> None:
        if self._died_ns:
            self.absences.append((self._died_ns, self.time.now_ns()))
            self._died_ns = 0

    def _end_life(self) -> None:
        """The node died; another one starts after a while."""
        life = self.life
        if life is not None:
            life.die()
        if self.reaper.killed_by == "22":
            self.journal.lose_tail()
            self.witness.relearn(record.event() for record in self.journal.records())
        if life is not None:
            self._guard(lambda: check_snapshot(self.witness, self.journal.records()))
        self.life = None
        self._died_ns = self._died_ns or self.time.now_ns()
        self.witness.died()
        if self.lives >= LIVES:
            self.witness.violate(f"the node died {self.lives} times")
            return
        self.time.call_later(self.rng.randrange(200, 5_000) * MS, self._begin_life)

    def _guard(self, act: Callable[[], None]) -> None:
        """Do something that may kill the node."""
        try:
            act()
        except NodeCrash:
            self._end_life()
        except BusHalted as halted:
            if self.witness.may_halt or self.journal.exhausted:
                self._end_life()
                return
            self.witness.violate(f"E3 the core halted: {halted}")
            self._over = True
        except Exception as error:  # noqa: BLE001 - whatever breaks is the finding of this seed
            self.witness.violate(f"E3 {type(error).__name__}: {error}")
            self._over = True

    def _advance(self, until_ns: int) -> None:
        while self.time.now_ns() < until_ns and not self._over:
            self._guard(lambda: self.time.run_until(until_ns))

    # --- the run ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Chaos, heal, converge."""
        plan = self.plan
        moments = Moments(self)
        for fault in plan.faults:
            moments.schedule(fault)
        self._quotes.step()
        self._guard(self._begin_life)
        healed = False
        end_ns = plan.heal_ns + CONVERGE_NS
        while self.time.now_ns() < end_ns and not self._over:
            self._advance(self.time.now_ns() + TICK_NS)
            self._guard(self._quotes.step)
            now_ns = self.time.now_ns()
            if not healed and now_ns >= plan.heal_ns:
                healed = True
                self._heal()
            if self.life is not None:
                self.witness.inspect(self.life.core, self.life.started_ns)
                self.unit.inspect(self.life.core, self.witness)
            if now_ns >= plan.heal_ns + CLOSE_AFTER_NS:
                self._guard(self._close_all)
                if self.life is not None and not self._owed(self.life.core):
                    break
        self._finish()

    def _close_all(self) -> None:
        if self.life is not None:
            self.life.core.close_all("chaos_end")

    def _heal(self) -> None:
        self.ground.market.calm = True
        self.reaper.disarm()
        self.nested.clear()
        if self.life is not None:
            self._guard(self.life.core.stop_opening)

    def _finish(self) -> None:
        """The last answers arrive; then everything must agree."""
        self._advance(self.time.now_ns() + SECOND)
        self._returned()
        self.witness.exposure.close()
        if self._over:
            return
        if self.life is None:
            self.witness.violate("the node did not come back")
            return
        core = self.life.core
        for text in self._owed(core):
            self.witness.violate(f"not settled {CONVERGE_NS // SECOND} s after healing: {text}")
        check_recovery(self.witness, self.journal.records(), core)
        check_wallets(self.witness, self.ground.purses.values(), self.ground.accountant)
        # What nobody told has no fee and no price of its own in our books.
        if not any(wire.hidden for wire in self.ground.wires.values()):
            check_profit(self.witness, core, self.ground.accountant, PROFIT_NEAR)

    def _owed(self, core: Core) -> list[str]:
        """Return what keeps the world from being settled, or an empty list."""
        owed = self.witness.settled(core)
        if "22" in self.plan.rows:
            return owed  # books that lost their beginning began again, with what was there then
        return owed + unbooked(core, self.ground.purses.values(), self.plan.balance)
