"""The kill switch ladder: what each level does, and what a restart finishes."""

from __future__ import annotations

import msgspec
import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    Event,
    KillSwitchCleared,
    KillSwitchEngaged,
)
from perpbot.domain.sides import Purpose, Side
from perpbot.execution.killswitch import LEVELS, KillSwitch
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.portfolio.orders import OrderTable
from perpbot.risk.latches import RiskLatches, VenueKill
from tests.unit.execution.stand import LONG, SHORT, THIRD
from tests.unit.execution.test_pair import Desk, fill, order, plan
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
            self.bus,
            VirtualTime(1_000),
            self.orders,
            self.desk.book,
            self.latches,
            self._leave,
            (LONG, SHORT, THIRD),
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


# --- of one venue --------------------------------------------------------------------------------


class WideBoard(Board):
    """Also a pair that is not at `SHORT`, one leg filled, its hedge resting at `THIRD`."""

    def __init__(self) -> None:
        super().__init__()
        elsewhere = msgspec.structs.replace(plan("2-1"), short_venue=THIRD)
        legs = [
            order("2-1", 0),
            msgspec.structs.replace(order("2-1", 1), venue=THIRD, purpose=Purpose.HEDGE),
        ]
        self.bus.publish(planned(elsewhere, *legs, ts_ns=2))
        self.bus.publish(fill("2-1-0", Side.BUY, "1", "100", ts_ns=10))
        self.said.clear()


@pytest.mark.parametrize(
    ("level", "cancelled", "closed"),
    [
        (1, [], []),
        (2, ["1-2-0", "1-2-1"], []),
        (3, ["1-2-0", "1-2-1"], ["1-2"]),
        (4, ["1-2-0", "1-2-1"], ["1-1", "1-2"]),
    ],
    ids=str,
)
def test_each_level_of_a_venue(level: int, cancelled: list[str], closed: list[str]) -> None:
    """Only pairs with a leg there; an order elsewhere that opens such a pair does not rest."""
    board = WideBoard()
    board.switch.engage(level, actor="ann", reason="drill", venue=SHORT)
    assert (board.cancelled, board.closed, board.left) == (cancelled, closed, 0)
    assert board.latches.kill_level == 0
    assert board.latches.venue_kills == {SHORT: VenueKill(level, "drill")}


@pytest.mark.parametrize(
    ("venue", "cancelled"),
    [(SHORT, []), (THIRD, ["2-1-0", "2-1-1"]), (LONG, ["2-1-0"])],
    ids=["none of its", "where its hedge rests", "its other one"],
)
def test_a_hedge_elsewhere_stays(venue: str, cancelled: list[str]) -> None:
    """It shrinks the net; what opens the pair does not."""
    board = WideBoard()
    board.switch.engage(2, actor="ann", reason="drill", venue=venue)
    assert [name for name in board.cancelled if name.startswith("2-1")] == cancelled


def test_protective_orders_and_reductions_stay_at_a_venue() -> None:
    """Whatever is latched."""
    board = Board()
    for index, purpose in enumerate((Purpose.REDUCE, Purpose.PROTECT)):
        resting = msgspec.structs.replace(order("1-1", 1), client_id=f"r{index}", purpose=purpose)
        board.bus.publish(planned(plan(f"9-{index}"), resting, ts_ns=2))
    board.switch.engage(2, actor="ann", reason="drill", venue=SHORT)
    assert board.cancelled == ["1-2-0", "1-2-1"]


@pytest.mark.parametrize(
    ("level", "venue", "words"),
    [
        (5, LONG, "kill level of okx was 5, 1 to 4 was expected: 5 ends the node"),
        (0, LONG, "kill level was 0, 1 to 5"),
        (1, "okxx", "venue was 'okxx', one of okx, binance, hyperliquid was expected"),
    ],
    ids=["exit", "no level", "no venue"],
)
def test_what_no_venue_can_be_told_is_refused(level: int, venue: str, words: str) -> None:
    """Nothing is latched then, not even for the node."""
    board = Board()
    with pytest.raises(InvalidValue, match=words):
        board.switch.engage(level, actor="ann", reason="drill", venue=venue)
    assert not board.said


def test_one_venue_is_cleared_and_the_others_stay() -> None:
    """Without a venue everything is."""
    board = Board()
    for venue in ("", LONG, SHORT):
        board.switch.engage(1, actor="ann", reason="drill", venue=venue)
    board.switch.clear(actor="bob", reason="over", venue=LONG)
    assert (board.latches.kill_level, list(board.latches.venue_kills)) == (1, [SHORT])
    board.switch.clear(actor="bob", reason="over")
    assert (board.latches.kill_level, board.latches.venue_kills) == (0, {})


def test_a_venue_that_the_settings_lost_can_still_be_cleared() -> None:
    """What is none of the node's and not latched is a mistake."""
    board = Board()
    board.latches.venue_kills["gone"] = VenueKill(4, "drill")
    board.switch.clear(actor="bob", reason="over", venue="gone")
    assert not board.latches.venue_kills
    with pytest.raises(InvalidValue, match="venue was 'gone', one of"):
        board.switch.clear(actor="bob", reason="over", venue="gone")


@pytest.mark.parametrize(
    ("venue", "closed"), [(SHORT, ["1-1", "1-2"]), (THIRD, ["2-1"])], ids=["two", "one"]
)
def test_restart_finishes_what_a_level_of_a_venue_began(venue: str, closed: list[str]) -> None:
    """And leaves the pairs that are not there."""
    board = WideBoard()
    board.latches.venue_kills[venue] = VenueKill(4, "drill")
    board.switch.resume()
    assert board.closed == closed


@pytest.mark.parametrize(
    ("level", "venue", "cancelled", "closed"),
    [
        (1, SHORT, False, []),
        (2, SHORT, True, []),
        (3, LONG, True, []),
        (4, SHORT, True, ["1-3"]),
        (4, THIRD, False, []),
    ],
    ids=["K1", "K2", "K3", "K4", "elsewhere"],
)
def test_a_pair_that_was_decided_before_the_switch_of_a_venue(
    level: int, venue: str, closed: list[str], *, cancelled: bool
) -> None:
    """The switch overtakes it too, where the pair has a leg there."""
    board = Board()
    board.switch.engage(level, actor="ann", reason="drill", venue=venue)
    board.said.clear()
    board.desk.planned("1-3")
    assert ("1-3-0" in board.cancelled) is cancelled
    assert board.closed == closed
