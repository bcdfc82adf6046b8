"""How far a guardian may go: which venues it can act at, and what it may close there. Pure.

It closes positions only on accounts that are declared dedicated to this node: elsewhere a leg may
be a person's own. And it judges what is unhedged only where it sees every venue that the node
trades on: a leg that it cannot see may be the hedge of one that it can.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perpbot.guardian.settings import Flatten


class GuardedVenue(msgspec.Struct, frozen=True, kw_only=True):
    """One venue that the node is set up for."""

    name: str
    node_trades: bool
    """Whether the node has a key there."""
    has_key: bool
    """Whether the guardian has one."""
    dedicated: bool
    reduce_only: bool
    """Whether the venue enforces reduce-only."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What follows."""

    venues: tuple[str, ...]
    """Where it cancels."""
    flatten: Flatten
    flattens: tuple[str, ...]
    """Where it closes."""
    why_not: dict[str, str]
    """Why it does not, by venue."""


def scope_of(venues: Sequence[GuardedVenue], wanted: Flatten) -> Scope:
    """Return what a guardian with these keys may do."""
    watched = [venue for venue in venues if venue.has_key]
    why_not = {venue.name: why for venue in venues if (why := _refusal(venue))}
    if wanted is Flatten.NONE:
        why_not = {venue.name: "guardian.flatten is none" for venue in watched}
    elif wanted is Flatten.UNHEDGED and (blockers := sorted(why_not)):
        # One leg that cannot be seen or touched, and no net of any asset is known.
        text = f"needs every venue: {blockers[0]} {why_not[blockers[0]]}"
        why_not = {venue.name: why_not.get(venue.name, text) for venue in watched} | why_not
    flattens = tuple(venue.name for venue in watched if venue.name not in why_not)
    return Scope(
        venues=tuple(venue.name for venue in watched),
        flatten=wanted if flattens else Flatten.NONE,
        flattens=flattens,
        why_not=why_not,
    )


def _refusal(venue: GuardedVenue) -> str:
    if not venue.has_key:
        return "has no key for the guardian" if venue.node_trades else ""
    if not venue.dedicated:
        return "is not declared dedicated (account_dedicated)"
    if not venue.reduce_only:
        return "enforces no reduce-only"
    return ""
