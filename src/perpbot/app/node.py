"""A running node: the core on an asyncio loop, its journal, its venues, an orderly end.

Start and crash recovery are one path: fold the journal, continue what it left, compare with every
venue, and only then open anything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec

from perpbot.app.core import Core
from perpbot.app.durability import SYNCED
from perpbot.app.folds import Folds
from perpbot.app.known import Market, keep_in_use, read_known, write_known
from perpbot.app.lifeline import Lifeline
from perpbot.app.markets import Markets
from perpbot.app.paper import PaperVenue
from perpbot.app.rates import RateKeeper
from perpbot.app.recovery import recover
from perpbot.app.tally import RunTally
from perpbot.app.venues import list_instruments
from perpbot.configuration import Settings, effective
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import ConfigError, JournalCorrupt, JournalFull
from perpbot.domain.events import (
    CancelOrders,
    ConnectionState,
    RunEnded,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import PairState, Purpose
from perpbot.execution.deadman import DeadManSwitch
from perpbot.execution.gateway import LatencySamples, VenueGateway
from perpbot.execution.nonces import NonceKeeper
from perpbot.execution.surroundings import Account
from perpbot.execution.warmer import Warmer
from perpbot.guardian.pulse import TakenOver
from perpbot.kernel.bus import BusHalted
from perpbot.kernel.clock import SECOND, Clock, LoopTimers
from perpbot.kernel.ids import first_epoch
from perpbot.kernel.journal.writer import Journal
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.currency import CurrencyRates
from perpbot.settings import Mode
from perpbot.venues.connection import ConnectionSettings, ExchangeConnectionManager
from perpbot.venues.port import Venue

Aside = Callable[[Callable[[], object]], Awaitable[object]]
SNAPSHOT_CHECK_S = 5
DRAIN_S = 5.0
FLATTEN_S = 60.0
"""Longest time that level 5 of the kill switch waits for everything to be flat."""
POLL_S = 0.05


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
        aside: Aside = asyncio.to_thread,
    ) -> None:
        """`lifeline` ties it to a guardian and to systemd; None where positions die with it.

        `aside` does what waits for a disk: beside the loop, unless there is one thread only.
        """
        self.settings = settings
        self._lifeline = lifeline
        self.venues = {venue.name: venue for venue in venues}
        self._clock = clock
        self._rng = rng
        self._state_directory = state_directory
        self._version = version
        self._say = say
        assumed = Decimal(1) if settings.mode in {Mode.DEMO, Mode.REPLAY} else None
        self._rates = rates or CurrencyRates(
            {name: Decimal(str(rate)) for name, rate in settings.market.currency_rates.items()},
            assumed=assumed,
        )
        self._accounts = {name: Account(venue.account_name) for name, venue in self.venues.items()}
        self.latency = LatencySamples()
        self.managers: dict[str, ExchangeConnectionManager] = {}
        self.dead_men: dict[str, DeadManSwitch] = {}
        self._leaving = asyncio.Event()
        self._halt: BaseException | None = None
        self._snapshot_at = 0
        self._keeping = False
        self._aside = aside
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
        folds = self._remember()
        instruments = await self._list(folds.in_use())
        await self._leave_out(instruments)
        self._loop = loop = asyncio.get_running_loop()
        self._timers = timers = LoopTimers(loop)
        self.core = Core(
            self.settings,
            Markets(
                instruments=instruments,
                capabilities={
                    name: _declared(venue, self.settings) for name, venue in self.venues.items()
                },
                accounts=self._accounts,
                rates=self._rates,
            ),
            folds,
            clock=self._clock,
            timers=timers,
            rng=self._rng,
            journal=self.journal,
            wake=self._wake,
            on_halt=self._halted,
            leave=self._leave_when_flat,
            takeover=None if self._lifeline is None else self._lifeline.takeover(),
            first_epoch=first_epoch(self._clock.now_ns(), self._rng),
        )
        if self._lifeline is not None:
            self._lifeline.begin(self.core, timers)
        self.core.bus.subscribe(VenueConnectionChanged, self._learn_account)
        self.tally = RunTally(self.core.bus)
        self.supervisor = Supervisor(self.core.bus.publish, self._clock, self._rng)
        self._connect(instruments, timers)
        if self.settings.mode is not Mode.PAPER:
            self._keep_warm(timers)
        self._keep_rates(instruments)
        self._write_known()
        self.core.start(mode=self.settings.mode, version=self._version)
        self._snapshot_at = self.journal.last_sequence
        timers.call_later(SNAPSHOT_CHECK_S * SECOND, self._check_snapshot)

    def _min_free_bytes(self) -> int:
        """Free space below which nothing opens; a demo or a replay leaves nothing behind."""
        virtual = self.settings.mode.is_virtual
        return 0 if virtual else self.settings.journal.min_free_disk_mb * 1024 * 1024

    async def _list(self, in_use: Collection[Market]) -> dict[Market, Instrument]:
        """Learn what is listed of what is traded, and of what something is still open in."""
        assets = self.settings.market.symbols
        others = sorted({asset for _, asset in in_use} - set(assets))
        listed = await list_instruments(
            list(self.venues.values()), [*assets, *others], self._say, self._rng
        )
        _require_pairs(listed, assets)
        known = None
        if in_use:
            try:
                known = read_known(self._state_directory)
            except ConfigError as error:
                self._say(str(error))
        kept, said = keep_in_use(listed, assets, in_use, known)
        for text in said:
            self._say(text)
        return kept

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

    def _remember(self) -> Folds:
        """Open the journal and fold it. Raises `JournalCorrupt` that says what to do about it."""
        try:
            self.journal = Journal(
                self._state_directory / "journal",
                segment_bytes=self.settings.journal.segment_max_mb * 1024 * 1024,
                sync=SYNCED[self.settings.journal.sync],
                min_free_bytes=self._min_free_bytes(),
            )
            self._held.callback(self.journal.close)
            return self._recover()
        except JournalCorrupt as damage:
            raise JournalCorrupt(
                f"the journal is damaged: {damage}; nothing was changed or sent: "
                "`perpbot recover --dry-run` shows what can be kept"
            ) from damage

    def _recover(self) -> Folds:
        """Fold snapshot and journal: the state at the last record."""
        found = recover(self.journal)
        if found.refused_snapshot:
            self._say(f"the newest snapshot was not used: {found.refused_snapshot}")
        if found.snapshot or found.records:
            self._say(f"recovered: snapshot at {found.snapshot}, {found.records} records after it")
        return found.folds

    def _connect(
        self, instruments: Mapping[tuple[str, str], Instrument], timers: LoopTimers
    ) -> None:
        core = self.core
        for name, venue in self.venues.items():
            listed = [found for (place, _), found in instruments.items() if place == name]
            if self.settings.mode is Mode.PAPER:
                self._simulate_fills(venue, listed, timers)
            else:
                VenueGateway(
                    venue,
                    core.bus,
                    self._clock,
                    self.supervisor,
                    core.folds.orders,
                    self.latency,
                    fence=self._may_send,
                )
                NonceKeeper(venue, core.bus, self._clock, timers, core.folds.nonces)
            manager = ExchangeConnectionManager(
                venue,
                core.quotes,
                core.bus.publish,
                self._clock,
                self._rng,
                instruments=listed,
                settings=ConnectionSettings(
                    silence_s=self.settings.venue(name).data_silence_s,
                    check_interval_s=self.settings.venue(name).heartbeat_interval_s,
                ),
            )
            self.managers[name] = manager
            self.supervisor.keep(f"{name} connections", manager.run)
            self.dead_men[name] = switch = DeadManSwitch(
                venue,
                listed,
                core.bus,
                self._clock,
                timers,
                self.supervisor,
                core.folds.orders,
                timeout_s=effective(self.settings, venue=name).execution.dead_man_timeout_s,
                dedicated=self.settings.venue(name).account_dedicated,
            )
            switch.start()

    def _keep_rates(self, instruments: Mapping[tuple[str, str], Instrument]) -> None:
        if self.settings.mode is Mode.DEMO:
            return
        settled = {instrument.settle for instrument in instruments.values()}
        keeper = RateKeeper(
            self._rates,
            self.venues.values(),
            settled - set(self.settings.market.currency_rates) - {"USD"},
            self.core.bus.publish,
            self._clock,
        )
        self.supervisor.keep("currency rates", keeper.run)

    def _keep_warm(self, timers: LoopTimers) -> None:
        core = self.core
        tradings = {name: venue.trading for name, venue in self.venues.items()}
        Warmer(
            core.bus,
            self._clock,
            timers,
            core.engine,
            core.around,
            tradings,
            core.scanner.imagine,
        ).start()

    def _simulate_fills(
        self, venue: Venue, instruments: Sequence[Instrument], timers: LoopTimers
    ) -> None:
        PaperVenue(
            venue,
            instruments,
            self.core.bus,
            self._clock,
            timers,
            self.core.folds.orders.request,
            self.settings.paper,
        ).start()

    def _check_snapshot(self) -> None:
        """Keep a snapshot every so many records, so that a restart reads little."""
        if self.core.bus.halted is not None:
            return
        due = self._snapshot_at + self.settings.journal.snapshot_every_records
        if self.journal.last_sequence >= due and not self._keeping:
            self.supervisor.run("snapshot", self._keep_snapshot())
        self.journal.regain_reserve()
        self._timers.call_later(SNAPSHOT_CHECK_S * SECOND, self._check_snapshot)

    async def _keep_snapshot(self) -> None:
        """Take the state at once and write it beside the loop: a disk takes its time."""
        self._keeping = True
        sequence, state = self.journal.last_sequence, self.core.state.dump()
        try:
            await self._aside(partial(self.journal.write_snapshot, state, sequence=sequence))
        except (JournalFull, OSError) as error:
            self._say(f"no snapshot was written: {error}")
        else:
            self._snapshot_at = sequence
        finally:
            self._keeping = False

    def _write_snapshot(self) -> None:
        """Without room for it the journal alone must do; the gates refuse opens meanwhile."""
        try:
            self.journal.write_snapshot(self.core.state.dump())
        except (JournalFull, OSError) as error:
            self._say(f"no snapshot was written: {error}")
        else:
            self._snapshot_at = self.journal.last_sequence

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
        await self._cancel_resting()
        in_order = self._left_in_order()
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
                self._write_snapshot()
        finally:
            self._held.close()

    def _fall_silent(self, *, in_order: bool) -> None:
        if self._lifeline is not None:
            self._lifeline.end(in_order=in_order)

    def _left_in_order(self) -> bool:
        """Whether nothing is under way and every pair that stays open is hedged.

        Else the guardian is not told that we ended: it will see to what we leave behind.
        """
        folds = self.core.folds
        return all(
            order.state.is_end or order.request.purpose is Purpose.PROTECT
            for order in folds.orders.unsettled()
        ) and all(pair.state in {PairState.HEDGED, PairState.FLAT} for pair in folds.pairs)

    async def _cancel_resting(self) -> None:
        """Take back what may still open; reductions and protective stops stay at the venue."""
        orders = self.core.folds.orders
        resting = tuple(
            order.request.client_id
            for order in orders.unsettled()
            if order.request.purpose in {Purpose.OPEN, Purpose.HEDGE} and not order.state.is_end
        )
        if resting:
            self.core.bus.publish(
                CancelOrders(
                    ts_ns=self._clock.now_ns(), client_ids=resting, reason="the node ends"
                )
            )
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_S
        while (  # noqa: ASYNC110 - as above
            any(not order.state.is_end for order in orders.unsettled()) and loop.time() < until
        ):
            await asyncio.sleep(POLL_S)


def _declared(venue: Venue, settings: Settings) -> Capabilities:
    """Return what a venue declares, with what people set in its place."""
    chosen = {
        "quote_interval_s": settings.venue(venue.name).quote_interval_s,
        "reconcile_interval_s": effective(
            settings, venue=venue.name
        ).execution.reconcile_interval_s,
    }
    told = {name: value for name, value in chosen.items() if value is not None}
    return msgspec.structs.replace(venue.capabilities, **told)


def _require_pairs(
    instruments: Mapping[tuple[str, str], Instrument], assets: Sequence[str]
) -> None:
    """Refuse to start when no asset is listed on two venues."""
    counts = {asset: sum(key[1] == asset for key in instruments) for asset in assets}
    if not any(count >= 2 for count in counts.values()):
        listed = ", ".join(f"{asset} on {count}" for asset, count in counts.items())
        raise ConfigError(
            f"no symbol of market.symbols is listed on two enabled venues ({listed}); "
            "add a symbol or enable a venue"
        )
