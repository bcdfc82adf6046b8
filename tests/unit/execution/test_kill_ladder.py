"""The kill switch with one venue dead: the others go now, the dead one when it is back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.events import OrderReported, RiskRejected
from perpbot.domain.orders import OrderReport
from perpbot.domain.sides import OrderState, PairState, Purpose, Side
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LONG, SHORT, THIRD, Stand


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


def taken(stand: Stand, venue: str) -> None:
    """The venue said that it took an order, and died before it said what became of it."""
    (order,) = (o for o in stand.core.folds.orders.unsettled() if o.request.venue == venue)
    report = OrderReport(
        venue=venue,
        account="main",
        client_id=order.request.client_id,
        venue_order_id="77",
        symbol=order.request.symbol,
        state=OrderState.ACCEPTED,
        venue_ns=stand.time.now_ns(),
    )
    event = OrderReported(ts_ns=stand.time.now_ns(), report=report)
    stand.guard(lambda: stand.core.bus.publish(event))


def with_an_order_at_a_dead_venue(*, says_no: bool = False) -> Stand:
    """The long leg is filled; the venue of the short one took its order and is gone.

    `says_no`: its door still stands, and refuses every cancel.
    """
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    if says_no:
        stand.quoting.discard(SHORT)
        stand.faults.add("request", Message.CANCEL, venue=SHORT, fate=Fate(reject="not now"))
        for message in (Message.SUBMIT, Message.QUERY, Message.RECONCILE):
            stand.faults.add("request", message, venue=SHORT)
    else:
        kill_venue(stand, SHORT)
    stand.open()
    stand.run(30, every_ms=10.0)
    taken(stand, SHORT)
    stand.run(300, every_ms=10.0)
    assert [stand.held(name) for name in stand.names] == [2, 0]
    return stand


@pytest.mark.parametrize("level", [3, 4])
@pytest.mark.parametrize("says_no", [False, True], ids=["silent", "refuses"])
def test_an_order_that_a_dead_venue_took_holds_nothing_up(level: int, *, says_no: bool) -> None:
    """It is asked back first; when that has no effect the filled leg goes."""
    stand = with_an_order_at_a_dead_venue(says_no=says_no)
    engage(stand, level)

    stand.run(8_000, every_ms=250.0)

    assert stand.held(LONG) == 0
    revive(stand)
    stand.settle()
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.pairs == []


@pytest.mark.parametrize("says_no", [False, True], ids=["silent", "refuses"])
def test_without_a_switch_it_is_waited_for_as_long_as_for_any_silent_venue(
    *, says_no: bool
) -> None:
    """Then what is held is taken back towards the net that is proven."""
    stand = with_an_order_at_a_dead_venue(says_no=says_no)
    stand.run(20_000, every_ms=500.0)
    assert stand.held(LONG) == 2
    stand.run(15_000, every_ms=500.0)

    assert stand.held(LONG) == 0
    revive(stand)
    stand.settle()
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.pairs == []


def half_open(long: float) -> Stand:
    """One of two coins is sold, the order for the other one is at a venue that is gone."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.depth[LONG] = (5.0, long)
    stand.faults.add("request", Message.SUBMIT, venue=SHORT)
    stand.open()
    stand.run(30, every_ms=10.0)
    taken(stand, SHORT)
    stand.by_hand(SHORT, Side.SELL, "1")  # as the order would have filled so far
    stand.run(100, every_ms=10.0)
    kill_venue(stand, SHORT)
    assert [stand.held(name) for name in stand.names] == [long, -1]
    return stand


def test_level_4_takes_both_parts_of_a_pair_that_is_half_open() -> None:
    """The legs agree, more of one is on its way at a dead venue: what can be reached is closed."""
    stand = half_open(long=1.0)
    (pair,) = stand.pairs
    assert pair.imbalance == 0
    assert pair.state is PairState.OPENING
    engage(stand, 4)

    stand.run(8_000, every_ms=250.0)

    assert stand.held(LONG) == 0
    assert stand.held(SHORT) == -1
    revive(stand)
    stand.settle()
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.pairs == []


def test_level_4_takes_what_an_unwinding_would_have_kept() -> None:
    """The excess has gone and what both legs hold would stay, until the dead venue is back."""
    stand = half_open(long=2.0)
    stand.run(40_000, every_ms=500.0)
    (pair,) = stand.pairs
    assert pair.state is PairState.UNWINDING
    assert stand.held(LONG) == 1
    engage(stand, 4)

    stand.run(5_000, every_ms=250.0)

    assert stand.held(LONG) == 0
    revive(stand)
    stand.settle()
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.pairs == []


def test_the_switch_takes_a_pair_over_that_was_leaving_anyway() -> None:
    """It waits for nobody then, whatever the first reason was."""
    stand = half_open(long=1.0)
    stand.close("converged")
    stand.run(100)
    engage(stand, 4)
    stand.run(8_000, every_ms=250.0)

    (pair,) = stand.pairs
    assert pair.close_reason == "kill_switch_4"
    assert stand.held(LONG) == 0


# --- of one venue --------------------------------------------------------------------------------


def wide(*, hedged: bool = True) -> Stand:
    """Three venues, a hedged pair at the first two."""
    stand = Stand(venues=(LONG, SHORT, THIRD))
    stand.run(2_500, every_ms=500.0)
    if hedged:
        stand.open(size=1.0)
        stand.run(700)
        assert held(stand) == [1, -1, 0]
    return stand


def held(stand: Stand) -> list[Decimal]:
    """What the exchanges say we hold."""
    return [stand.held(name) for name in stand.names]


def engage_at(stand: Stand, venue: str, level: int) -> None:
    """Somebody pulls it for one venue."""
    stand.guard(
        lambda: stand.core.kill_switch.engage(
            level, actor="ann", reason="venue looks wrong", venue=venue
        )
    )


@pytest.mark.parametrize("venue", [LONG, SHORT], ids=["long", "short"])
def test_level_4_of_a_venue_closes_both_legs_of_its_pairs(venue: str) -> None:
    """No leg is left alone at the other venue, which trades on with the third."""
    stand = wide()
    engage_at(stand, venue, 4)
    stand.settle()
    assert held(stand) == [0, 0, 0]
    assert stand.pairs == []

    long, short = [name for name in stand.names if name != venue]
    stand.open(size=1.0, long=long, short=short)
    stand.run(700)
    assert [stand.held(long), stand.held(short)] == [1, -1]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_the_level_of_a_venue_leaves_the_pairs_elsewhere(level: int) -> None:
    """Whatever the level."""
    stand = wide()
    engage_at(stand, THIRD, level)
    stand.run(2_000)

    assert held(stand) == [1, -1, 0]
    (pair,) = stand.pairs
    assert not pair.close_reason


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_nothing_opens_at_a_venue_while_the_others_trade(level: int) -> None:
    """The decision names level and venue."""
    stand = wide(hedged=False)
    engage_at(stand, SHORT, level)
    stand.open(size=1.0)
    stand.run(700)
    assert stand.pairs == []
    (refused,) = stand.told(RiskRejected)
    assert (refused.rule, refused.value) == ("kill_switch", f"K{level} on {SHORT}")

    stand.open(size=1.0, short=THIRD)
    stand.run(700)
    assert held(stand) == [1, 0, -1]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_lower_levels_of_a_venue_leave_hedged_pairs(level: int) -> None:
    """There, too."""
    stand = wide()
    engage_at(stand, SHORT, level)
    stand.run(2_000)

    assert held(stand) == [1, -1, 0]
    assert len(stand.pairs) == 1


@pytest.mark.parametrize(("venue", "goes"), [(LONG, True), (SHORT, True), (THIRD, False)], ids=str)
def test_what_is_unhedged_with_a_leg_at_a_venue_goes(venue: str, *, goes: bool) -> None:
    """Level 3: the hedge cannot be had, what is held is taken back, whichever leg it is."""
    stand = wide(hedged=False)
    kill_venue(stand, SHORT)
    stand.open(size=1.0)
    stand.run(200, every_ms=10.0)
    assert held(stand) == [1, 0, 0]
    engage_at(stand, venue, 3)
    stand.run(8_000, every_ms=250.0)

    assert (stand.held(LONG) == 0) is goes
    revive(stand)
    stand.settle()
    assert stand.held(LONG) == -stand.held(SHORT)


def test_a_restart_forgets_no_venue() -> None:
    """The new process goes on with the leg at the dead venue, and opens nothing there."""
    stand = wide()
    kill_venue(stand, SHORT)
    engage_at(stand, SHORT, 4)
    engage_at(stand, THIRD, 1)
    stand.run(1_500, every_ms=100.0)
    assert held(stand) == [0, -1, 0]
    stand.crash()
    stand.boot()
    kills = stand.core.folds.latches.venue_kills
    assert {venue: kill.level for venue, kill in kills.items()} == {SHORT: 4, THIRD: 1}
    stand.run(1_500, every_ms=100.0)
    revive(stand)
    stand.settle()
    assert held(stand) == [0, 0, 0]

    for short in (SHORT, THIRD):
        stand.open(size=1.0, short=short)
        stand.run(700)
    assert held(stand) == [0, 0, 0]
    stand.core.kill_switch.clear(actor="bob", reason="over", venue=SHORT)
    for short in (THIRD, SHORT):
        stand.open(size=1.0, short=short)
        stand.run(700)
    assert held(stand) == [1, -1, 0]
