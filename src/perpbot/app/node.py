"""A running node: the core on an asyncio loop, its journal, its venues, an orderly end.

Start and crash recovery are one path: fold the journal, continue what it left, compare with every
venue, and only then open anything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from perpbot.app.core import Core
from perpbot.app.durability import may_lack
from perpbot.app.ending import cancel_resting, left_in_order
from perpbot.app.known import write_known
from perpbot.app.lifeline import Lifeline
from perpbot.app.links import VenueLinks, declared
from perpbot.app.listing import learn_instruments
from perpbot.app.markets import Markets
from perpbot.app.memory import NodeMemory
from perpbot.app.rates import rates_of
from perpbot.app.tally import RunTally
from perpbot.configuration import Settings
from perpbot.domain.events import ConnectionState, RunEnded, VenueConnectionChanged
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.guardian.pulse import TakenOver
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import Clock, LoopTimers
from perpbot.kernel.ids import first_epoch
from perpbot.kernel.journal.settling import Beside
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.currency import CurrencyRates
from perpbot.venues.port import Venue

FLATTEN_S = 60.0
"""Longest time that level 5 of the kill switch waits for everything to be flat."""
POLL_S = 0.05
DISK_THREADS = 2
"""One may write a snapshot, one force a segment of the journal to the disk."""


class Node:
    """See the module. `open` prepares it, `run` works until `leave`, `close` ends it."""

    def __init__(
        self,
        settings: Settings,
        venues: Sequence[Venue],
        *,
        clock: Clock,
        rng: random.Random,
        state_directory: Path,
        version: str,
        say: Callable[[str], None] = lambda _text: None,
        rates: CurrencyRates | None = None,
        lifeline: Lifeline | None = None,
        beside: Beside | None = None,
    ) -> None:
        """`lifeline` ties it to a guardian and to systemd; None where positions die with it.

        `beside` begins what waits for a disk: in threads of the node's own if not told otherwise.
        """
        self.settings = settings
        self._lifeline = lifeline
        self.venues = {venue.name: venue for venue in venues}
        self._clock = clock
        self._rng = rng
        self._state_directory = state_directory
        self._version = version
        self._say = say
        self._rates = rates or rates_of(settings)
        self._accounts = {name: Account(venue.account_name) for name, venue in self.venues.items()}
        self._leaving = asyncio.Event()
        self._halt: BaseException | None = None
        self._beside = beside
        self._held = ExitStack()

    # --- starting ---

    async def open(self) -> None:
        """Learn what is listed, recover from the journal, begin. Raises `ConfigError`.

        What was opened is closed again when it fails.
        """
        try:
            await self._open()
        except BaseException:
            self._fall_silent(in_order=False)
            self._held.close()
            for venue in self.venues.values():
                await venue.close()
            raise

    async def _open(self) -> None:
        threads = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self.memory = memory = NodeMemory(
            self._state_directory / "journal",
            self.settings,
            self._say,
            self._beside or threads.submit,
        )
        self._held.callback(memory.close)
        self._held.callback(threads.shutdown)  # what they do comes to its end first
        instruments = await learn_instruments(
            list(self.venues.values()),
            self.settings,
            memory.folds.in_use(),
            self._state_directory,
            self._say,
            self._rng,
        )
        await self._leave_out(instruments)
        self._build(instruments)
        self.links.connect()
        self._write_known()
        self.core.start(mode=self.settings.mode, version=self._version)
        memory.keep_snapshots(self.core, self._timers, self.supervisor)

    def _build(self, instruments: Mapping[tuple[str, str], Instrument]) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._timers = timers = LoopTimers(loop)
        self.core = Core(
            self.settings,
            Markets(
                instruments=dict(instruments),
                capabilities={
                    name: declared(venue, self.settings) for name, venue in self.venues.items()
                },
                accounts=self._accounts,
                rates=self._rates,
            ),
            self.memory.folds,
            clock=self._clock,
            timers=timers,
            rng=self._rng,
            journal=self.memory.journal,
            wake=self._wake,
            on_halt=self._halted,
            leave=self._leave_when_flat,
            takeover=None if self._lifeline is None else self._lifeline.takeover(),
            may_lack=self._lifeline is not None
            and may_lack(self._state_directory, self.settings.journal.sync),
            first_epoch=first_epoch(self._clock.now_ns(), self._rng),
        )
        if self._lifeline is not None:
            self._lifeline.begin(self.core, timers)
        self.core.bus.subscribe(VenueConnectionChanged, self._learn_account)
        self.tally = RunTally(self.core.bus)
        self.supervisor = Supervisor(self.core.bus.publish, self._clock, self._rng)
        self.links = VenueLinks(
            self.core,
            self.venues,
            clock=self._clock,
            timers=timers,
            rng=self._rng,
            supervisor=self.supervisor,
            fence=self._may_send,
        )

    async def _leave_out(self, instruments: Mapping[tuple[str, str], Instrument]) -> None:
        """Close the venues that could not be reached, or list nothing that is traded here."""
        listed = {venue for venue, _ in instruments}
        for name in [name for name in self.venues if name not in listed]:
            await self.venues.pop(name).close()

    def _learn_account(self, event: VenueConnectionChanged) -> None:
        """Once a venue is prepared its position mode is known; nothing has opened there before."""
        if event.channel == "trading" and event.state is ConnectionState.LIVE:
            venue = self.venues[event.venue]
            self._accounts[event.venue] = Account(venue.account_name, venue.hedge_mode)
            self._write_known()

    def _write_known(self) -> None:
        """For people who ask what a restart would do; nothing here depends on it."""
        try:
            write_known(self._state_directory, self.core.markets, self._clock.now_ns())
        except OSError as error:
            self._say(f"what is known of the markets was not written: {error}")

    def _wake(self) -> None:
        """Another thread published: let the loop take it."""
        self._loop.call_soon_threadsafe(self.core.bus.drain)

    def _may_send(self) -> None:
        if self._lifeline is not None:
            self._lifeline.check()

    def fail(self, error: BaseException) -> None:
        """End in order, then raise `error` from `run`."""
        self._halted(error)

    def _halted(self, error: BaseException) -> None:
        self._halt = error
        self._timers.close()
        if isinstance(error, TakenOver):
            # What waits for its turn in an adapter must not go out either.
            self.supervisor.cancel()
        self._leaving.set()

    # --- running ---

    async def run(self) -> None:
        """Work until `leave` is called; raise what halted the bus, if anything did."""
        await self._leaving.wait()
        if self._halt is not None:
            raise self._halt

    def leave(self) -> None:
        """Ask for an orderly end; safe from a signal handler of the loop."""
        self._leaving.set()

    def _leave_when_flat(self) -> None:
        """Level 5 of the kill switch: flatten, then exit."""
        self.supervisor.run("kill switch exit", self._end_flat())

    async def _end_flat(self) -> None:
        if not await self._flat_within(FLATTEN_S):
            self._say(f"not flat after {FLATTEN_S:g} s; the kill switch ends the node as it is")
        self.leave()

    async def wind_down(self, timeout_s: float, *, patience_s: float = 0.0) -> bool:
        """Stop opening, let pairs leave for a while, close the rest; tell whether all is flat."""
        self.core.stop_opening()
        if not await self._flat_within(patience_s):
            self.core.close_all("shutdown")
        return await self._flat_within(timeout_s)

    async def _flat_within(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        # Flatness is a fact of several tables: looked at, not waited for.
        while not self.core.flat and loop.time() < until and self._halt is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return self.core.flat

    # --- ending ---

    async def close(self, reason: str) -> None:
        """Cancel our resting orders, let what is under way answer, close everything."""
        in_order = False
        try:
            if self.core.bus.halted is None:
                in_order = await self._end_run(reason)
        except BusHalted:
            # A guardian that took over while we ended sees to the rest.
            if not isinstance(self._halt, TakenOver):
                raise
        finally:
            await self._close_all(in_order=in_order)

    async def _end_run(self, reason: str) -> bool:
        """Leave the venues; tell whether nothing was left half done."""
        self.core.stop_opening()
        self.core.reconcile.stop()
        self.core.instruments.stop()
        await cancel_resting(self.core, self._clock)
        in_order = left_in_order(self.core.folds)
        self.core.bus.publish(
            RunEnded(ts_ns=self._clock.now_ns(), epoch=self.core.folds.runs.epoch, reason=reason)
        )
        return in_order

    async def _close_all(self, *, in_order: bool) -> None:
        # What is due from here on would find tasks, sockets and the journal closed.
        self._timers.close()
        self._fall_silent(in_order=in_order)
        try:
            await self.supervisor.close()
            for venue in self.venues.values():
                await venue.close()
            if self.core.bus.halted is None:
                self.memory.keep_last(self.core)
        finally:
            self._held.close()

    def _fall_silent(self, *, in_order: bool) -> None:
        if self._lifeline is not None:
            self._lifeline.end(in_order=in_order)
