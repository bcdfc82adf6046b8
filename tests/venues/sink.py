"""A market sink that keeps everything a feed writes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from perpbot.domain.events import Event
from perpbot.domain.instruments import Instrument


class Slot:
    """Quotes of one instrument as they came."""

    def __init__(self) -> None:
        self.quotes: list[tuple[float, float, float, float, int, int]] = []
        self.invalid: list[str] = []
        self.heard_ns = 0

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        self.quotes.append((bid, bid_size, ask, ask_size, venue_ns, recv_ns))
        self.heard_ns = recv_ns

    def invalidate(self, reason: str) -> None:
        self.invalid.append(reason)


class Sink:
    """What the feed of one venue wrote."""

    def __init__(self, venue: str) -> None:
        self.slots: dict[str, Slot] = {}
        self.events: list[Event] = []
        self.refused: Counter[str] = Counter()
        self._venue = venue

    def slot(self, instrument: Instrument) -> Slot:
        return self.slots.setdefault(instrument.symbol, Slot())

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def refuse(self, venue: str, reason: str) -> None:
        assert venue == self._venue
        self.refused[reason] += 1

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]
