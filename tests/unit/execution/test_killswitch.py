"""The kill switch ladder: what each level does, and what a restart finishes."""

from __future__ import annotations

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    Event,
    KillSwitchCleared,
    KillSwitchEngaged,
)
from perpbot.domain.sides import Side
from perpbot.execution.killswitch import LEVELS, KillSwitch
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.portfolio.orders import OrderTable
from perpbot.risk.latches import RiskLatches
from tests.unit.execution.test_pair import Desk, fill, plan
from tests.unit.portfolio.office import planned


class Board:
    """A switch over one hedged pair, one that is not, and their orders."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.orders = OrderTable()
        self.latches = RiskLatches()
        self.left = 0
        self.bus = EventBus(VirtualTime(1_000))
        for component in (self.orders, self.desk.book, self.latches):
            for event_class, fold in component.folds().items():
                self.bus.subscribe(event_class, fold)
        self.desk.take = self._take  # type: ignore[method-assign]
        self.switch = KillSwitch(
            self.bus, VirtualTime(1_000), self.orders, self.desk.book, self.latches, self._leave
        )
        self.said: list[Event] = []
        for kind in (CancelOrders, ClosePair, KillSwitchEngaged, KillSwitchCleared):
            self.bus.subscribe(kind, self.said.append)
        self.desk.planned("1-1")
        self.desk.planned("1-2")
        self.bus.publish(fill("1-1-0", Side.BUY, "2", "100"))
        self.bus.publish(fill("1-1-1", Side.SELL, "2", "100"))
        self.bus.publish(fill("1-2-0", Side.BUY, "1", "100", ts_ns=9))
        self.said.clear()

    def _take(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(event)

    def _leave(self) -> None:
        self.left += 1

    @property
    def closed(self) -> list[str]:
        return [event.pair_id for event in self.said if isinstance(event, ClosePair)]

    @property
    def cancelled(self) -> list[str]:
        return [
            client_id
            for event in self.said
            if isinstance(event, CancelOrders)
            for client_id in event.client_ids
        ]


@pytest.mark.parametrize(
    ("level", "cancelled", "closed", "left"),
    [
        (1, [], [], 0),
        (2, ["1-2-0", "1-2-1"], [], 0),
        (3, ["1-2-0", "1-2-1"], ["1-2"], 0),
        (4, ["1-2-0", "1-2-1"], ["1-1", "1-2"], 0),
        (5, ["1-2-0", "1-2-1"], ["1-1", "1-2"], 1),
    ],
    ids=list(LEVELS.values()),
)
def test_each_level(level: int, cancelled: list[str], closed: list[str], left: int) -> None:
    """Each does what the ones below it do, and more."""
    board = Board()
    board.switch.engage(level, actor="ann", reason="drill")
    assert isinstance(board.said[0], KillSwitchEngaged)
    assert (board.cancelled, board.closed, board.left) == (cancelled, closed, left)
    assert board.latches.kill_level == level


@pytest.mark.parametrize("level", [0, 6, -1], ids=str)
def test_other_levels_are_refused(level: int) -> None:
    """There are five."""
    board = Board()
    with pytest.raises(InvalidValue, match=f"kill level was {level}, 1 to 5"):
        board.switch.engage(level, actor="ann", reason="drill")
    assert not board.said


def test_clearing_is_somebodys_act() -> None:
    """The latch goes, and the journal knows who did it."""
    board = Board()
    board.switch.engage(1, actor="ann", reason="drill")
    board.switch.clear(actor="bob", reason="over")
    assert board.latches.kill_level == 0
    last = board.said[-1]
    assert isinstance(last, KillSwitchCleared)
    assert last.actor == "bob"


@pytest.mark.parametrize("level", [1, 4, 5], ids=str)
def test_restart_finishes_what_a_level_began(level: int) -> None:
    """The process may have died between the latch and its deeds; a new one is not ended by K5."""
    board = Board()
    board.latches.kill_level, board.latches.kill_reason = level, "drill"
    board.switch.resume()
    assert board.closed == ([] if level < 4 else ["1-1", "1-2"])
    assert board.left == 0


def test_restart_without_a_latch_does_nothing() -> None:
    """Nothing was engaged."""
    board = Board()
    board.switch.resume()
    assert not board.said


def test_pair_that_was_decided_before_the_switch_is_closed() -> None:
    """The switch overtakes what waits in the durable lane."""
    board = Board()
    board.switch.engage(4, actor="ann", reason="drill")
    board.said.clear()
    board.bus.publish(planned(plan("1-3"), ts_ns=5))
    assert board.closed == ["1-3"]


@pytest.mark.parametrize(("level", "cancelled"), [(1, False), (2, True), (3, True)])
def test_orders_that_were_decided_before_the_switch_do_not_rest(
    level: int, *, cancelled: bool
) -> None:
    """They go out with their pair's record, and come back right after it."""
    board = Board()
    board.switch.engage(level, actor="ann", reason="drill")
    board.said.clear()
    board.desk.planned("1-3")
    assert ("1-3-0" in board.cancelled) is cancelled
    assert board.closed == []
