"""Who protects you if this process dies, venue by venue. Pure.

Derived from what a venue declares, from settings, and from what a guardian says of itself. What is
not there is called nobody: no protection is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perpbot.domain.capabilities import Capabilities, DeadManScope
from perpbot.guardian.status import GuardianStatus

NOBODY = "nobody"


class VenueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one venue. Counts are None where no node runs."""

    capabilities: Capabilities
    trades: bool
    """Whether orders of ours go there at all."""
    dedicated: bool
    dead_man_s: float
    dead_man_failed: bool = False
    """Whether the venue refused the last refresh."""
    resting: int | None = None
    """Orders of ours that rest there now, stops not counted."""
    stops: int | None = None
    """Protective stops of ours that rest there now."""


class DeadMan(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's own switch."""

    armed: bool
    why: str


class Watcher(msgspec.Struct, frozen=True, kw_only=True):
    """The guardian, as far as this venue goes."""

    alive: bool
    why: str
    cancels_after_s: float | None = None
    flattens_after_s: float | None = None
    flattens: str = "none"
    """none, unhedged or all."""


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    venue: str
    trades: bool
    resting: int | None
    stops: int | None
    dead_man: DeadMan
    guardian: Watcher
    cancels: str
    """Who takes resting orders back, and after how long."""
    flattens: str
    """Who closes positions, which, and after how long."""


def protection_of(
    facts: VenueFacts, guardian: GuardianStatus | None, *, expected: bool
) -> Protection:
    """Return the row of a venue; `expected` says that a guardian is meant to be there."""
    dead_man = _dead_man(facts)
    watcher = _watcher(facts, guardian, expected=expected)
    return Protection(
        venue=facts.capabilities.venue,
        trades=facts.trades,
        resting=facts.resting,
        stops=facts.stops,
        dead_man=dead_man,
        guardian=watcher,
        cancels=_cancels(facts, dead_man, watcher),
        flattens=_flattens(facts, watcher),
    )


def _dead_man(facts: VenueFacts) -> DeadMan:
    capabilities = facts.capabilities
    scope = capabilities.dead_man
    if not facts.trades:
        return DeadMan(armed=False, why="nothing of ours is there")
    if scope is DeadManScope.NONE:
        return DeadMan(armed=False, why="the venue has none")
    if not facts.dedicated:
        return DeadMan(
            armed=False,
            why=f"it would cancel orders of others: venues.{capabilities.venue}.account_dedicated"
            " is not set",
        )
    if facts.stops and capabilities.dead_man_removes_stops:
        return DeadMan(armed=False, why="it would take the protective stops away")
    if facts.dead_man_failed:
        return DeadMan(armed=False, why="the venue refused the last refresh")
    of = "of every symbol that is traded" if scope is DeadManScope.SYMBOL else "of the account"
    return DeadMan(armed=True, why=f"cancels the orders {of}, {facts.dead_man_s:g} s")


def _watcher(facts: VenueFacts, guardian: GuardianStatus | None, *, expected: bool) -> Watcher:
    if not facts.trades:
        return Watcher(alive=guardian is not None, why="nothing of ours is there")
    if guardian is None:
        meant = ", though guardian.enabled says that one should" if expected else ""
        return Watcher(alive=False, why=f"none runs{meant}")
    hand = guardian.venues.get(facts.capabilities.venue)
    if hand is None:
        return Watcher(alive=True, why="it has no key here")
    if not hand.ready:
        return Watcher(alive=True, why=f"its key did not work: {hand.problem}")
    if guardian.problem:
        return Watcher(alive=True, why=guardian.problem)
    closes = hand.flattens and guardian.flatten != "none"
    return Watcher(
        alive=True,
        why=f"process {guardian.pid}" + ("" if closes else f"; does not flatten: {hand.problem}"),
        cancels_after_s=guardian.silence_limit_s,
        flattens_after_s=guardian.flatten_after_s if closes else None,
        flattens=guardian.flatten if closes else "none",
    )


def _cancels(facts: VenueFacts, dead_man: DeadMan, watcher: Watcher) -> str:
    if not facts.trades:
        return "not needed"
    who = []
    if watcher.cancels_after_s is not None:
        who.append(f"guardian, {watcher.cancels_after_s:g} s")
    if dead_man.armed:
        who.append(f"the venue, {facts.dead_man_s:g} s")
    return " and ".join(who) or NOBODY


def _flattens(facts: VenueFacts, watcher: Watcher) -> str:
    if not facts.trades:
        return "not needed"
    who = []
    if watcher.flattens_after_s is not None:
        what = "what is unhedged" if watcher.flattens == "unhedged" else "everything"
        who.append(f"guardian, {what}, {watcher.flattens_after_s:g} s")
    if facts.stops:
        who.append(f"{facts.stops} protective stops at the venue")
    return " and ".join(who) or NOBODY


def table(rows: Sequence[Protection]) -> list[str]:
    """Return the table as lines for people."""
    lines = ["who protects you if this process dies:"]
    for row in rows:
        if not row.trades:
            lines.append(f"  {row.venue}: nothing of ours is there")
            continue
        resting = "" if row.resting is None else f" ({row.resting} rest now)"
        stops = "unknown" if row.stops is None else str(row.stops)
        armed = "armed" if row.dead_man.armed else "not armed"
        lines.append(
            f"  {row.venue}: orders are cancelled by {row.cancels}{resting}; "
            f"positions are flattened by {row.flattens}"
        )
        lines += [
            f"    dead man's switch {armed}: {row.dead_man.why}",
            f"    guardian: {row.guardian.why}; protective stops there: {stops}",
        ]
    return lines
