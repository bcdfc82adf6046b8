"""What a campaign has to hit, and where the node dies."""

from __future__ import annotations

import pytest

from perpbot.domain.sides import OrderState
from perpbot.execution.pair import TRANSITIONS as PAIR_TRANSITIONS
from perpbot.portfolio.orders import TRANSITIONS, OrderInput
from perpbot.research.chaos import gate
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import KILL_POINTS, ROWS, TRANSFER_POINT
from perpbot.research.chaos.reaper import Death, NodeCrash, Place, Reaper


def everything() -> Counters:
    """Return counts that lack nothing."""
    counters = Counters()
    for row in ROWS:
        counters.rows[row] = gate.LEAST_ROW_HITS
    for counts, names in (
        (counters.order_edges, gate.order_edges()),
        (counters.pair_edges, gate.pair_edges()),
        (counters.reservation_edges, gate.RESERVATION_EDGES),
        (counters.kill_points, gate.kill_points()),
    ):
        counts.update(dict.fromkeys(names, 1))
    return counters


def test_nothing_is_missing_when_all_was_hit() -> None:
    """And every table has something to hit."""
    assert gate.missing(everything()) == []
    assert len(gate.order_edges()) > 20
    assert len(gate.pair_edges()) >= 12
    assert len(gate.kill_points()) == 2 * len((*KILL_POINTS, TRANSFER_POINT)) + 1


def test_what_is_missing_is_named() -> None:
    """A row that was hit too seldom, an edge, a place to die."""
    counters = everything()
    counters.healthy_ms.update({30: 97, 2_001: 3})
    counters.rows["12"] = 19
    counters.order_edges["accepted full_fill"] = 0
    counters.pair_edges["opening hedged"] = 0
    counters.reservation_edges["in_use released"] = 0
    counters.kill_points["after send hedge"] = 0
    assert gate.missing(counters) == [
        "cover in time: p99 of healthy spells is 2001 ms, at most 2000",
        "row 12: hit 19 times, 20 were expected",
        "order edge accepted full_fill",
        "pair edge opening hedged",
        "reservation edge in_use released",
        "kill point after send hedge",
    ]


def test_edges_that_are_left_out_have_a_reason_and_stand_in_the_table() -> None:
    """An exception for an edge that does not exist would hide a typing error."""
    for state, happened in gate.SELDOM:
        assert happened in TRANSITIONS[state]
    assert gate.never(OrderState.FILLED, OrderInput.SENT)
    assert not gate.never(OrderState.SENT, OrderInput.PLACED)
    before_and_after = {f"{a} {b}" for a, row in PAIR_TRANSITIONS.items() for b in row}
    assert set(gate.NO_RECORD) <= before_and_after


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_reaper_kills_at_the_count_of_a_kind(after: bool) -> None:
    """Before or after what was aimed at, once; whoever goes on is dead already."""
    counters = Counters()
    reaper = Reaper(counters)
    reaper.arm(Death(Place.SEND, after=after, count=2, kind="hedge"), "22")
    done: list[str] = []

    def send(kind: str) -> None:
        reaper.before(Place.SEND, kind)
        done.append(kind)
        reaper.after(Place.SEND, kind)

    reaper.before(Place.APPEND, "hedge")
    for kind in ("open", "hedge", "open"):
        send(kind)
    with pytest.raises(NodeCrash, match="send hedge"):
        send("hedge")
    assert done[3:] == (["hedge"] if after else [])
    assert reaper.killed_by == "22"
    assert counters.kill_points == {f"{'after' if after else 'before'} send hedge": 1}
    assert counters.rows == {"22": 1}
    with pytest.raises(NodeCrash, match="dead already"):
        send("open")
    reaper.revive()
    send("hedge")
    assert reaper.killed_by == ""


def test_a_death_may_be_called_off_and_one_in_a_recovery_is_counted() -> None:
    """Nothing kills after the healing."""
    counters = Counters()
    reaper = Reaper(counters)
    reaper.arm(Death(Place.APPEND, after=False))
    reaper.disarm()
    reaper.before(Place.APPEND, "ALERT_FIRED")
    reaper.arm(Death(Place.APPEND, after=False), nested=True)
    with pytest.raises(NodeCrash):
        reaper.before(Place.APPEND, "ALERT_FIRED")
    assert counters.kill_points["nested"] == 1
