"""Keeps what is known of every instrument true: steps, minima, whether it is traded at all.

Every venue is asked for its list on a timer, and at once when it refuses an order with a code that
says that the numbers do not fit the instrument. What differs is journalled, told to a person, and
holds from the next order on. What is no longer listed stays known, for reductions; nothing opens
in it. So it is with an instrument whose units have changed: its numbers mean something else, which
is for a person and a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import (
    AlertFired,
    InstrumentChanged,
    InstrumentsListed,
    ListInstruments,
    OrderReported,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import OrderState
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock, TimerHandle, Timers

ASK_AGAIN_NS = 2 * SECOND
"""Between two questions that refusals ask for."""
_UNITS = ("base", "settle", "contract_size", "price_multiplier")
_FIELDS = tuple(
    name for name in Instrument.__struct_fields__ if name not in {"venue", "asset", "symbol"}
)
_REJECTED = OrderState.REJECTED


class InstrumentWatch:
    """See the module. Changes `instruments` in place: everybody looks there."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        instruments: MutableMapping[tuple[str, str], Instrument],
        capabilities: Iterable[Capabilities],
        *,
        interval_s: float,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._instruments = instruments
        self._closed = {key for key, known in instruments.items() if not known.tradable}
        """Where nothing may open for a reason that is not the venue's: never reopened here."""
        self._codes = {known.venue: known.instrument_refusals for known in capabilities}
        self._interval_ns = int(interval_s * SECOND)
        self._asked_ns: dict[str, int] = {}
        self._timer: dict[str, TimerHandle] = {}
        self._stopped = False
        bus.subscribe(InstrumentChanged, self._take)
        bus.subscribe(InstrumentsListed, self._compare)
        bus.subscribe(OrderReported, self._hear)

    def start(self) -> None:
        """Ask every venue once an interval: what was read at the start is new."""
        for venue in sorted({venue for venue, _ in self._instruments}):
            self._asks_later(venue)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        for timer in self._timer.values():
            timer.cancel()

    # --- asking ---

    def _asks_later(self, venue: str) -> None:
        previous = self._timer.pop(venue, None)
        if previous is not None:
            previous.cancel()
        if not self._stopped:
            self._timer[venue] = self._timers.call_later(
                self._interval_ns, lambda: self._ask(venue, "timer")
            )

    def _ask(self, venue: str, reason: str) -> None:
        if self._stopped:
            return
        self._asked_ns[venue] = self._clock.monotonic_ns()
        self._asks_later(venue)
        self._bus.publish(ListInstruments(ts_ns=self._clock.now_ns(), venue=venue, reason=reason))

    def _hear(self, event: OrderReported) -> None:
        report = event.report
        if report.state is not _REJECTED or report.code not in self._codes.get(report.venue, ()):
            return
        asked_ns = self._asked_ns.get(report.venue)
        if asked_ns is None or self._clock.monotonic_ns() - asked_ns >= ASK_AGAIN_NS:
            self._ask(report.venue, f"refused: {report.code}")

    # --- learning ---

    def _compare(self, event: InstrumentsListed) -> None:
        if not event.instruments:
            return
        listed = {found.symbol: found for found in event.instruments}
        for key, before in self._instruments.items():
            if key[0] == event.venue:
                self._differ(before, listed.get(before.symbol))

    def _differ(self, before: Instrument, listed: Instrument | None) -> None:
        if listed is not None and (before.venue, before.asset) in self._closed:
            listed = msgspec.structs.replace(listed, tradable=False)
        if listed is None:
            after = msgspec.structs.replace(before, tradable=False)
            changes = ["not listed"] if before.tradable else []
        elif any(getattr(before, name) != getattr(listed, name) for name in _UNITS):
            after = msgspec.structs.replace(before, tradable=False)
            changes = _differences(before, listed) if before.tradable else []
        else:
            after = listed
            changes = _differences(before, listed)
        if not changes:
            return
        now_ns = self._clock.now_ns()
        self._bus.publish(
            InstrumentChanged(
                ts_ns=now_ns,
                source=before.venue,
                before=before,
                after=after,
                changes=tuple(changes),
            )
        )
        self._bus.publish(
            AlertFired(
                ts_ns=now_ns,
                name="instrument_changed",
                severity="warning" if after.tradable else "high",
                text=f"{before.id}: {', '.join(changes)}"
                + ("" if after.tradable else "; nothing opens there, what is held is reduced"),
            )
        )

    def _take(self, event: InstrumentChanged) -> None:
        self._instruments[event.after.venue, event.after.asset] = event.after


def _differences(before: Instrument, after: Instrument) -> list[str]:
    """Return what differs, in words."""
    return [
        f"{name} {getattr(before, name)} -> {getattr(after, name)}"
        for name in _FIELDS
        if getattr(before, name) != getattr(after, name)
    ]
