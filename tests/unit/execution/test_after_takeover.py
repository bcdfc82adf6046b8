"""A node that comes back after a guardian traded for it."""

from __future__ import annotations

import pytest

from perpbot.domain.events import VenueReconciled
from perpbot.domain.sides import Purpose, Side
from perpbot.guardian.epoch import Epoch
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LONG, SHORT, Stand


def one_leg() -> Stand:
    """A node that dies with one leg filled and no order at work: its next act is a hedge."""
    stand = Stand()
    stand.faults.add("request", Message.SUBMIT, fate=Fate(reject="no"), venue=SHORT)
    stand.run(2_500, every_ms=500.0)
    stand.open()
    for _ in range(200):
        idle = next(stand.core.folds.orders.unsettled(), None) is None
        if idle and any(pair.imbalance for pair in stand.pairs):
            break
        stand.run(1, every_ms=1)
    stand.crash()
    stand.faults.heal()
    return stand


def guarded(stand: Stand) -> Stand:
    """Let a guardian take over and flatten, and the node come back."""
    stand.takeover = Epoch(
        number=9, run_epoch=stand.core.epoch, at_ns=stand.time.now_ns(), reason="silent"
    )
    held = stand.held(LONG)
    stand.by_hand(LONG, Side.SELL, str(held))
    assert stand.held(LONG) == 0
    stand.boot()
    return stand


def test_a_leg_that_the_guardian_closed_is_not_hedged() -> None:
    """By the node's own books the hedge is missing; the venue knows better, and is asked first."""
    stand = guarded(one_leg())
    stand.settle()

    assert stand.orders(Purpose.HEDGE) == []
    assert stand.orders(Purpose.REDUCE) == []
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.pairs == []
    stand.check()


def test_the_run_after_it_has_a_higher_epoch_than_both() -> None:
    """So no id of either comes again, and the guardian hands back."""
    stand = guarded(one_leg())
    assert stand.core.epoch == 10
    stand.run(100)
    assert stand.core.folds.runs.epoch == 10


def test_a_death_before_the_venues_agreed_changes_nothing() -> None:
    """The next run waits as well: the takeover is older than no agreement."""
    stand = guarded(one_leg())
    stand.crash()
    stand.boot()
    stand.settle()

    assert stand.orders(Purpose.HEDGE) == []
    assert stand.held(SHORT) == 0


@pytest.mark.parametrize("once_agreed", [True, False])
def test_without_a_takeover_since_it_hedges_or_unwinds_at_once(*, once_agreed: bool) -> None:
    """An ordinary restart waits for nobody; neither does one after books that agreed."""
    stand = one_leg()
    if once_agreed:
        stand.takeover = Epoch(number=9, run_epoch=1, at_ns=0, reason="long ago")
    stand.boot()
    stand.run(1, every_ms=1)

    assert stand.told(VenueReconciled) == []
    assert stand.core.trader.next_look_ns(stand.pairs[0].plan.pair_id) is not None or (
        stand.orders(Purpose.HEDGE) + stand.orders(Purpose.REDUCE)
    )
    stand.settle()
    assert stand.held(LONG) == -stand.held(SHORT)


def test_the_kill_switch_does_not_wait_for_a_dead_venue() -> None:
    """The leg whose venue has agreed is closed; the other one when its venue is back."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.crash()
    stand.takeover = Epoch(
        number=9, run_epoch=stand.core.epoch, at_ns=stand.time.now_ns(), reason="silent"
    )
    stand.faults.down.add(SHORT)
    stand.boot()
    stand.guard(lambda: stand.core.kill_switch.engage(4, actor="ann", reason="drill"))
    stand.run(3_000, every_ms=100.0)
    assert stand.held(LONG) == 0
    assert stand.held(SHORT) != 0
    assert all(order.venue == LONG for order in stand.orders(Purpose.REDUCE))

    stand.faults.heal()
    stand.settle()
    assert stand.held(SHORT) == 0
    assert stand.pairs == []


@pytest.mark.parametrize("level", [3, 4])
def test_nor_for_a_pair_that_was_half_open(level: int) -> None:
    """What its books lack at the dead venue cannot be known: what can be reached is closed."""
    stand = one_leg()
    stand.takeover = Epoch(
        number=9, run_epoch=stand.core.epoch, at_ns=stand.time.now_ns(), reason="silent"
    )
    held = stand.held(LONG)
    assert held > 0
    stand.faults.down.add(SHORT)
    stand.boot()
    stand.run(3_000, every_ms=100.0)
    assert stand.held(LONG) == held, "no hedge, no reduction: its hedge may have been made"

    stand.guard(lambda: stand.core.kill_switch.engage(level, actor="ann", reason="drill"))
    stand.run(5_000, every_ms=100.0)
    assert stand.held(LONG) == 0
    assert stand.orders(Purpose.HEDGE) == []

    stand.faults.heal()
    stand.settle()
    assert stand.held(SHORT) == 0
    assert stand.pairs == []
