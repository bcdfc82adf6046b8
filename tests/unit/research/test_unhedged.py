"""How long a net stayed open, how long it may, and whether anything was broken."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from perpbot.domain.capabilities import Lookup
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.plan import START_NS, Fault, Plan, draw
from perpbot.research.chaos.unhedged import (
    HEALTHY_UNHEDGED_NS,
    RESOLVE_NS,
    RESOLVE_WEAK_NS,
    Spell,
    bound_ns,
    figures,
    in_ms,
    is_healthy,
    percentile,
)

FIRST, SECOND_VENUE = "binance", "okx"


def at(seconds: float) -> int:
    """Return a moment of the chaos phase."""
    return START_NS + int(seconds * SECOND)


def plan_with(*faults: Fault, strong: bool = True) -> Plan:
    """Return a plan of two venues with these faults only."""
    drawn = draw(1)
    venues = {
        name: msgspec.structs.replace(
            drawn.venues[FIRST],
            capabilities=msgspec.structs.replace(
                drawn.venues[FIRST].capabilities,
                request_expiry=strong,
                lookup=Lookup.FULL if strong else Lookup.OPEN_ONLY,
            ),
        )
        for name in (FIRST, SECOND_VENUE, "hyperliquid")
    }
    return msgspec.structs.replace(drawn, venues=venues, faults=faults)


def fault(row: str = "6", venue: str = FIRST, start: float = 10, stop: float = 12) -> Fault:
    """Return a window of a row."""
    return Fault(
        row=row,
        venue=venue,
        asset="BTC-PERP",
        start_ns=at(start),
        stop_ns=at(stop),
        intensity=1.0,
        variant=0,
    )


def spell(start: float, stop: float, *, in_doubt: bool = False) -> Spell:
    """Return a spell of a pair of the first two venues."""
    venues = frozenset({FIRST, SECOND_VENUE})
    return Spell("BTC-PERP", venues, at(start), at(stop), in_doubt)


def test_a_spell_with_nothing_broken_is_healthy_and_short() -> None:
    """Also beside faults of other venues, of harmless rows, of another time."""
    plan = plan_with(
        fault(venue="hyperliquid"), fault("15"), fault("10"), fault(start=20, stop=22)
    )
    assert is_healthy(spell(10, 11), plan, ())
    assert bound_ns(spell(10, 11), plan, ()) == HEALTHY_UNHEDGED_NS


@pytest.mark.parametrize(("start", "stop"), [(11, 13), (9, 10.5), (9, 30), (10.5, 11)], ids=str)
def test_a_window_of_a_venue_of_the_pair_blocks(start: float, stop: float) -> None:
    """As long as it lasts, and what it takes to learn the fate of a request, on top of 7 s."""
    plan = plan_with(fault())
    assert not is_healthy(spell(start, stop), plan, ())
    bound = bound_ns(spell(start, stop), plan, ())
    assert bound == HEALTHY_UNHEDGED_NS + 2 * SECOND + RESOLVE_NS


def test_time_without_a_node_blocks() -> None:
    """Nobody can hedge who is dead."""
    plan, absence = plan_with(), (at(10), at(13))
    assert not is_healthy(spell(12, 14), plan, (absence,))
    assert is_healthy(spell(14, 15), plan, (absence,))
    expected = HEALTHY_UNHEDGED_NS + 3 * SECOND + RESOLVE_NS
    assert bound_ns(spell(12, 14), plan, (absence,)) == expected


def test_an_unknown_order_that_a_fault_left_blocks_and_one_of_no_cause_does_not() -> None:
    """Only while its fate can still be open."""
    plan = plan_with(fault())
    assert not is_healthy(spell(20, 21, in_doubt=True), plan, ())
    assert is_healthy(spell(20, 21), plan, ())
    assert is_healthy(spell(30, 31, in_doubt=True), plan, ())
    weak = plan_with(fault(), strong=False)
    assert not is_healthy(spell(30, 31, in_doubt=True), weak, ())
    expected = HEALTHY_UNHEDGED_NS + 2 * SECOND + RESOLVE_WEAK_NS
    assert bound_ns(spell(30, 31, in_doubt=True), weak, ()) == expected


def test_figures_of_many_spells() -> None:
    """Milliseconds round up; a percentile is a time that occurred."""
    assert [in_ms(ns) for ns in (0, 1, MS, MS + 1)] == [0, 1, 1, 2]
    spells = Counter({10: 98, 400: 1, 5_000: 1})
    assert percentile(spells, 0.5) == 10
    assert figures(spells) == {"p50": 0.01, "p99": 0.4, "max": 5.0, "count": 100}
    assert figures(Counter()) == {"p50": 0.0, "p99": 0.0, "max": 0.0, "count": 0}
