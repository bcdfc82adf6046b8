from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import Unavailable
from perpbot.domain.events import (
    AlertFired,
    BookUpdated,
    ConnectionState,
    Event,
    TradePrinted,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.connection import ConnectionSettings, ExchangeConnectionManager
from perpbot.venues.port import MarketSink, Publish

LIVE, POLLING = ConnectionState.LIVE, ConnectionState.POLLING
STALE, DOWN = ConnectionState.STALE, ConnectionState.DOWN

BTC = Instrument(
    venue="venue",
    asset="BTC-PERP",
    symbol="BTCUSDT",
    base="BTC",
    settle="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
)


class Slot:
    def __init__(self) -> None:
        self.quotes: list[tuple[float, ...]] = []
        self.invalid: list[str] = []
        self.heard_ns = 0

    def update(self, *quote: float) -> None:
        self.quotes.append(quote)
        self.heard_ns = int(quote[5])

    def invalidate(self, reason: str) -> None:
        self.invalid.append(reason)


class Sink:
    def __init__(self) -> None:
        self.one = Slot()
        self.events: list[Event] = []
        self.refused: list[str] = []

    def slot(self, instrument: Instrument) -> Slot:
        return self.one

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def refuse(self, venue: str, reason: str) -> None:
        self.refused.append(reason)


class Feed:
    """Public data that a test drives by hand."""

    def __init__(self) -> None:
        self.sink: MarketSink | None = None
        self.fault: Exception | None = None

    async def instruments(self) -> Sequence[Instrument]:
        return [BTC]

    async def run(self, instruments: Sequence[Instrument], sink: MarketSink) -> None:
        self.sink = sink
        if self.fault is not None:
            raise self.fault
        await asyncio.Event().wait()


class PollingFeed(Feed):
    def __init__(self) -> None:
        super().__init__()
        self.polls: deque[bool] = deque()

    async def poll_quotes(self, instruments: Sequence[Instrument]) -> Sequence[BookUpdated]:
        if self.polls and not self.polls.popleft():
            raise Unavailable("venue", "no route")
        return [
            BookUpdated(venue="venue", asset=BTC.asset, bids=((1.0, 1.0),), asks=((2.0, 1.0),))
        ]


class Account:
    def __init__(self) -> None:
        self.publish: Publish | None = None

    async def run(self, publish: Publish) -> None:
        self.publish = publish
        await asyncio.Event().wait()


class FakeVenue:
    name = "venue"
    account_name = "main"
    capabilities = Capabilities(
        venue="venue",
        operator="venue",
        maker_fee_bps=Decimal(2),
        taker_fee_bps=Decimal(5),
        fees_as_of="2026-10-01",
    )

    def __init__(self, feed: Feed, *, can_trade: bool = True) -> None:
        self.market_data = feed
        self.account = Account()
        self.can_trade = can_trade
        self.open_failures = 0

    async def open(self, instruments: Sequence[Instrument]) -> None:
        if self.open_failures:
            self.open_failures -= 1
            raise Unavailable("venue", "not yet")

    async def close(self) -> None:
        pass


class Desk:
    """A manager in virtual time: its sleeps end when time is moved."""

    def __init__(self, feed: Feed | None = None, *, can_trade: bool = True) -> None:
        self.time = VirtualTime(1000 * SECOND)
        self.feed = feed or PollingFeed()
        self.venue = FakeVenue(self.feed, can_trade=can_trade)
        self.sink = Sink()
        self.events: list[Event] = []
        venue: Any = self.venue
        self.manager = ExchangeConnectionManager(
            venue,
            self.sink,
            self.events.append,
            self.time,
            random.Random(5),
            instruments=[BTC],
            settings=ConnectionSettings(silence_s=10.0),
            sleep=self._sleep,
        )

    async def _sleep(self, delay_s: float) -> None:
        woken = asyncio.Event()
        self.time.call_later(int(delay_s * SECOND), woken.set)
        await woken.wait()

    async def __aenter__(self) -> Desk:  # noqa: PYI034 - a plain class of this module
        self.task = asyncio.create_task(self.manager.run())
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Move by quarter seconds, so that every timer runs in its own step."""
        for _ in range(int(seconds * 4)):
            self.time.run_until(self.time.now_ns() + SECOND // 4)
            await self.settle()

    def quote(self) -> None:
        assert self.feed.sink is not None
        self.feed.sink.slot(BTC).update(1.0, 1.0, 2.0, 1.0, 0, self.time.monotonic_ns())

    def private(self, state: ConnectionState) -> None:
        assert self.venue.account.publish is not None
        self.venue.account.publish(
            VenueConnectionChanged(venue="venue", channel="private", state=state)
        )

    # Methods, since a type checker takes a property to stay as it was.
    def state(self) -> ConnectionState:
        return self.manager.state

    def states(self, channel: str = "public") -> list[ConnectionState]:
        return [
            event.state
            for event in self.events
            if isinstance(event, VenueConnectionChanged) and event.channel == channel
        ]


async def test_each_channel_says_for_itself_where_it_is() -> None:
    """LIVE needs data; what the private stream tells of itself is passed on."""
    async with Desk() as desk:
        assert desk.state() is DOWN
        desk.quote()
        await desk.pass_time(1)
        assert desk.state() is LIVE

        desk.private(LIVE)
        desk.private(DOWN)

        assert desk.states() == [LIVE]
        assert desk.states("private") == [LIVE, DOWN]
        assert len(desk.sink.one.quotes) == 1


async def test_public_venue_needs_no_private_stream() -> None:
    """Without credentials the public side alone decides (paper)."""
    async with Desk(can_trade=False) as desk:
        desk.quote()
        await desk.pass_time(1)

        assert desk.venue.account.publish is None


async def test_silence_leads_to_polling_and_data_leads_back() -> None:
    """Polled quotes are shown as books, never as quotes; slots are invalidated."""
    async with Desk() as desk:
        desk.quote()
        await desk.pass_time(1)
        await desk.pass_time(10)
        assert desk.state() is POLLING
        assert len(desk.sink.one.invalid) == 1
        await desk.pass_time(6)
        assert any(isinstance(event, BookUpdated) for event in desk.sink.events)
        assert len(desk.sink.one.quotes) == 1

        desk.quote()
        await desk.pass_time(1)
        assert desk.states() == [LIVE, POLLING, LIVE]


async def test_three_failed_polls_are_stale_with_one_alert() -> None:
    """Stale is told once; a poll that works again leads back to polling."""
    feed = PollingFeed()
    feed.polls.extend([False] * 5)
    async with Desk(feed) as desk:
        await desk.pass_time(12)
        assert desk.state() is POLLING
        await desk.pass_time(14)
        assert desk.state() is STALE
        await desk.pass_time(8)
        alerts = [event for event in desk.events if isinstance(event, AlertFired)]
        assert [alert.name for alert in alerts] == ["venue_stale"]
        assert "no route" in alerts[0].text

        await desk.pass_time(10)
        assert desk.states() == [POLLING, STALE, POLLING]
        desk.quote()
        await desk.pass_time(1)
        assert desk.state() is LIVE


async def test_venue_without_rest_quotes_goes_stale() -> None:
    """There is nothing to fall back to."""
    async with Desk(Feed()) as desk:
        await desk.pass_time(20)

        assert desk.states() == [POLLING, STALE]


async def test_loss_counts_at_once_and_return_only_with_new_data() -> None:
    """A quote from before the loss does not make the venue live again."""
    async with Desk() as desk:
        desk.quote()
        await desk.pass_time(1)
        assert desk.feed.sink is not None
        lost = VenueConnectionChanged(venue="venue", channel="public", state=DOWN, reason="reset")
        desk.feed.sink.publish(lost)
        assert desk.state() is POLLING
        assert desk.sink.one.invalid == ["reset"]

        desk.feed.sink.publish(VenueConnectionChanged(venue="venue", channel="public", state=LIVE))
        await desk.pass_time(1)
        assert desk.state() is POLLING
        desk.quote()
        await desk.pass_time(1)
        assert desk.state() is LIVE


async def test_other_events_and_refusals_pass_through() -> None:
    """The manager adds nothing to what the feed tells."""
    async with Desk() as desk:
        assert desk.feed.sink is not None
        trade = TradePrinted(
            venue="venue", asset="BTC-PERP", trade_id="1", price=1.0, size=1.0, side=Side.BUY
        )
        desk.feed.sink.publish(trade)
        desk.feed.sink.refuse("venue", "odd")
        desk.feed.sink.slot(BTC).invalidate("gap")

        assert desk.sink.events == [trade]
        assert desk.sink.refused == ["odd"]
        assert desk.sink.one.invalid == ["gap"]


async def test_preparation_is_retried_until_it_succeeds() -> None:
    """The failure is told once; the private stream waits for it."""
    desk = Desk()
    desk.venue.open_failures = 4
    async with desk:
        assert desk.states("trading") == [DOWN]
        await desk.pass_time(40)

        assert desk.states("trading") == [DOWN, LIVE]
        assert desk.venue.account.publish is not None


async def test_fault_of_the_feed_ends_run() -> None:
    """A programming error reaches the supervisor."""
    desk = Desk()
    desk.feed.fault = KeyError("fault")

    with pytest.raises(ExceptionGroup) as caught:
        await desk.manager.run()

    assert isinstance(caught.value.exceptions[0], KeyError)


async def test_stopped_manager_leaves_nothing_usable() -> None:
    """After run has ended the venue is down and its quotes are invalid."""
    async with Desk(can_trade=False) as desk:
        desk.quote()
        await desk.pass_time(1)

    assert desk.state() is DOWN
    assert desk.sink.one.invalid == ["connections closed"]
