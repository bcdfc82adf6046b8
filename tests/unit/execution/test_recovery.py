"""A crash at every record of a pair's life: the next process ends what the last one began."""

from __future__ import annotations

from functools import lru_cache

import pytest

from perpbot.domain.sides import Purpose
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LATENCY_NS, LONG, SHORT, Stand


def live(stand: Stand) -> None:
    """One pair, from its opportunity to its end."""
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.close()
    stand.run(4_000, every_ms=250.0)


def smooth() -> Stand:
    """Both legs fill, both legs close."""
    return Stand()


def one_legged() -> Stand:
    """The short leg fills by half: a hedge follows; its close is refused once."""
    stand = Stand()
    stand.depth[SHORT] = (1.0, 5.0)
    stand.faults.add(
        "request", Message.SUBMIT, fate=Fate(reject="busy"), purpose=Purpose.REDUCE, times=1
    )
    return stand


def unwound() -> Stand:
    """The short leg is refused, its hedge too: the long leg is taken back."""
    stand = Stand()
    stand.faults.add("request", Message.SUBMIT, fate=Fate(reject="no"), venue=SHORT)
    return stand


def unanswered() -> Stand:
    """The long leg's answers are lost and come by questions alone."""
    stand = Stand()
    stand.faults.add("response", Message.SUBMIT, venue=LONG)
    stand.faults.add("stream", venue=LONG)
    return stand


SCENES = {
    "smooth": smooth,
    "one_legged": one_legged,
    "unwound": unwound,
    "unanswered": unanswered,
}


@lru_cache
def records_of(scene: str) -> tuple[int, int]:
    """The first and last record of the pair's life when nothing crashes."""
    stand = SCENES[scene]()
    live(stand)
    stand.settle()
    stand.check_settled()
    kinds = [record.kind for record in stand.journal.records()]
    return kinds.index("PAIR_PLANNED") + 1, len(kinds)


@pytest.mark.parametrize("keeps_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scene", SCENES)
def test_crash_at_every_record(scene: str, *, keeps_last: bool) -> None:
    """Before or just after any record: the restart is flat in the end, and sent nothing twice."""
    first, last = records_of(scene)
    for number in range(first, last + 1):
        stand = SCENES[scene]()
        stand.journal.dies_at = number
        stand.journal.keeps_last = keeps_last
        live(stand)
        if not stand.journal.dead:
            break  # the life was shorter than that without the seconds after it
        before = stand.core.state.digest()
        stand.run(30)
        stand.time.run_until(stand.time.now_ns() + 3 * LATENCY_NS)
        stand.boot()
        if not keeps_last:
            assert stand.recovered == before, f"record {number}: another state than before"
        stand.run(2_000, every_ms=250.0)
        stand.faults.heal()
        stand.close()
        stand.settle()
        stand.close()
        stand.settle()
        assert not stand.pairs, f"record {number}: {stand.pairs}"
        stand.check_settled()


def test_crash_during_every_recovery() -> None:
    """Killed again and again while it recovers, the node still ends flat."""
    first, last = records_of("one_legged")
    for number in range(first, last, 7):
        stand = one_legged()
        stand.journal.dies_at = number
        live(stand)
        for more in (2, 5, 9):
            stand.time.run_until(stand.time.now_ns() + 100_000_000)
            dies_at = stand.journal.last_sequence + more
            stand.boot()
            stand.journal.dies_at = dies_at
            stand.run(3_000)
        if not stand.timers.alive:
            stand.boot()
        stand.journal.dies_at = 0
        stand.faults.heal()
        stand.close()
        stand.settle()
        stand.close()
        stand.settle()
        assert not stand.pairs
        stand.check_settled()
