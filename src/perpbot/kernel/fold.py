"""Durable state: the fold of durable events, and of nothing else.

Each component that must survive a crash names the events it folds. Live, the folds are the first
handlers of an event; at a restart the same functions are fed from the journal. A fold changes its
own component only: it never publishes, asks for the time or raises for what a venue may do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perpbot.domain.errors import InvalidValue, PerpbotError, StateConflict
from perpbot.domain.events import EVENTS, Event, Lane, OrderIntent, event_class
from perpbot.kernel.bus import EventBus
from perpbot.kernel.journal.record import Record

Fold = Callable[[Any], None]


class PoisonRecord(PerpbotError):
    """A record that cannot be folded: each replay would end here, until a person passes it over.

    The state is half applied: nothing may go on from it.
    """

    def __init__(self, sequence: int, kind: str, component: str, error: str) -> None:
        super().__init__(
            f"journal record {sequence} ({kind}) cannot be folded: {component}: {error}; "
            "see `perpbot recover --dry-run`"
        )
        self.sequence = sequence
        self.kind = kind
        self.component = component
        """Whose fold raised, or `reading` where its content did not fit this version."""
        self.error = error


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
        self._names: dict[type[Event], tuple[str, ...]] = {}
        self._by_kind: dict[str, tuple[Fold, ...]] = {}
        for component in components:
            for folded, fold in component.folds().items():
                if EVENTS.get(getattr(folded, "kind", "")) is not folded or (
                    folded.lane > Lane.DURABLE
                ):
                    raise StateConflict(
                        f"{component.name} folds {folded.__name__}, which is not a declared"
                        " durable event: a restart would not see it"
                    )
                self._folds[folded] = (*self._folds.get(folded, ()), fold)
                self._names[folded] = (*self._names.get(folded, ()), component.name)

    def attach(self, bus: EventBus, *, books: Collection[str] = ()) -> None:
        """Subscribe every fold; call this before any other subscription.

        An order does not wait for the components named in `books`: they fold what it says once it
        has left, before anything else happens.
        """
        for folded, folds in self._folds.items():
            for fold, name in zip(folds, self._names[folded], strict=True):
                late = name in books and issubclass(folded, OrderIntent)
                bus.subscribe(folded, fold, late=late, name="fold")

    def apply(self, event: Event) -> None:
        """Fold one event."""
        for fold in self._folds.get(type(event), ()):
            fold(event)

    def replay(self, records: Iterable[Record], *, passing_over: Collection[int] = ()) -> int:
        """Fold journal records but those `passing_over` by sequence; return how many were read.

        Records that no component lives on are not even decoded. Raises `PoisonRecord` when one
        cannot be folded, `InvalidValue` for a kind that this version does not know.
        """
        count = 0
        folds_of = self._by_kind
        for record in records:
            count += 1
            folds = folds_of.get(record.kind)
            if folds is None:
                folds = folds_of[record.kind] = self._folds.get(event_class(record.kind), ())
            if not folds or record.sequence in passing_over:
                continue
            try:
                event = record.event()
            except InvalidValue as error:
                raise PoisonRecord(record.sequence, record.kind, "reading", str(error)) from error
            try:
                for fold in folds:
                    fold(event)
            except Exception as error:
                component = self._names[type(event)][folds.index(fold)]
                text = f"{type(error).__name__}: {error}"
                raise PoisonRecord(record.sequence, record.kind, component, text) from error
        return count

    def dump(self) -> bytes:
        """Return the whole state as bytes; equal states give equal bytes."""
        state = {component.name: component.snapshot() for component in self._components}
        return msgspec.msgpack.encode(state, order="deterministic")

    def sizes(self) -> dict[str, int]:
        """Return how many bytes of a snapshot each component takes."""
        return {
            component.name: len(msgspec.msgpack.encode(component.snapshot()))
            for component in self._components
        }

    def load(self, state: bytes) -> None:
        """Take over a state that `dump` gave.

        Raises `StateConflict` where it is of another version: then the state has to be folded from
        the first record, by components that are new.
        """
        decoded: dict[str, object] = msgspec.msgpack.decode(state)
        missing = [c.name for c in self._components if c.name not in decoded]
        if missing:
            raise StateConflict(f"the snapshot has nothing of {', '.join(missing)}")
        for component in self._components:
            try:
                component.restore(decoded[component.name])
            except (LookupError, TypeError, ValueError) as error:
                raise StateConflict(
                    f"the snapshot's {component.name} are of another version:"
                    f" {type(error).__name__}: {error}"
                ) from error

    def digest(self) -> str:
        """Return a hash of the whole state."""
        return hashlib.sha256(self.dump()).hexdigest()
