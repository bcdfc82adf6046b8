"""Nonces that strictly increase across restarts, whatever the wall clock does meanwhile.

Nonces are reserved in blocks, ahead of their use: a block is used only once its reservation is in
the journal. A restart goes on behind the last block, as if all of it had been used, so that it
repeats nothing even where a crash lost the last ones or the wall clock was put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perpbot.domain.events import Event, NoncesReserved, RunStarted
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock, Timers
from perpbot.venues.port import NoncedTrading, Venue
from perpbot.venues.wire.nonces import SPARE

BLOCK_MS = 60_000
"""Nonces are milliseconds of the wall clock: a block lasts a minute."""
LEAST_LEFT_MS = 30_000
CHECK_NS = 10 * SECOND
AHEAD = 2 * SPARE
"""Nonces in a block that lies ahead of the clock: restarts in a row must not drive it further than
the venue takes (Hyperliquid: a day)."""


class NonceMarks:
    """Up to where nonces were reserved, by venue and account: a fold."""

    name = "nonces"

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def until(self, venue: str, account: str) -> int:
        """Return the last nonce that may have been used; 0 before the first."""
        return self._until.get(f"{venue}/{account}", 0)

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {NoncesReserved: self._reserved}

    def _reserved(self, event: NoncesReserved) -> None:
        self._until[f"{event.venue}/{event.account}"] = event.until

    def snapshot(self) -> object:
        """The marks as plain values."""
        return self._until

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self._until = dict(state)


class NonceKeeper:
    """Reserves for one venue, from the start of the run on; does nothing where nonces are none."""

    def __init__(
        self, venue: Venue, bus: EventBus, clock: Clock, timers: Timers, marks: NonceMarks
    ) -> None:
        trading = venue.trading
        if not isinstance(trading, NoncedTrading) or not venue.can_trade:
            return
        self._venue, self._account = venue.name, venue.account_name
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._nonces = trading.nonces
        self._until = marks.until(self._venue, self._account)
        self._nonces.resume(self._until)
        self._nonces.allow(self._until)  # nothing yet
        bus.subscribe(NoncesReserved, self._reserved)
        bus.subscribe(RunStarted, self._begin)

    def _begin(self, _event: RunStarted) -> None:
        self._keep()

    def _keep(self) -> None:
        if self._bus.halted is not None:
            return
        self._timers.call_later(CHECK_NS, self._keep)
        now_ms = self._clock.now_ns() // MS
        used = self._nonces.last
        if now_ms + LEAST_LEFT_MS > self._until or used + SPARE > self._until:
            until = max(now_ms + BLOCK_MS, used + AHEAD)
            self._bus.publish(
                NoncesReserved(
                    ts_ns=self._clock.now_ns(),
                    venue=self._venue,
                    account=self._account,
                    until=until,
                )
            )

    def _reserved(self, event: NoncesReserved) -> None:
        """It is in the journal: use it."""
        if (event.venue, event.account) == (self._venue, self._account):
            self._until = event.until
            self._nonces.allow(event.until)
