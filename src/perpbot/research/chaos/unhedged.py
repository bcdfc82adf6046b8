"""Unhedged time, spell by spell: how long, how long it may be, and whether anything was broken.

A spell begins with the execution that opens the true net of an asset beyond one step and ends with
the one that covers it. It is *healthy* when nothing that could keep the cover from being sent or
known was broken at the venues of its pair, the node lived, and no order that something broken had
left was of unknown outcome, all from its begin to its end: then it lasts at most 7 s. Else it is
*blocked*, and may last 7 s and as long as what blocked it, with the time to learn the fate of a
request for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from perpbot.domain.capabilities import Lookup
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.plan import BLOCKING, Plan

HEALTHY_UNHEDGED_NS = 7 * SECOND
RESOLVE_NS = 12 * SECOND
"""What it may take to learn the fate of a request where requests expire and orders are found."""
RESOLVE_WEAK_NS = 45 * SECOND
"""The same where either is missing: twice unknown, long after the intent."""
FOUND_NS = 45 * SECOND
"""What it may take to see a hidden change of a position twice, on a leg that trades all the time:
what moved while the question was under way is not compared."""


class Spell(msgspec.Struct, frozen=True):
    """The net of an asset was open from `start_ns` to `stop_ns`; its pair was at `venues`."""

    asset: str
    venues: frozenset[str]
    start_ns: int
    stop_ns: int
    in_doubt: bool
    """Whether an order of the asset was of unknown outcome meanwhile."""

    @property
    def lasted_ns(self) -> int:
        """How long it was open."""
        return self.stop_ns - self.start_ns


Window = tuple[int, int]
"""From and to, UTC ns."""


def is_healthy(spell: Spell, plan: Plan, absences: Sequence[Window]) -> bool:
    """Tell whether nothing kept the cover from being sent or known.

    `absences` are the times without a node.
    """
    after_ns = _resolve_ns(spell, plan) if spell.in_doubt else 0
    return not any(_meet(spell, window, after_ns) for window in _windows(spell, plan, absences))


def bound_ns(spell: Spell, plan: Plan, absences: Sequence[Window]) -> int:
    """Return how long a spell may last.

    What broke before a blocked one counts too: a request may be left whose fate is not known yet.
    """
    if is_healthy(spell, plan, absences):
        return HEALTHY_UNHEDGED_NS
    resolve_ns = _resolve_ns(spell, plan)
    return HEALTHY_UNHEDGED_NS + sum(
        window[1] - window[0] + resolve_ns
        for window in _windows(spell, plan, absences)
        if _meet(spell, window, resolve_ns)
    )


def _windows(spell: Spell, plan: Plan, absences: Sequence[Window]) -> list[Window]:
    """Return when something was broken that the pair of a spell needs."""
    blocking = [
        (fault.start_ns, fault.stop_ns + (FOUND_NS if fault.row == "hidden" else 0))
        for fault in plan.faults
        if fault.row in BLOCKING and (not spell.venues or fault.venue in spell.venues)
    ]
    return [*blocking, *absences]


def _meet(spell: Spell, window: Window, after_ns: int) -> bool:
    """Whether a window, and some time after it, overlaps with a spell."""
    return window[0] <= spell.stop_ns and window[1] + after_ns >= spell.start_ns


def _resolve_ns(spell: Spell, plan: Plan) -> int:
    """Return what it may take to learn the fate of a request at the venues of a spell."""
    strong = all(
        plan.venues[venue].capabilities.request_expiry
        and plan.venues[venue].capabilities.lookup is Lookup.FULL
        for venue in spell.venues or plan.venues
    )
    return RESOLVE_NS if strong else RESOLVE_WEAK_NS


def in_ms(duration_ns: int) -> int:
    """Return whole milliseconds, rounded up."""
    return -(-duration_ns // MS)


def figures(spells_ms: Counter[int]) -> dict[str, float]:
    """Return count, p50, p99 and the longest of spells, in s."""
    return {
        "p50": percentile(spells_ms, 0.50) / 1_000,
        "p99": percentile(spells_ms, 0.99) / 1_000,
        "max": max(spells_ms, default=0) / 1_000,
        "count": sum(spells_ms.values()),
    }


def percentile(spells_ms: Counter[int], share: float) -> int:
    """Return the shortest time that at least `share` of the spells do not exceed; 0 of none."""
    left = share * sum(spells_ms.values())
    for duration_ms in sorted(spells_ms):
        left -= spells_ms[duration_ms]
        if left <= 0:
            return duration_ms
    return 0
