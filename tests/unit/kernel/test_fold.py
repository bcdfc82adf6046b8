"""Durable state: what replay gives is what was there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from perpbot.domain.errors import InvalidValue, StateConflict
from perpbot.domain.events import (
    AlertFired,
    BusOverflow,
    Event,
    Heartbeat,
    OrderFact,
    SubmitOrders,
)
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.fold import DurableState, PoisonRecord
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.kernel.journal.record import Record
from tests.unit.portfolio.office import DECISION


class Counter:
    """Counts alerts."""

    def __init__(self, name: str = "counter", event_class: type[Event] = AlertFired) -> None:
        self.name = name
        self.count = 0
        self._event_class = event_class

    def folds(self) -> Mapping[type[Event], Any]:
        return {self._event_class: self._fold}

    def _fold(self, event: Event) -> None:
        self.count += 1

    def snapshot(self) -> object:
        return {"count": self.count}

    def restore(self, state: Any) -> None:
        self.count = state["count"]


def test_live_folding_replay_and_snapshots_agree() -> None:
    """Byte for byte."""
    journal, first, second = MemoryJournal(), Counter("a"), Counter("b")
    live = DurableState([first, second])
    bus = EventBus(VirtualTime(), journal)
    live.attach(bus)
    for number in range(3):
        bus.publish(AlertFired(name=str(number), severity="low", text="t"))
    replayed = DurableState([Counter("a"), Counter("b")])
    assert replayed.replay(journal.records()) == 3
    loaded = DurableState([Counter("a"), Counter("b")])
    loaded.load(live.dump())

    assert (first.count, second.count) == (3, 3)
    assert live.dump() == replayed.dump() == loaded.dump()
    assert live.digest() == replayed.digest()
    assert len(live.digest()) == 64


def test_folds_come_before_every_other_handler() -> None:
    """Who reacts to an event sees its effect."""
    counter, seen = Counter(), list[int]()
    bus = EventBus(VirtualTime(), MemoryJournal())
    DurableState([counter]).attach(bus)
    bus.subscribe(AlertFired, lambda _event: seen.append(counter.count))

    bus.publish(AlertFired(name="n", severity="low", text="t"))

    assert seen == [1]


def test_books_fold_what_an_order_says_once_it_has_left() -> None:
    """An order waits for who may stop it, not for who only notes it down."""
    guard, book = Counter("guard", SubmitOrders), Counter("book", SubmitOrders)
    bus, seen = EventBus(VirtualTime(), MemoryJournal()), list[tuple[int, int]]()
    DurableState([guard, book]).attach(bus, books={"book"})
    bus.subscribe(SubmitOrders, lambda _event: seen.append((guard.count, book.count)))

    bus.publish(SubmitOrders(orders=(), decision=DECISION))

    assert seen == [(1, 0)]
    assert (guard.count, book.count) == (1, 1)


def test_two_components_of_one_name_are_refused() -> None:
    """One would overwrite the other's snapshot."""
    with pytest.raises(StateConflict, match="share a name"):
        DurableState([Counter(), Counter()])


@pytest.mark.parametrize("event_class", [Heartbeat, OrderFact], ids=["latest", "base"])
def test_a_fold_of_what_is_not_journalled_is_refused(event_class: type[Event]) -> None:
    """A restart would give another state."""
    with pytest.raises(StateConflict, match="not a declared durable event"):
        DurableState([Counter(event_class=event_class)])


def test_a_snapshot_that_lacks_a_component_is_refused() -> None:
    """Loading half a state would be silently wrong."""
    state = DurableState([Counter("a")]).dump()

    with pytest.raises(StateConflict, match="nothing of b"):
        DurableState([Counter("a"), Counter("b")]).load(state)


class Moody(Counter):
    """Raises at what it does not like, and takes over nothing."""

    def _fold(self, event: Event) -> None:
        if isinstance(event, AlertFired) and event.name == "bad":
            raise ValueError("not this one")
        super()._fold(event)

    def restore(self, state: Any) -> None:
        self.count = state["of another version"]


def test_a_record_that_cannot_be_folded_names_itself() -> None:
    """With the component whose fold raised; a replay may pass it over."""
    journal = MemoryJournal()
    for name in ("good", "bad", "good"):
        journal.append(AlertFired(name=name, severity="low", text="t"))
    with pytest.raises(PoisonRecord, match=r"record 2 .*moody: ValueError: not this"):
        DurableState([Counter("calm"), Moody("moody")]).replay(journal.records())
    calm, moody = Counter("calm"), Moody("moody")
    state = DurableState([calm, moody])

    assert state.replay(journal.records(), passing_over={2}) == 3
    assert (calm.count, moody.count) == (2, 2)


def test_what_nobody_lives_on_is_counted_and_not_read() -> None:
    """A kind without a fold costs nothing; one that nobody declared is refused."""
    state = DurableState([Counter()])
    unread = Record(1, 0, BusOverflow.kind, b"not msgpack")

    assert state.replay([unread]) == 1
    with pytest.raises(InvalidValue, match="NEVER_HEARD_OF"):
        state.replay([Record(2, 0, "NEVER_HEARD_OF", b"")])


def test_a_snapshot_of_another_version_is_refused() -> None:
    """With the component that could not take it."""
    state = DurableState([Moody("moody")])

    with pytest.raises(StateConflict, match="moody are of another version: KeyError"):
        state.load(state.dump())


def test_sizes_are_told_by_component() -> None:
    """So that people see what a snapshot is made of."""
    sizes = DurableState([Counter("a"), Counter("b")]).sizes()

    assert set(sizes) == {"a", "b"}
    assert all(size > 0 for size in sizes.values())
