"""Nonces across restarts, with the journal as the only thing that survives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import NonceClash
from perpbot.domain.events import NoncesReserved, RunStarted
from perpbot.execution.nonces import AHEAD, BLOCK_MS, CHECK_NS, NonceKeeper, NonceMarks
from perpbot.kernel.bus import BusHalted, EventBus
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.venues.wire.nonces import SPARE, NonceSource

VENUE, ACCOUNT = "hyperliquid", "main"


class Door:
    """A venue whose requests carry nonces."""

    name = VENUE
    account_name = ACCOUNT

    def __init__(self, time: VirtualTime, *, can_trade: bool = True) -> None:
        self.can_trade = can_trade
        self.nonces = NonceSource(time, venue=VENUE)
        self.trading = self


class Run:
    """One process: marks folded from the journal, a source, its keeper."""

    def __init__(self, journal: MemoryJournal, at_s: float, *, can_trade: bool = True) -> None:
        self.time = VirtualTime(int(at_s * SECOND))
        self.marks = NonceMarks()
        for record in journal.records():
            if isinstance(event := record.event(), NoncesReserved):
                self.marks.folds()[NoncesReserved](event)
        self.journal = journal
        self.bus = EventBus(self.time, journal)
        for kind, fold in self.marks.folds().items():
            self.bus.subscribe(kind, fold)
        self.door = Door(self.time, can_trade=can_trade)
        venue: Any = self.door
        NonceKeeper(venue, self.bus, self.time, self.time, self.marks)

    def start(self) -> None:
        """Begin the run."""
        self.bus.publish(
            RunStarted(ts_ns=self.time.now_ns(), epoch=1, mode="demo", version="1", config_hash="")
        )

    def next(self) -> int:
        """Use a nonce; it is never beyond what is journalled."""
        nonce = self.door.nonces.next_ms()
        assert nonce <= self.marks.until(VENUE, ACCOUNT)
        return nonce

    @property
    def reservations(self) -> int:
        return sum(isinstance(r.event(), NoncesReserved) for r in self.journal.records())


def started(journal: MemoryJournal, at_s: float) -> Run:
    """Return a run that has begun."""
    run = Run(journal, at_s)
    run.start()
    return run


def test_nonces_follow_the_clock() -> None:
    """Reserved a minute ahead, twice a minute, whatever is used of them."""
    run = started(MemoryJournal(), 1_000)
    for second in range(1_001, 1_121):
        run.time.run_until(second * SECOND)
        assert run.next() == second * 1_000
    assert run.reservations == 4


def test_nothing_is_given_before_the_first_reservation() -> None:
    """Not sent is better than sent twice."""
    run = Run(MemoryJournal(), 1_000)
    with pytest.raises(NonceClash, match="not sent"):
        run.door.nonces.next_ms()


@pytest.mark.parametrize("back_s", [0, 1, 3_600], ids=["same", "little", "hour"])
def test_a_restart_goes_on_behind_the_last_run(back_s: int) -> None:
    """Also where the wall clock was put back meanwhile; snapshots and records alike."""
    journal = MemoryJournal()
    first = started(journal, 10_000)
    used = [first.next() for _ in range(50)]
    second = started(journal, 10_000 - back_s)
    used += [second.next() for _ in range(50)]
    restored = NonceMarks()
    restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(second.marks.snapshot())))

    assert used == sorted(set(used))
    assert restored.until(VENUE, ACCOUNT) == second.marks.until(VENUE, ACCOUNT)


def test_restarts_in_a_row_stay_near_the_clock() -> None:
    """A node that crashes and starts a thousand times drives nonces ahead by half an hour."""
    journal = MemoryJournal()
    for _ in range(1_000):
        last = started(journal, 10_000).next()
    assert last - 10_000_000 <= BLOCK_MS + 1_000 * AHEAD


def test_a_clock_that_jumps_ahead_uses_what_is_reserved() -> None:
    """Until the next look reserves more; nothing beyond the journal is used."""
    run = started(MemoryJournal(), 1_000)
    run.time.advance(5_000 * SECOND)
    used = [run.next() for _ in range(SPARE + 1)]
    assert used == sorted(set(used))
    with pytest.raises(NonceClash):
        run.next()
    run.time.run_until(run.time.now_ns() + CHECK_NS)
    assert run.next() >= 5_000_000


def test_a_burst_takes_a_new_block() -> None:
    """Nonces that run ahead of the clock are reserved as they are used up."""
    run = started(MemoryJournal(), 1_000)
    for _ in range(BLOCK_MS - SPARE // 2):
        run.next()
    run.time.run_until(run.time.now_ns() + CHECK_NS)
    ahead = run.marks.until(VENUE, ACCOUNT) - run.next()
    assert ahead >= SPARE
    assert run.time.now_ns() // MS < run.next()


def test_other_accounts_are_not_ours() -> None:
    """A reservation of another account allows nothing here."""
    run = Run(MemoryJournal(), 1_000)
    run.bus.publish(NoncesReserved(ts_ns=1, venue=VENUE, account="other", until=10**15))
    with pytest.raises(NonceClash):
        run.door.nonces.next_ms()


def test_without_keys_nothing_is_reserved() -> None:
    """Who signs nothing needs no nonces."""
    run = Run(MemoryJournal(), 1_000, can_trade=False)
    run.start()
    assert run.reservations == 0


def test_a_halted_node_reserves_no_more() -> None:
    """Its journal is not written any more."""
    run = started(MemoryJournal(), 1_000)

    def fails(_event: NoncesReserved) -> None:
        raise RuntimeError("a core handler")

    run.bus.subscribe(NoncesReserved, fails)
    with pytest.raises(BusHalted):
        run.bus.publish(NoncesReserved(ts_ns=1, venue=VENUE, account=ACCOUNT, until=10**9))
    before = run.reservations
    run.time.run_until(run.time.now_ns() + 600 * SECOND)
    assert run.reservations == before
