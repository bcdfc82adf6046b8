"""What keeps one venue connected: its tasks, and where they are on the ladder.

The ladder is judged by data, not by pings: websocket quotes (LIVE), REST polling for display
while they are silent (POLLING), and after three failed polls STALE with an alert; the next quote
from the socket leads back to LIVE from anywhere. Leaving LIVE invalidates every slot, so a polled
or cached quote never opens anything. Nothing here gives up: the sockets reconnect without limit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from perpbot.domain.errors import Unavailable, VenueError
from perpbot.domain.events import (
    AlertFired,
    BookUpdated,
    ConnectionState,
    Event,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import SECOND, Clock
from perpbot.venues.connection_ladder import DOWN, LIVE, STALE, ConnectionLadder
from perpbot.venues.port import MarketSink, Publish, QuoteSlot, Venue
from perpbot.venues.wire.backoff import Backoff


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times of the ladder."""

    silence_s: float = 10.0
    """Silence of all quotes of the venue after which it is no longer LIVE."""
    check_interval_s: float = 0.5
    poll_interval_s: float = 5.0
    failed_polls: int = 3
    """Consecutive failures that make it STALE."""


@runtime_checkable
class PolledQuotes(Protocol):
    """A market data side that can also answer quotes by REST, for display only."""

    async def poll_quotes(self, instruments: Sequence[Instrument]) -> Sequence[BookUpdated]:
        """Return best levels. Raises `Unavailable`."""


class _WatchedSink:
    """The sink that the venue's feed writes to; it knows every slot that was asked for."""

    def __init__(
        self, sink: MarketSink, on_public: Callable[[VenueConnectionChanged], None]
    ) -> None:
        self._sink = sink
        self._on_public = on_public
        self._slots: dict[str, QuoteSlot] = {}

    @property
    def heard_ns(self) -> int:
        """Monotonic receive time of the venue's last quote; 0 before the first."""
        return max((slot.heard_ns for slot in self._slots.values()), default=0)

    def slot(self, instrument: Instrument) -> QuoteSlot:
        found = self._slots.get(instrument.symbol)
        if found is None:
            found = self._slots[instrument.symbol] = self._sink.slot(instrument)
        return found

    def publish(self, event: Event) -> None:
        if isinstance(event, VenueConnectionChanged) and event.channel == "public":
            self._on_public(event)
        else:
            self._sink.publish(event)

    def refuse(self, venue: str, reason: str) -> None:
        self._sink.refuse(venue, reason)

    def invalidate(self, reason: str) -> None:
        for slot in self._slots.values():
            slot.invalidate(reason)


class ExchangeConnectionManager:
    """Owns one venue's connections; see the module."""

    def __init__(
        self,
        venue: Venue,
        sink: MarketSink,
        publish: Publish,
        clock: Clock,
        rng: random.Random,
        *,
        instruments: Sequence[Instrument],
        settings: ConnectionSettings | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.venue = venue
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._instruments = instruments
        self._settings = settings or ConnectionSettings()
        self._sleep = sleep
        self._ladder = ConnectionLadder()
        self._sink = _WatchedSink(sink, self._on_public)
        self._started_ns = clock.monotonic_ns()
        self._prepared = False
        self._lost_ns = 0

    @property
    def state(self) -> ConnectionState:
        """Where the public side is on its ladder."""
        return self._ladder.state

    async def run(self) -> None:
        """Keep the venue connected until cancelled. A fault of its feed ends it."""
        self._started_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.venue.market_data.run(self._instruments, self._sink))
                tasks.create_task(self._prepare_and_follow())
                tasks.create_task(self._watch_data())
                tasks.create_task(self._poll())
        finally:
            self._move("closed", "connections closed")

    def check(self) -> None:
        """Judge the quotes' age and move on the ladder; called on a timer."""
        last_ns = self._sink.heard_ns
        age_ns = self._clock.monotonic_ns() - max(last_ns, self._started_ns)
        if age_ns >= int(self._settings.silence_s * SECOND):
            self._move("silent", f"no quote for {age_ns / SECOND:.1f} s")
        elif last_ns > self._lost_ns:
            self._move("data", "quotes flow")

    def _on_public(self, event: VenueConnectionChanged) -> None:
        """Take the feed's word on a loss at once; a return counts only with a quote after it."""
        if event.state is not LIVE:
            self._lost_ns = self._clock.monotonic_ns()
            self._move("silent", event.reason or "the public stream is down")

    def _move(self, ladder_event: str, reason: str) -> None:
        before = self._ladder.state
        if not self._ladder.on(ladder_event):
            return
        state = self._ladder.state
        if before is LIVE:
            self._sink.invalidate(reason)
        now_ns = self._clock.now_ns()
        self._publish(
            VenueConnectionChanged(
                venue=self.venue.name,
                channel="public",
                state=state,
                reason=reason,
                source=self.venue.name,
                ts_ns=now_ns,
            )
        )
        if state is STALE:
            self._alert(reason)

    async def _prepare_and_follow(self) -> None:
        backoff = Backoff(rng=self._rng)
        while not self._prepared:
            try:
                await self.venue.open(self._instruments)
                self._prepared = True
            except VenueError as error:
                reason = f"not prepared: {error.message}"
                if backoff.attempts == 0:
                    self._publish(
                        VenueConnectionChanged(
                            venue=self.venue.name,
                            channel="trading",
                            state=DOWN,
                            reason=reason,
                            source=self.venue.name,
                            ts_ns=self._clock.now_ns(),
                        )
                    )
                await self._sleep(backoff.next_s())
        self._publish(
            VenueConnectionChanged(
                venue=self.venue.name,
                channel="trading",
                state=LIVE,
                source=self.venue.name,
                ts_ns=self._clock.now_ns(),
            )
        )
        if self.venue.can_trade:
            await self.venue.account.run(self._publish)

    async def _watch_data(self) -> None:
        while True:
            self.check()
            await self._sleep(self._settings.check_interval_s)

    async def _poll(self) -> None:
        """While quotes are silent, show what REST says; count failures."""
        market_data = self.venue.market_data
        failures = 0
        while True:
            await self._sleep(self._settings.poll_interval_s)
            if self._ladder.state in (LIVE, DOWN):
                failures = 0
                continue
            if not isinstance(market_data, PolledQuotes):
                self._move("polls failed", "this venue has no quotes by REST")
                continue
            try:
                quotes = await market_data.poll_quotes(self._instruments)
            except Unavailable as error:
                failures += 1
                if failures >= self._settings.failed_polls:
                    self._move("polls failed", f"{failures} polls failed: {error.message}")
                continue
            failures = 0
            self._move("poll ok", "polled by REST")
            for quote in quotes:
                self._sink.publish(quote)

    def _alert(self, reason: str) -> None:
        self._publish(
            AlertFired(
                name="venue_stale",
                severity="critical",
                text=f"{self.venue.name} has no data: {reason}",
                source=self.venue.name,
                ts_ns=self._clock.now_ns(),
            )
        )
