"""Running a node for as long as its person wants: venues of the mode, attendants, orderly end."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from perpbot import __version__
from perpbot.app.attendants import Attendants
from perpbot.app.heap import give_large_back, set_aside
from perpbot.app.keycheck import check_keys
from perpbot.app.lifeline import Lifeline
from perpbot.app.node import Node
from perpbot.app.protecting import protection_now
from perpbot.app.venues import make_venue
from perpbot.app.watching import TerminalWatcher
from perpbot.configuration import Configuration, Settings, credentials_of
from perpbot.guardian.pulse import TakenOver
from perpbot.guardian.turns import TurnGuard
from perpbot.kernel.clock import RealClock
from perpbot.operations.killsignals import KillSignals
from perpbot.operations.protection import table
from perpbot.operations.runfile import RunFile, RunInfo
from perpbot.operations.servicemanager import ServiceManager
from perpbot.settings import Mode
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue

PAPER_CLOSE_S = 10.0
"""Simulated positions live as long as the process: paper closes its pairs before it ends."""


def connection_of(settings: Settings, name: str) -> VenueConnection:
    """Return how a venue is reached in this mode."""
    venue = settings.venue(name)
    return VenueConnection(
        rest_url=venue.rest_url or "",
        ws_url=venue.ws_url or "",
        testnet=settings.mode is Mode.TESTNET,
        account_name=venue.account_label,
        request_timeout_s=venue.request_timeout_s,
    )


def venues_of(
    configuration: Configuration, clock: RealClock, rng: random.Random, say: Callable[[str], None]
) -> list[Venue]:
    """Make every enabled venue; say which are read-only. Raises `SettingsError`."""
    settings = configuration.settings
    venues = []
    for name in settings.enabled_venues:
        secrets = credentials_of(configuration, name)
        if settings.mode.sends_orders_out and not secrets:
            say(f"{name}: no credentials, read-only; no pair can use it")
        keys = secrets.revealed()
        venues.append(make_venue(name, connection_of(settings, name), keys, clock, rng))
    return venues


async def run_node(
    configuration: Configuration,
    stop: asyncio.Event,
    *,
    say: Callable[[str], None],
    watch: TerminalWatcher | None = None,
    turns: TurnGuard | None = None,
    kills: KillSignals | None = None,
) -> None:
    """Run until `stop` is set or the node wants to leave; raise what halted it.

    A run that a guardian has taken over ends at once and sends nothing more; the next one begins
    in its place and recovers, as after a crash. `turns` is the selector of the loop,
    `kills` hears the signals of the kill switch.
    """
    settings = configuration.settings
    clock = RealClock()
    info = RunInfo(os.getpid(), settings.mode.value, __version__, clock.now_ns())
    run_file = RunFile(settings.state_path, info)
    manager = ServiceManager(os.environ)
    try:
        if not await _keys_checked(configuration, clock, stop, say):
            return
        for number in itertools.count(1):
            lifeline = Lifeline(
                settings.state_path,
                settings.guardian,
                run=f"{info.pid}-{info.started_ns}-{number}",
                turns=turns,
                manager=manager,
            )
            life = _Life(configuration, run_file, info, stop, say, watch, kills, lifeline)
            try:
                await _run_once(life)
            except TakenOver as error:
                say(f"{error}; recovering before anything is sent")
                if watch is not None:
                    watch.close()
            else:
                return
    finally:
        manager.stopping()
        manager.close()
        run_file.close()


async def _keys_checked(
    configuration: Configuration, clock: RealClock, stop: asyncio.Event, say: Callable[[str], None]
) -> bool:
    """Ask what our keys may do; return False when told to stop. Raises as `check_keys`."""
    mode = configuration.settings.mode
    if not mode.sends_orders_out:
        return True
    # On venues of their own: the question is asked once, however often the node begins anew.
    venues = venues_of(configuration, clock, random.Random(), lambda _: None)
    checking = asyncio.create_task(check_keys(venues, mode, say))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({checking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            return False
        checking.result()
        return True
    finally:
        for task in (checking, stopping):
            task.cancel()
        await asyncio.gather(checking, stopping, return_exceptions=True)
        for venue in venues:
            await venue.close()


@dataclass(frozen=True, slots=True)
class _Life:
    """What one run of a node is given."""

    configuration: Configuration
    run_file: RunFile
    info: RunInfo
    stop: asyncio.Event
    say: Callable[[str], None]
    watch: TerminalWatcher | None
    kills: KillSignals | None
    lifeline: Lifeline


async def _run_once(life: _Life) -> None:
    settings, say = life.configuration.settings, life.say
    clock, rng = RealClock(), random.Random()
    venues = venues_of(life.configuration, clock, rng, say)
    node = Node(
        settings,
        venues,
        clock=clock,
        rng=rng,
        state_directory=settings.state_path,
        version=__version__,
        say=say,
        lifeline=life.lifeline,
    )
    if not await _open(node, life.stop):
        say("stopped before every venue had answered")
        for venue in venues:
            await venue.close()
        return
    give_large_back()
    set_aside()
    await _work(node, life)


async def _open(node: Node, stop: asyncio.Event) -> bool:
    """Open the node; return False when it was told to stop before that was done."""
    opening = asyncio.create_task(node.open())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            return True
        return False
    finally:
        for task in (opening, stopping):
            task.cancel()
        await asyncio.gather(opening, stopping, return_exceptions=True)


async def _work(node: Node, life: _Life) -> None:
    settings, say, watch = life.configuration.settings, life.say, life.watch
    attendants = Attendants(node, life.configuration, say)
    if watch is not None:
        watch.health = attendants.health
    running = asyncio.create_task(_until(life.stop, node))
    viewing = None if watch is None else asyncio.create_task(_view(node, settings, watch))
    if life.kills is not None:
        life.kills.attach(node.core.kill_switch)
    try:
        url = await attendants.start()
        life.run_file.write(replace(life.info, console_url=url))
        say(f"running in mode {settings.mode.value}" + (f", console {url}" if url else ""))
        if settings.mode.sends_orders_out:
            for line in table(protection_now(node)):
                say(line)
        await node.run()
        if settings.mode is Mode.PAPER and node.core.bus.halted is None:
            say("closing every pair")
            if not await node.wind_down(PAPER_CLOSE_S):
                say(f"not flat after {PAPER_CLOSE_S:g} s; see perpbot journal show")
    finally:
        if life.kills is not None:
            life.kills.detach()
        tasks = [task for task in (running, viewing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await attendants.stop()
        await node.close("stopped")


async def _until(stop: asyncio.Event, node: Node) -> None:
    await stop.wait()
    node.leave()


async def _view(node: Node, settings: Settings, watch: TerminalWatcher) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        watch(node, loop.time() - started)
        await asyncio.sleep(settings.console.refresh_ms / 1000)
