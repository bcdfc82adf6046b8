"""Executions that a venue tells long after its position has shown them: booked, not counted twice.

Somebody else trades on a leg of a hedged pair. Our books follow the position, the other leg is
taken back as far, and then the execution itself is told.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perpbot.domain.events import Event, FillReported, OrderFilled, PositionAdjusted, VenueSnapshot
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND
from tests.unit.execution.stand import ASSET, LONG, SHORT, Stand, d


class Withheld:
    """What a venue tells of others' executions from now on, kept until it is let go."""

    def __init__(self, stand: Stand, venue: str) -> None:
        self._since_ns = stand.time.now_ns()
        self._told: list[FillReported] = []
        self._holding = True
        self._listen(stand, venue)

    def _listen(self, stand: Stand, venue: str) -> None:
        bus: Any = stand.venues[venue]._bus
        self._publish = bus.publish
        bus.publish = self._take

    def _take(self, event: Event) -> None:
        if self._holding and isinstance(event, FillReported) and not event.report.client_id:
            self._told.append(event)
            return
        if self._holding and isinstance(event, VenueSnapshot):
            known = [fill for fill in event.fills or () if fill.venue_ns < self._since_ns]
            event = msgspec.structs.replace(event, fills=tuple(known))
        self._publish(event)

    def follow(self, stand: Stand, venue: str) -> None:
        """Withhold it from the next process as well."""
        self._listen(stand, venue)

    def let_go(self) -> None:
        """Tell it all."""
        self._holding = False
        for event in self._told:
            self._publish(event)


def hedged() -> Stand:
    """A pair of two coins."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(8_000, every_ms=500.0)
    assert [stand.held(name) for name in stand.names] == [2, -2]
    return stand


def adjusted(stand: Stand) -> list[PositionAdjusted]:
    """What our books were adjusted by, in this process."""
    return stand.told(PositionAdjusted)


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies between"])
def test_a_late_execution_takes_its_adjustment_back(*, dies: bool) -> None:
    """The pair stays hedged at what is left, and books and venues agree."""
    stand = hedged()
    withheld = Withheld(stand, LONG)
    stand.by_hand(LONG, Side.SELL, "0.6")
    stand.by_hand(LONG, Side.SELL, "0.4")
    stand.run(20_000, every_ms=500.0)
    assert sum(event.delta for event in adjusted(stand)) == -1
    assert stand.held(SHORT) == -1
    if dies:
        stand.crash()
        stand.boot()
        withheld.follow(stand, LONG)

    withheld.let_go()
    stand.run(1, every_ms=1)

    booked = [event for event in stand.told(OrderFilled) if not event.client_id]
    assert sum(event.quantity for event in booked) == 1
    assert sum(event.delta for event in adjusted(stand)) == (1 if dies else 0)
    assert stand.core.folds.positions.quantity(LONG, "main", ASSET) == 1
    stand.run(30_000, every_ms=500.0)
    assert [stand.held(name) for name in stand.names] == [1, -1]
    (pair,) = stand.pairs
    assert pair.long.quantity == -pair.short.quantity == 1
    stand.close()
    stand.settle()
    stand.check_settled()
    assert stand.held(LONG) == stand.held(SHORT) == 0


def test_what_is_traded_after_the_adjustment_counts_by_itself() -> None:
    """Only what was part of the position then is explained by it."""
    stand = hedged()
    withheld = Withheld(stand, LONG)
    stand.by_hand(LONG, Side.SELL, "1")
    stand.run(20_000, every_ms=500.0)
    stand.time.run_until(stand.time.now_ns() + 2 * SECOND)
    stand.by_hand(LONG, Side.SELL, "0.5")
    withheld.let_go()
    stand.run(30_000, every_ms=500.0)

    assert [stand.held(name) for name in stand.names] == [d("0.5"), d("-0.5")]
    assert stand.core.folds.positions.quantity(LONG, "main", ASSET) == d("0.5")
    assert len(stand.pairs) == 1
