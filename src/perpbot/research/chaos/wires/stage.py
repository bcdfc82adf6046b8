"""One seed of tier B from its first callback to its verdict.

Chaos, healing and settling as in tier A, on a virtual loop: the node is a host of a small network,
so are the exchanges, and the stage stands outside of both.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path

from perpbot.app.core import Core
from perpbot.configuration import Settings
from perpbot.kernel.clock import MS, SECOND
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.record import Record
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.money import Unit
from perpbot.research.chaos.plan import (
    QUOTE_INTERVAL_S,
    START_NS,
    TAKER_BPS,
    VENUES,
    Plan,
)
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
from perpbot.research.chaos.wires.death import Doom
from perpbot.research.chaos.wires.ground import Ground
from perpbot.research.chaos.wires.life import Life
from perpbot.research.chaos.wires.moments import Moments
from perpbot.research.chaos.wires.weather import PlannedWeather, kind_of
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.virtual import loop as virtual
from perpbot.simulation.virtual.hosts import HOST, HostDied
from perpbot.simulation.virtual.loop import Deadlock, Forbidden, VirtualLoop
from perpbot.simulation.virtual.network import Network
from perpbot.simulation.virtual.pipes import Link

LOOK_S = 0.3
STARTING_NS = 2 * SECOND
LIVES = 20
PROFIT_NEAR = Decimal("0.01")
"""USD by which our profit may differ: what venues tell has their own digits."""


class WorldClock:
    """The true time of the world, on a loop's clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        """UTC nanoseconds."""
        return START_NS + self._loop.now_ns() - virtual.START_NS

    def monotonic_ns(self) -> int:
        """For durations."""
        return self._loop.now_ns()


@lru_cache(maxsize=8)
def wire_settings(fallback: str, assets: tuple[str, ...]) -> Settings:
    """Return the settings of tier A for a node with venues of its own."""
    chosen = chaos_settings(fallback).model_dump(exclude_unset=True)
    venue = {
        "quote_interval_s": QUOTE_INTERVAL_S,
        "maker_fee_bps": 0,
        "taker_fee_bps": TAKER_BPS,
        "data_silence_s": 5,
        "account_dedicated": True,
    }
    return Settings.model_validate(
        chosen
        | {
            "mode": "demo",
            "market": chosen["market"] | {"symbols": list(assets)},
            "venues": dict.fromkeys(VENUES, venue),
        }
    )


class Stage:
    """See the module. `run` returns when the seed is over; read `witness` then."""

    def __init__(self, plan: Plan, counters: Counters, directory: Path) -> None:
        self.plan = plan
        self.counters = counters
        self._directory = directory
        self.loop = virtual.new_loop(random.Random(f"wires schedule {plan.seed}"))
        self.clock = WorldClock(self.loop)
        self.witness = Witness(plan, self.clock)
        weather = PlannedWeather(plan, self.clock.now_ns, counters)
        weather.on_bytes = self._on_bytes
        self.network = Network(self.loop, weather)
        self.ground = Ground(plan, self.loop, self.clock, self.network, self.witness, counters)
        self.unit = Unit(self.ground.accountant, [purse.key for purse in self.ground.purses])
        self.doom = Doom(counters)
        self.life: Life | None = None
        self.dead: list[Life] = []
        self.absences: list[tuple[int, int]] = []
        """When there was no node, or it stood still; UTC ns."""
        self._died_ns = START_NS
        self._rng = random.Random(f"wires stage {plan.seed}")
        self.nested: list[int] = []
        self._healed = False

    # --- lives -----------------------------------------------------------------------------------

    def _begin_life(self) -> None:
        # A new node has to reach its venues before it can do anything.
        self.absences.append((self._died_ns, self.clock.now_ns() + STARTING_NS))
        number = len(self.dead) + 1
        life = Life(
            host=self.loop.new_host(f"node {number}"),
            settings=wire_settings(self.plan.fallback, self.plan.assets),
            ground=self.ground,
            witness=self.witness,
            counters=self.counters,
            doom=self.doom,
            clock=self.clock,
            directory=self._directory,
            number=number,
            bury=self._bury,
        )
        self.life = life
        life.host.run(life.run())
        if self.nested and not self._healed:
            self.doom.arm("after", self.nested.pop(0))

    def _bury(self, life: Life) -> None:
        """The node died; another one starts after a while."""
        self.network.drop_host(life.host)
        self._died_ns = self.clock.now_ns()
        self.dead.append(life)
        self.life = None
        self.witness.died()
        for meddler in self.ground.meddlers.values():
            meddler.forget()
        if len(self.dead) >= LIVES:
            self.witness.violate(f"the node died {LIVES} times")
            return
        check_snapshot(self.witness, self._records())
        self.network.later(self._rng.randrange(200, 4_000) * MS, self._begin_life)

    def _on_bytes(self, link: Link, up: bool) -> None:  # noqa: FBT001 - the weather's signature
        """Bytes are about to leave: the node may die before, or right after."""
        life = self.life
        if not up or life is None or HOST.get() is not life.host:
            return
        if self.doom.strikes("write", kind_of(link)):
            life.die()
            raise HostDied("write")
        if self.doom.strikes("sent", kind_of(link)):
            self.network.later(0, life.die)

    # --- the run ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Chaos, heal, converge."""
        try:
            self.loop.run_until_complete(self._play())
        except (Deadlock, Forbidden) as error:
            self.witness.violate(f"T4 {error}")

    async def _play(self) -> None:
        plan, clock = self.plan, self.clock
        await self.ground.open()
        moving = self.loop.create_task(self.ground.run())
        moments = Moments(self)
        for fault in plan.faults:
            moments.schedule(fault)
        self._begin_life()
        end_ns = plan.heal_ns + CONVERGE_NS
        while clock.now_ns() < end_ns:
            await asyncio.sleep(LOOK_S)
            if moving.done():
                moving.result()
            if not self._healed and clock.now_ns() >= plan.heal_ns:
                self._heal()
            core = self._core()
            if core is not None:
                self._look(core)
            if self._failed():
                break
            if clock.now_ns() >= plan.heal_ns + CLOSE_AFTER_NS and core is not None:
                self._on_host(partial(core.close_all, "chaos_end"))
                if not self._owed(core):
                    break
        await asyncio.sleep(1.0)
        await self._finish()
        moving.cancel()
        # Half-open connections would let the servers wait for ever.
        for link in list(self.network.links.values()):
            link.reset()
        await self.ground.close()

    def _core(self) -> Core | None:
        """The core of a living, open node that is awake."""
        life = self.life
        if life is None or not life.ready or life.node is None:
            return None
        if life.host.frozen_until_ns > self.loop.now_ns():
            return None
        return life.node.core

    def _on_host(self, act: Callable[[], None]) -> None:
        """Do something in the node, as one of its own callbacks."""
        if self.life is not None:
            self.life.host.context().run(self.loop.call_soon, act)

    def _look(self, core: Core) -> None:
        assert self.life is not None
        halted = core.bus.halted
        if halted is not None:
            self.witness.violate(f"E3 the core halted: {type(halted).__name__}: {halted}")
            return
        self.witness.inspect(core, self.life.awake_ns)
        self.unit.inspect(core, self.witness)
        if self._healed:
            self._on_host(core.stop_opening)

    def _failed(self) -> bool:
        life = self.life
        if life is not None and life.failed is not None:
            self.witness.violate(f"E3 {type(life.failed).__name__}: {life.failed}")
        for text in self.loop.errors:
            self.witness.violate(f"E3 {text}")
        return bool(self.loop.errors) or (life is not None and life.failed is not None)

    def _heal(self) -> None:
        self._healed = True
        self.ground.market.calm = True
        self.doom.disarm()
        self.nested.clear()

    async def _finish(self) -> None:
        """Everything must agree; then the node ends in order and leaves nothing behind."""
        self.witness.exposure.close()
        self._failed()
        life, core = self.life, self._core()
        if life is None or core is None:
            self.witness.violate("the node did not come back")
            return
        for text in self._owed(core):
            self.witness.violate(f"not settled {CONVERGE_NS // SECOND} s after healing: {text}")
        check_recovery(self.witness, self._records(), core)
        check_wallets(self.witness, self.ground.purses, self.ground.accountant)
        check_profit(self.witness, core, self.ground.accountant, PROFIT_NEAR)
        await life.host.run(life.close())
        await asyncio.sleep(1.0)
        left = [task.get_name() for task in life.host.tasks]
        if left:
            self.witness.violate(f"tasks are left behind: {', '.join(left)}")
        open_links = [link.name for link in self.network.links.values() if not link.client.lost]
        if open_links:
            self.witness.violate(f"sockets are left behind: {', '.join(open_links)}")

    def _records(self) -> Iterator[Record]:
        return read_records(self._directory / "journal")

    def _owed(self, core: Core) -> list[str]:
        """Return what keeps the world from being settled, or an empty list."""
        owed = self.witness.settled(core)
        return owed + unbooked(core, self.ground.purses, self.plan.balance)
