"""What a rehearsal tells is what the restart does."""

from __future__ import annotations

import msgspec
import pytest

from perpbot.app.recovery import recover
from perpbot.app.restart.outlook import Outlook
from perpbot.app.restart.rehearsal import LOOK_NS, rehearse
from perpbot.app.restart.words import text_of
from perpbot.domain.events import (
    CancelOrders,
    ClosePair,
    Event,
    HaltLatched,
    KillSwitchEngaged,
    OrderUnknown,
    PairStateChanged,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
)
from perpbot.kernel.clock import SECOND
from perpbot.simulation.fates import Message
from tests.unit.execution.stand import LONG, SHORT, FragileJournal, Stand
from tests.unit.execution.test_after_takeover import guarded, one_leg
from tests.unit.execution.test_recovery import SCENES, live

_DECISIONS = (
    CancelOrders,
    ClosePair,
    OrderUnknown,
    PairStateChanged,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
)


class Memory(FragileJournal):
    """A journal without snapshots."""

    def read_snapshot(self) -> tuple[int, bytes] | None:
        return None


def outlook_of(stand: Stand) -> Outlook:
    """Return what a restart of a dead stand would do now."""
    return rehearse(
        stand.settings,
        stand.markets,
        recover(_memory(stand)),
        stand.time.now_ns(),
        stand.takeover,
    )


def _memory(stand: Stand) -> Memory:
    memory = Memory()
    memory._records = list(stand.journal.records())
    memory.last_sequence = stand.journal.last_sequence
    return memory


def dead_at(scene: str, record: int) -> Stand:
    """Return a stand whose process died at a record."""
    stand = SCENES[scene]()
    stand.journal.dies_at = record
    stand.journal.keeps_last = True
    live(stand)
    assert not stand.timers.alive
    return stand


def decisions(events: list[Event], stand: Stand) -> list[tuple[str, str]]:
    """Return what a process decided by itself, in words; that a stream came up is news."""
    return [
        (event.kind, text_of(event, stand.core))
        for event in events
        if isinstance(event, _DECISIONS) and getattr(event, "reason", "") != "reconnect"
    ]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
def test_a_rehearsal_decides_what_the_restart_decides(scene: str, share: float) -> None:
    """At a crash anywhere in a pair's life: the same decisions, in the same words and order."""
    whole = SCENES[scene]()
    live(whole)
    stand = dead_at(scene, max(int(whole.journal.last_sequence * share), 1))
    told = outlook_of(stand)
    # The venues keep silent for the first moment, and nobody quotes.
    stand.faults.down |= {LONG, SHORT}
    stand.boot()
    stand.time.run_until(stand.time.now_ns() + LOOK_NS)

    steps = [
        *(step for order in told.orders for step in order.steps),
        *(step for pair in told.pairs for step in pair.steps),
        *told.others,
    ]
    rehearsed = {(step.kind, step.text) for step in steps}
    real = set(decisions(stand.events, stand))
    assert {pair for pair in rehearsed if pair[0] in {c.kind for c in _DECISIONS}} == real
    assert told.halted == ""


def test_an_unanswered_order_names_the_proof_that_it_awaits() -> None:
    """Who reads it knows when absence becomes a fact."""
    stand = Stand()
    stand.faults.add("response", Message.SUBMIT)
    stand.faults.add("stream")
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.crash()

    told = outlook_of(stand)

    assert len(told.orders) == 2
    for order in told.orders:
        assert "proof of absence" in order.awaits
        assert [step.kind for step in order.steps][:1] == ["ORDER_UNKNOWN"]
        assert "QUERY_ORDER" in [step.kind for step in order.steps]
        assert order.pair == told.pairs[0].pair
    assert told.pairs[0].orders == tuple(order.client_id for order in told.orders)
    assert {found["owner"] for found in told.reservations} == {told.pairs[0].pair}
    assert {lease["owner"] for lease in told.leases} == {told.pairs[0].pair}


def test_an_unhedged_pair_says_how_much_goes_where() -> None:
    """The short leg filled by half: the rest is hedged there at once."""
    stand = SCENES["one_legged"]()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    until = 0
    while not (stand.pairs and stand.pairs[0].imbalance) and until < 200:
        stand.run(5, every_ms=5.0)
        until += 1
    stand.crash()

    told = outlook_of(stand)

    (pair,) = told.pairs
    assert pair.imbalance > 0
    assert pair.unhedged_since_ns > 0
    assert pair.steps or pair.next_look_ms is not None


def test_after_a_takeover_a_pair_waits_for_what_was_done_for_it() -> None:
    """By these books its hedge is missing; it is not sent before both venues have told."""
    stand = guarded(one_leg())
    stand.crash()

    (pair,) = outlook_of(stand).pairs

    assert pair.imbalance != 0
    assert pair.steps == ()
    assert set(pair.waits_for) == {LONG, SHORT}


def test_latches_stay_and_are_told() -> None:
    """No restart forgets a kill switch or a halt."""
    stand = Stand()
    now_ns = stand.time.now_ns()
    stand.core.bus.publish(KillSwitchEngaged(ts_ns=now_ns, level=4, actor="me", reason="odd"))
    kill = KillSwitchEngaged(ts_ns=now_ns, level=1, actor="me", reason="slow", venue=LONG)
    stand.core.bus.publish(kill)
    stand.core.bus.publish(HaltLatched(ts_ns=now_ns, rule="drawdown", value="11 %", limit="10 %"))
    stand.crash()

    told = outlook_of(stand)

    assert told.latches["kill_level"] == 4
    assert told.latches["kill_reason"] == "odd"
    assert told.latches["venue_kills"] == {LONG: {"level": 1, "reason": "slow"}}
    assert told.latches["halts"] == {"drawdown": "measured 11 %, limit 10 %"}
    assert told.epoch == 2
    assert {venue.venue for venue in told.venues} == {LONG, SHORT}
    assert all(venue.refusal for venue in told.venues)


def test_what_would_halt_a_restart_is_told() -> None:
    """An instrument that is not listed any more, say."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.crash()
    gone = {key: found for key, found in stand.markets.instruments.items() if key[0] != SHORT}
    markets = msgspec.structs.replace(stand.markets, instruments=gone)

    told = rehearse(stand.settings, markets, recover(_memory(stand)), stand.time.now_ns())

    assert "is not traded on binance" in told.halted


def test_nothing_is_written_and_the_state_is_the_same_afterwards() -> None:
    """A rehearsal writes to memory only."""
    stand = dead_at("one_legged", 20)
    before = list(stand.journal.records())

    outlook_of(stand)

    assert list(stand.journal.records()) == before
    assert recover(_memory(stand)).records == len(before)


def test_a_venue_that_nobody_asked_was_not_silent() -> None:
    """After a minute without a node the unknown leg is asked for first, then all is hedged."""
    stand = Stand()
    stand.faults.add("response", Message.SUBMIT, venue=LONG)
    stand.faults.add("stream", venue=LONG)
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(100)
    stand.crash()
    stand.time.run_until(stand.time.now_ns() + 60 * SECOND)

    (pair,) = outlook_of(stand).pairs

    assert pair.state == pair.state_after == "opening"
    assert [step.kind for step in pair.steps if step.kind == "SUBMIT_ORDERS"] == []
    stand.boot()
    stand.run(1_000)
    assert stand.pairs[0].imbalance == 0
    assert stand.pairs[0].state == "hedged"
