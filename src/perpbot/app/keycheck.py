"""Asks each venue what our key may do, before anything is traded with it.

A key that can withdraw or transfer is refused in live. A venue that cannot tell, or does not
answer now, is said to be unknown and stops nobody: a node that has positions must be able to come
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perpbot.domain.errors import ConfigError, VenueError
from perpbot.domain.permissions import KeyPermissions
from perpbot.settings import Mode
from perpbot.venues.port import TellsPermissions, Venue

LIMIT_S = 8.0


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """What became of the question. Without `permissions`, `problem` says why."""

    venue: str
    permissions: KeyPermissions | None = None
    problem: str = ""

    @property
    def objections(self) -> list[str]:
        """Why no real money should be traded with this key."""
        return [] if self.permissions is None else self.permissions.objections()

    @property
    def warnings(self) -> list[str]:
        """What its owner should know."""
        if self.permissions is None:
            return [f"what it may do is unknown: {self.problem}"]
        return self.permissions.warnings()


async def ask_permissions(venue: Venue) -> KeyVerdict:
    """Ask one venue; never raises what the venue does."""
    if not isinstance(venue, TellsPermissions):
        return KeyVerdict(venue.name, problem="this adapter cannot ask")
    try:
        async with asyncio.timeout(LIMIT_S):
            return KeyVerdict(venue.name, await venue.key_permissions())
    except VenueError as error:
        return KeyVerdict(venue.name, problem=error.message)
    except TimeoutError:
        return KeyVerdict(venue.name, problem=f"no answer in {LIMIT_S:g} s")


async def check_keys(
    venues: Sequence[Venue], mode: Mode, say: Callable[[str], None]
) -> list[KeyVerdict]:
    """Ask every venue that we have a key of, and say what was found.

    Raises `ConfigError` in live for a key that could do more than trade, or not even that.
    """
    if not mode.sends_orders_out:
        return []
    asked = [venue for venue in venues if venue.can_trade]
    verdicts = list(await asyncio.gather(*map(ask_permissions, asked)))
    refused = [
        f"the key of {verdict.venue}: {objection}"
        for verdict in verdicts
        for objection in verdict.objections
    ]
    for verdict in verdicts:
        for warning in verdict.warnings:
            say(f"the key of {verdict.venue}: {warning}")
    if refused and mode is Mode.LIVE:
        raise ConfigError("\n".join(refused))
    for objection in refused:
        say(f"{objection} (live would refuse it)")
    return verdicts
