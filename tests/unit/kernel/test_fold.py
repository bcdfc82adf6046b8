"""Durable state: what replay gives is what was there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import AlertFired, Event, Heartbeat, OrderFact
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.fold import DurableState
from perpbot.kernel.journal import MemoryJournal


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
