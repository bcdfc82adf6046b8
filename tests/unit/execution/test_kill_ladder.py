"""The kill switch with one venue dead: the others go now, the dead one when it is back."""

from __future__ import annotations

import pytest

from perpbot.domain.sides import Purpose
from tests.unit.execution.stand import LONG, SHORT, Stand


def ready(level: int = 0) -> Stand:
    """A node with a hedged pair, the kill switch at a level."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    assert stand.held(LONG) == -stand.held(SHORT) != 0
    if level:
        engage(stand, level)
    return stand


def engage(stand: Stand, level: int) -> None:
    """Somebody pulls it."""
    stand.guard(
        lambda: stand.core.kill_switch.engage(level, actor="ann", reason="venue looks wrong")
    )


def kill_venue(stand: Stand, venue: str) -> None:
    """Its server is gone: nothing arrives there, nothing comes from it."""
    stand.faults.down.add(venue)
    stand.quoting.discard(venue)


def revive(stand: Stand) -> None:
    """Everything answers again."""
    stand.faults.heal()
    stand.quoting.update(stand.names)


@pytest.mark.parametrize("dead", [LONG, SHORT], ids=["long", "short"])
def test_level_4_flattens_what_can_be_reached_and_the_rest_later(dead: str) -> None:
    """The leg at the dead venue is tried until it goes."""
    stand = ready()
    alive = SHORT if dead == LONG else LONG
    kill_venue(stand, dead)
    engage(stand, 4)

    stand.run(3_000, every_ms=100.0)
    assert stand.held(alive) == 0
    assert stand.held(dead) != 0

    revive(stand)
    stand.settle()
    assert stand.held(dead) == 0
    assert stand.pairs == []
    assert stand.core.folds.latches.kill_level == 4


def test_a_restart_in_the_middle_forgets_neither_level_nor_leg() -> None:
    """The new process goes on with what the old one could not finish, and opens nothing."""
    stand = ready()
    kill_venue(stand, SHORT)
    engage(stand, 4)
    stand.run(1_500, every_ms=100.0)
    stand.crash()
    stand.boot()
    assert stand.core.folds.latches.kill_level == 4
    stand.run(1_500, every_ms=100.0)
    stand.open()
    revive(stand)
    stand.settle()

    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.orders(Purpose.OPEN) == []


@pytest.mark.parametrize("level", [1, 2, 3])
def test_lower_levels_leave_hedged_pairs(level: int) -> None:
    """Nothing opens; what is hedged stays."""
    stand = ready(level)
    stand.run(2_000, every_ms=100.0)
    stand.open()
    stand.run(500)

    assert len(stand.pairs) == 1
    assert stand.held(LONG) == -stand.held(SHORT) != 0


@pytest.mark.parametrize("level", [3, 4])
def test_what_is_unhedged_goes_although_a_venue_is_dead(level: int) -> None:
    """One leg filled, the other venue died with the hedge: the filled leg is taken back."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    kill_venue(stand, SHORT)
    stand.open()
    stand.run(200, every_ms=10.0)
    assert stand.held(LONG) != 0
    engage(stand, level)

    stand.run(8_000, every_ms=250.0)

    assert stand.held(LONG) == 0
    revive(stand)
    stand.settle()
    assert stand.held(SHORT) == 0
