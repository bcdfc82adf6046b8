"""Durable state: the fold of durable events, and of nothing else.

Each component that must survive a crash names the events it folds. Live, the folds are the first
handlers of an event; at a restart the same functions are fed from the journal. A fold changes its
own component only: it never publishes, asks for the time or raises for what a venue may do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import EVENTS, Event, Lane
from perpbot.kernel.bus import EventBus
from perpbot.kernel.journal import Record

Fold = Callable[[Any], None]


class Foldable(Protocol):
    """A component whose state is rebuilt from the journal."""

    name: str

    def folds(self) -> Mapping[type[Event], Fold]:
        """Return what it does with each event class it lives on."""

    def snapshot(self) -> object:
        """Return its whole state as plain values (dicts, lists, structs, Decimals)."""

    def restore(self, state: Any) -> None:
        """Take over a state that `snapshot` gave, decoded from msgpack as plain values."""


class DurableState:
    """All foldable components of a node, in the order in which they fold."""

    def __init__(self, components: Sequence[Foldable]) -> None:
        names = [component.name for component in components]
        if len(set(names)) != len(names):
            raise StateConflict(f"two components share a name: {', '.join(sorted(names))}")
        self._components = tuple(components)
        self._folds: dict[type[Event], tuple[Fold, ...]] = {}
        for component in components:
            for event_class, fold in component.folds().items():
                if EVENTS.get(getattr(event_class, "kind", "")) is not event_class or (
                    event_class.lane > Lane.DURABLE
                ):
                    raise StateConflict(
                        f"{component.name} folds {event_class.__name__}, which is not a declared"
                        " durable event: a restart would not see it"
                    )
                self._folds[event_class] = (*self._folds.get(event_class, ()), fold)

    def attach(self, bus: EventBus) -> None:
        """Subscribe every fold; call this before any other subscription."""
        for event_class, folds in self._folds.items():
            for fold in folds:
                bus.subscribe(event_class, fold, name="fold")

    def apply(self, event: Event) -> None:
        """Fold one event."""
        for fold in self._folds.get(type(event), ()):
            fold(event)

    def replay(self, records: Iterable[Record]) -> int:
        """Fold journal records; return how many were read."""
        count = 0
        for record in records:
            self.apply(record.event())
            count += 1
        return count

    def dump(self) -> bytes:
        """Return the whole state as bytes; equal states give equal bytes."""
        state = {component.name: component.snapshot() for component in self._components}
        return msgspec.msgpack.encode(state, order="deterministic")

    def load(self, state: bytes) -> None:
        """Take over a state that `dump` gave; raise `StateConflict` where a component is missing.

        A component that a snapshot does not know has to be folded from the first record.
        """
        decoded: dict[str, object] = msgspec.msgpack.decode(state)
        missing = [c.name for c in self._components if c.name not in decoded]
        if missing:
            raise StateConflict(f"the snapshot has nothing of {', '.join(missing)}")
        for component in self._components:
            component.restore(decoded[component.name])

    def digest(self) -> str:
        """Return a hash of the whole state."""
        return hashlib.sha256(self.dump()).hexdigest()
