"""How an event class is declared, by us and by extensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events.table import KIND_ALIASES, EventKind, Lane


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of everything on the bus."""

    kind: ClassVar[str]
    lane: ClassVar[Lane]

    ts_ns: int = 0
    source: str = ""
    correlation_id: str = ""

    @property
    def key(self) -> object:
        """On the latest lane: what a newer value replaces."""
        return self.source


E = TypeVar("E", bound=type[Event])

EVENTS: dict[str, type[Event]] = {}
"""Every declared event class by kind."""


def event(kind: EventKind | str, lane: Lane | None = None) -> Callable[[E], E]:
    """Declare an event class; an extension's names its lane. A kind can be declared once."""
    chosen = kind.lane if isinstance(kind, EventKind) else lane
    if chosen is None:
        raise InvalidValue(f"the lane of event kind {kind} was not given")

    def declare(cls: E) -> E:
        if kind in EVENTS:
            raise InvalidValue(f"event kind {kind} is declared by {EVENTS[kind].__name__} already")
        cls.kind = str(kind)
        cls.lane = chosen
        EVENTS[str(kind)] = cls
        return cls

    return declare


def event_class(kind: str) -> type[Event]:
    """Return the class of `kind` or of an alias; raise `InvalidValue` for an unknown name."""
    found = EVENTS.get(KIND_ALIASES.get(kind, kind))
    if found is None:
        raise InvalidValue(f"event kind was {kind!r}, one of {', '.join(sorted(EVENTS))} expected")
    return found
