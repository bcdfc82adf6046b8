"""Puts a guardian together: the venues with its own keys, what it may do there, its files."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from perpbot.app.run import connection_of
from perpbot.app.venues import capabilities_of, make_venue
from perpbot.configuration import Configuration, credentials_of
from perpbot.domain.errors import ConfigError
from perpbot.guardian.guardian import Guardian
from perpbot.guardian.hand import Hand
from perpbot.guardian.record import Fact, GuardianRecord
from perpbot.guardian.scope import GuardedVenue, Scope, scope_of
from perpbot.guardian.status import GuardianLock
from perpbot.kernel.clock import RealClock
from perpbot.settings import Credentials, Redactor, load_credentials


def guardian_credentials(configuration: Configuration, venue: str) -> Credentials:
    """Return the guardian's own key of a venue, empty where it has none.

    Raises `SettingsError` for a part of one.
    """
    settings = configuration.settings
    return load_credentials(
        venue,
        settings.mode,
        configuration.environment,
        account=settings.guardian.credentials,
    )


def guarded_venues(configuration: Configuration) -> list[GuardedVenue]:
    """Return the enabled venues as a guardian sees them."""
    settings = configuration.settings
    return [
        GuardedVenue(
            name=name,
            node_trades=bool(credentials_of(configuration, name)),
            has_key=bool(guardian_credentials(configuration, name)),
            dedicated=settings.venue(name).account_dedicated,
            reduce_only=capabilities_of(name).reduce_only,
        )
        for name in settings.enabled_venues
    ]


def scope_in(configuration: Configuration) -> Scope:
    """Return what a guardian of this configuration may do."""
    return scope_of(guarded_venues(configuration), configuration.settings.guardian.flatten)


def shared_keys(configuration: Configuration) -> list[str]:
    """Return the venues where guardian and node sign with the same secrets."""
    found = []
    for name in configuration.settings.enabled_venues:
        theirs = guardian_credentials(configuration, name)
        if theirs and theirs == credentials_of(configuration, name):
            found.append(name)
    return found


async def run_guardian(
    configuration: Configuration, stop: asyncio.Event, *, tell: Callable[[Fact], None]
) -> None:
    """Guard until `stop` is set; `tell` hears everything that is done.

    Raises `ConfigError` where there is nothing to guard or no key to do it with, `StateConflict`
    where a guardian is there already.
    """
    scope = _scope_to_guard(configuration)
    settings, clock, rng = configuration.settings, RealClock(), random.Random()
    lock = GuardianLock(settings.state_path)
    redactor = _redactor_of(configuration)

    def redact(fact: Fact) -> Fact:
        return {key: redactor.value(value) for key, value in fact.items()}

    record = GuardianRecord(lock.directory, clock.now_ns, tell, redact)
    hands: list[Hand] = []
    try:
        for name in scope.venues:
            keys = guardian_credentials(configuration, name).revealed()
            connection = connection_of(settings, name)
            venue = make_venue(name, connection, keys, clock, rng, leverage=None)
            hands.append(
                Hand(
                    venue,
                    record,
                    clock,
                    slippage_bps=settings.guardian.slippage_bps,
                    flattens=name in scope.flattens,
                    why_not=scope.why_not.get(name, ""),
                )
            )
        guardian = Guardian(
            settings.state_path,
            settings.guardian,
            hands,
            lock,
            record,
            clock,
            flatten=scope.flatten,
        )
        await _until(stop, guardian)
    finally:
        for hand in hands:
            await hand.venue.close()
        record.close()
        lock.close()


def _scope_to_guard(configuration: Configuration) -> Scope:
    settings = configuration.settings
    if not settings.mode.sends_orders_out:
        raise ConfigError(
            f"mode was {settings.mode.value}: testnet or live was expected; elsewhere positions "
            "live in the node's own process, and nobody has to guard them"
        )
    scope = scope_in(configuration)
    if not scope.venues:
        name = settings.guardian.credentials.upper()
        raise ConfigError(
            "the guardian has no key of its own at any enabled venue: set its variables, such as "
            f"OKX__{name}__API_KEY (see docs/guardian.md)"
        )
    return scope


def _redactor_of(configuration: Configuration) -> Redactor:
    """Return what masks the node's keys and the guardian's."""
    redactor = Redactor()
    for name in configuration.settings.enabled_venues:
        redactor.register(credentials_of(configuration, name).values())
        redactor.register(guardian_credentials(configuration, name).values())
    return redactor


async def _until(stop: asyncio.Event, guardian: Guardian) -> None:
    guarding = asyncio.create_task(guardian.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({guarding, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        guarding.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
    try:
        await guarding
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
