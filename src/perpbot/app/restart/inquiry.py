"""Asks the venues what a restart would be told, and sends nothing that could change anything.

The same rehearsal as without venues, on the real clock; its gateways hear questions only, and the
venues are opened without setting anything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from perpbot.app.durability import may_lack
from perpbot.app.known import KnownMarkets, Market, keep_in_use, read_known
from perpbot.app.listing import list_instruments
from perpbot.app.markets import Markets
from perpbot.app.rates import rates_of
from perpbot.app.recovery import Recovered
from perpbot.app.restart.outlook import Outlook
from perpbot.app.restart.rehearsal import Rehearsal
from perpbot.app.run import connection_of
from perpbot.app.venues import make_venue
from perpbot.configuration import Configuration, Settings, credentials_of
from perpbot.domain.errors import ConfigError, VenueError
from perpbot.domain.events import Event, QueryOrder, ReconcileVenue, VenueReconciled
from perpbot.domain.instruments import Instrument
from perpbot.execution.gateway import LatencySamples, VenueGateway
from perpbot.execution.surroundings import Account
from perpbot.guardian.epoch import read_epoch
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import LoopTimers, RealClock
from perpbot.kernel.supervisor import Supervisor
from perpbot.venues.port import Venue

LIST_S = 30.0
PATIENCE_S = 10.0
"""After it two venues that list their instruments are enough."""
ANSWER_S = 15.0
AFTERWARDS_S = 0.5
"""After the last comparison: what it brought to light is decided on."""
_QUESTIONS = (QueryOrder, ReconcileVenue)


class Answered(msgspec.Struct, frozen=True):
    """What a restart would do once the venues have spoken, and what they said."""

    outlook: Outlook
    answers: dict[str, str]


class _Questions:
    """The bus as a gateway sees it that must not send: it hears of questions only."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self.publish = bus.publish

    def subscribe(self, event_class: type[Event], handler: Callable[[Any], None]) -> None:
        """Subscribe to questions; commands are heard by nobody."""
        if event_class in _QUESTIONS:
            self._bus.subscribe(event_class, handler)


def inquire(
    configuration: Configuration, recovered: Recovered, say: Callable[[str], None]
) -> Answered:
    """Ask every enabled venue. Raises `ConfigError` where there is no account to ask for."""
    settings = configuration.settings
    if not settings.mode.sends_orders_out:
        raise ConfigError(
            f"--ask asks real accounts, and mode was {settings.mode.value}: its exchanges ended"
            " with their process"
        )
    return asyncio.run(_inquire(configuration, recovered, say))


def venues_to_ask(
    configuration: Configuration, clock: RealClock, rng: random.Random
) -> list[Venue]:
    """Return the enabled venues, none of which sets anything at an account."""
    settings = configuration.settings
    return [
        make_venue(
            name,
            connection_of(settings, name),
            credentials_of(configuration, name).revealed(),
            clock,
            rng,
            leverage=None,
        )
        for name in settings.enabled_venues
    ]


async def _inquire(
    configuration: Configuration, recovered: Recovered, say: Callable[[str], None]
) -> Answered:
    clock, rng = RealClock(), random.Random()
    venues = venues_to_ask(configuration, clock, rng)
    try:
        known = read_known(configuration.settings.state_path)
        return await ask(configuration, venues, recovered, say, clock, rng, known)
    finally:
        for venue in venues:
            await venue.close()


async def ask(
    configuration: Configuration,
    venues: Sequence[Venue],
    recovered: Recovered,
    say: Callable[[str], None],
    clock: RealClock,
    rng: random.Random,
    known: KnownMarkets | None = None,
) -> Answered:
    """Rehearse a restart on `venues` until each has been compared with, or did not answer."""
    settings = configuration.settings
    instruments = await _list(settings, venues, recovered, say, rng, known)
    answers = await _open(venues, instruments)
    markets = Markets(
        instruments=instruments,
        capabilities={venue.name: venue.capabilities for venue in venues},
        accounts={venue.name: Account(venue.account_name, venue.hedge_mode) for venue in venues},
        rates=rates_of(settings),
    )
    timers = LoopTimers(asyncio.get_running_loop())
    rehearsal = Rehearsal(
        settings,
        markets,
        recovered,
        clock,
        timers,
        read_epoch(settings.state_path),
        may_lack=may_lack(settings.state_path, settings.journal.sync),
    )
    bus, orders = rehearsal.core.bus, rehearsal.core.folds.orders
    supervisor = Supervisor(bus.publish, clock, rng)
    done = asyncio.Event()

    def concluded(event: VenueReconciled) -> None:
        answers[event.venue] = "agrees" if event.agreed else "; ".join(event.differences)
        if all(answers.values()):
            done.set()

    bus.subscribe(VenueReconciled, concluded)
    for venue in venues:
        questions = cast("EventBus", _Questions(bus))
        VenueGateway(venue, questions, clock, supervisor, orders, LatencySamples())
    try:
        halted = rehearsal.start()
        try:
            async with asyncio.timeout(ANSWER_S):
                await done.wait()
            await asyncio.sleep(AFTERWARDS_S)
        except TimeoutError:
            say(f"not every venue answered in {ANSWER_S:g} s")
    finally:
        timers.close()
        await supervisor.close()
    silent = {name: text or "did not answer" for name, text in answers.items()}
    return Answered(rehearsal.outlook(halted), silent)


async def _list(
    settings: Settings,
    venues: Sequence[Venue],
    recovered: Recovered,
    say: Callable[[str], None],
    rng: random.Random,
    known: KnownMarkets | None,
) -> dict[Market, Instrument]:
    in_use = recovered.folds.in_use()
    assets = sorted({*settings.market.symbols, *(asset for _, asset in in_use)})
    try:
        async with asyncio.timeout(LIST_S):
            listed = await list_instruments(venues, assets, say, rng, patience_s=PATIENCE_S)
    except TimeoutError:
        raise TimeoutError(f"fewer than two venues answered in {LIST_S:g} s") from None
    instruments, _ = keep_in_use(listed, settings.market.symbols, in_use, known)
    return instruments


async def _open(
    venues: Sequence[Venue], instruments: Mapping[Market, Instrument]
) -> dict[str, str]:
    """Open each venue; return by name what those said that did not let us in."""
    answers = {venue.name: "" for venue in venues}
    for venue in venues:
        here = [found for found in instruments.values() if found.venue == venue.name]
        try:
            await venue.open(here)
        except VenueError as error:
            answers[venue.name] = f"did not answer: {error}"
    return answers
