"""The way between a node and an exchange, where messages are lost, late, repeated or refused.

`Wire` answers the three questions of `perpbot.simulation.fates` from the plan of the seed; a
`Door` is the in-process venue of one incarnation of the node. What a dead node had sent still
arrives at the exchange; what the exchange answers it is lost.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from perpbot.domain.events import (
    ConnectionState,
    Event,
    FillReported,
    InstrumentsListed,
    QueryOrder,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderRequest, PositionReport
from perpbot.domain.sides import Purpose
from perpbot.kernel.clock import MS, Clock
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import Fault, Plan
from perpbot.research.chaos.reaper import Place, Reaper
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.fates import ARRIVES, Fate, Message
from perpbot.simulation.model import ExchangeNews
from perpbot.simulation.venue import SimulatedVenue

_LOSES_NEWS = {"2", "14"}
CHANNELS = ("public", "private", "trading")
_DISTORTS_QUOTES = frozenset({"1", "3", "10", "14", "33", "34"})
_CUTS = {"1": ("public",), "2": ("private",), "14": CHANNELS}
"""Rows that a venue's connection notices, by the channels that they cut."""


class Wire:
    """The fate of every message of one venue. Lives through all incarnations of the node."""

    def __init__(self, plan: Plan, venue: str, clock: Clock, counters: Counters) -> None:
        self.venue = venue
        self._clock = clock
        self._counters = counters
        self._rng = random.Random(f"chaos wire {plan.seed} {venue}")
        self._faults = tuple(fault for fault in plan.faults if fault.venue == venue)
        self._by_rows: dict[tuple[str, ...], tuple[Fault, ...]] = {}
        self.quotes_are_told = _DISTORTS_QUOTES.isdisjoint(fault.row for fault in self._faults)
        """Whether no fault of the seed ever touches the quotes of this venue."""
        self.purposes: dict[str, Purpose] = {}
        self.hiding = False
        """Whether what executes now is told by nothing but the position."""
        self.hidden: set[str] = set()
        """Trade ids of what was."""

    def active(self, *rows: str) -> Fault | None:
        """Return an open window of one of `rows`, or None."""
        known = self._by_rows.get(rows)
        if known is None:
            known = self._by_rows[rows] = tuple(f for f in self._faults if f.row in rows)
        if not known:
            return None
        now_ns = self._clock.now_ns()
        return next((fault for fault in known if fault.active(now_ns)), None)

    def channel(self, channel: str) -> ConnectionState:
        """Return what the connection knows of a channel."""
        cut = tuple(row for row, channels in _CUTS.items() if channel in channels)
        return ConnectionState.DOWN if self.active(*cut) else ConnectionState.LIVE

    def request(self, message: Message, subject: str) -> Fate:
        """A request on its way to the exchange."""
        delay_ns = 0
        for fault in self._open():
            row = fault.row
            if row == "14":
                return self._hit(row, Fate(drop=True))
            if row == "9":
                return self._hit(row, Fate(reject="429 too many requests"))
            if self._rng.random() >= fault.intensity:
                continue
            if message is Message.SUBMIT:
                shrinks = self.purposes.get(subject) in {Purpose.HEDGE, Purpose.REDUCE}
                if row == "8" or (row == "11" and shrinks):
                    return self._hit(row, Fate(reject=_REFUSALS[fault.variant % 3]))
            if row == "6" and fault.variant == 0:
                return self._hit(row, Fate(drop=True))
            slow = row == "6" and fault.variant in {1, 2} and message is Message.SUBMIT
            if slow or (row == "12" and message is Message.CANCEL):
                self._hit(row, ARRIVES)
                delay_ns += self._rng.randrange(100, 6_000) * MS
        return Fate(delay_ns=delay_ns) if delay_ns else ARRIVES

    def response(self, message: Message, subject: str) -> Fate:
        """The answer on its way back."""
        delay_ns = 0
        for fault in self._open():
            row = fault.row
            if row == "14":
                return self._hit(row, Fate(drop=True))
            if self._rng.random() >= fault.intensity:
                continue
            lost = (row == "6" and fault.variant > 2) or (
                message is Message.SUBMIT
                and (row == "7" or (row == "13" and self.purposes.get(subject) is Purpose.OPEN))
            )
            if lost or (row == "12" and message is Message.CANCEL and fault.variant > 3):
                return self._hit(row, Fate(drop=True))
            if row == "18" and message is Message.SUBMIT:
                self._hit(row, ARRIVES)
                delay_ns += self._rng.randrange(100, 1_800) * MS
        return Fate(delay_ns=delay_ns) if delay_ns else ARRIVES

    def stream(self, subject: str) -> Fate:
        """News of the private stream."""
        delay_ns, copies = 0, 1
        for fault in self._open():
            row = fault.row
            if row in _LOSES_NEWS or (row == "3" and fault.variant % 2):
                return self._hit(row, Fate(drop=True))
            if self._rng.random() >= fault.intensity:
                continue
            if row == "15":
                self._hit(row, ARRIVES)
                copies = self._rng.randrange(2, 4)
            elif row == "17":
                self._hit(row, ARRIVES)
                delay_ns += self._rng.randrange(0, 900) * MS
        return Fate(delay_ns=delay_ns, copies=copies)

    def renames(self) -> bool:
        """Whether an execution is told a second time under another id (row 16)."""
        fault = self.active("16")
        renames = fault is not None and self._rng.random() < fault.intensity
        if renames:
            self._counters.hit("16")
        return renames

    def late(self) -> Fate:
        """What is told a second time comes after a while."""
        return Fate(delay_ns=self._rng.randrange(0, 900) * MS)

    def reads_stale(self) -> bool:
        """Whether a venue answers for positions from a replica that lags (row 41)."""
        fault = self.active("41")
        stale = fault is not None and self._rng.random() < fault.intensity
        if stale:
            self._counters.hit("41")
        return stale

    def _open(self) -> list[Fault]:
        now_ns = self._clock.now_ns()
        return [fault for fault in self._faults if fault.active(now_ns)]

    def _hit(self, row: str, fate: Fate) -> Fate:
        self._counters.hit(row)
        return fate


_REFUSALS = ("insufficient margin", "price beyond the band", "reduce only")


class Door(SimulatedVenue):
    """One incarnation's way to one exchange; closed for good when the node dies."""

    def __init__(
        self,
        *,
        wire: Wire,
        witness: Witness,
        reaper: Reaper,
        **rest: Any,
    ) -> None:
        super().__init__(faults=wire, **rest)
        self.open = True
        self._wire = wire
        self._witness = witness
        self._reaper = reaper
        self._old_fills: list[FillReported] = []
        self._held: tuple[PositionReport, ...] | None = None
        """Positions of the answer before: what a lagging replica tells."""
        self.tell_listings()

    def start(self, channels: Any = CHANNELS) -> None:
        """Say which channels are up."""
        for channel in channels:
            self.tell_channel(channel)

    def tell_channel(self, channel: str) -> None:
        """Say where a channel is on its ladder now."""
        state = self._wire.channel(channel)
        self._witness.told.channel(self.name, channel, live=state is ConnectionState.LIVE)
        self._bus.publish(
            VenueConnectionChanged(
                ts_ns=self._clock.now_ns(),
                source=self.name,
                venue=self.name,
                channel=channel,
                state=state,
                reason="chaos",
            )
        )

    def tell_old_fills(self, rng: random.Random) -> int:
        """Tell executions again that were told before; return how many."""
        chosen = rng.sample(self._old_fills, min(3, len(self._old_fills)))
        for fill in chosen:
            self._back(self._latency_ns, fill)
        return len(chosen)

    def _submit(self, order: OrderRequest) -> None:
        self._reaper.before(Place.SEND, order.purpose)
        self._wire.purposes[order.client_id] = order.purpose
        self._witness.sent(order)
        super()._submit(order)
        self._reaper.after(Place.SEND, order.purpose)

    def _on_query(self, command: QueryOrder) -> None:
        self._witness.orders.asked(command.client_id)
        super()._on_query(command)

    def _on_news(self, news: ExchangeNews) -> None:
        if self.open and not self._wire.hiding:
            super()._on_news(news)

    def _stream(self, subject: str, event: Event) -> None:
        super()._stream(subject, event)
        if isinstance(event, FillReported) and self._wire.renames():
            report = msgspec.structs.replace(event.report, trade_id=f"r{event.report.trade_id}")
            again = msgspec.structs.replace(event, report=report)
            self._answer(self._wire.late(), again)

    def _answer(self, fate: Fate, event: Event) -> None:
        if isinstance(event, VenueSnapshot):
            if self._wire.hidden and event.fills:
                told = tuple(f for f in event.fills if f.trade_id not in self._wire.hidden)
                event = msgspec.structs.replace(event, fills=told)
            held = event.positions
            if self._held is not None and self._wire.reads_stale():
                event = msgspec.structs.replace(event, positions=self._held)
            self._held = held
        super()._answer(fate, event)

    def _back(self, delay_ns: int, event: Event) -> None:
        self._timers.call_later(delay_ns, lambda: self._deliver(event))

    def _deliver(self, event: Event) -> None:
        if not self.open:
            return
        self._reaper.before(Place.RECEIVE, event.kind)
        if isinstance(event, FillReported):
            self._old_fills.append(event)
        elif isinstance(event, VenueSnapshot) and event.complete:
            self._witness.told.compared(self.name)
        elif isinstance(event, InstrumentsListed):
            self._witness.told.listed(event.instruments)
        self._bus.publish(event)
        self._reaper.after(Place.RECEIVE, event.kind)
