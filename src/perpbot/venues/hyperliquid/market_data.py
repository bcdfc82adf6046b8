"""Public data: which perpetuals there are, and the task that keeps their streams open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from perpbot.domain.errors import InvalidValue, Unavailable
from perpbot.domain.events import BookUpdated, ConnectionState, VenueConnectionChanged
from perpbot.domain.instruments import Instrument
from perpbot.kernel.clock import SECOND, Clock
from perpbot.venues.hyperliquid.codec import PING, PONG, Book, subscribe, unsubscribe
from perpbot.venues.hyperliquid.feed import MarketStream, book_event
from perpbot.venues.hyperliquid.info import InfoClient
from perpbot.venues.hyperliquid.universe import VENUE, Meta, Universe
from perpbot.venues.port import MarketSink
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

PING_INTERVAL_S = 20.0
"""The venue closes a connection to which it has sent nothing for 60 s."""
_WATCH_INTERVAL_S = 1.0
_SILENCE_S = 20.0
"""Without any market data for so long, a connection is made anew."""


class HyperliquidMarketData:
    """`MarketData` of the port; also the keeper of the universe that the other parts read."""

    def __init__(
        self,
        *,
        info: InfoClient,
        universe: Universe,
        ws_url: str,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        books: bool,
        trades: bool,
        watch_interval_s: float = _WATCH_INTERVAL_S,
    ) -> None:
        self._info = info
        self._universe = universe
        self._ws_url = ws_url
        self._clock = clock
        self._rng = rng
        self._dials = dials
        self._books = books
        self._trades = trades
        self._watch_interval_s = watch_interval_s
        self.channel: WebSocketChannel | None = None
        """The public connection while `run` runs: for whoever watches it."""

    async def instruments(self) -> Sequence[Instrument]:
        """Return every perpetual that can be traded. Raises `Unavailable`."""
        meta = await self._info.ask(Meta, "meta")
        try:
            return self._universe.replace(meta)
        except InvalidValue as error:
            raise Unavailable(VENUE, f"meta: {error}") from error

    async def prepare(self) -> None:
        """Make sure that the universe is known. Raises `Unavailable`."""
        if not len(self._universe):
            await self.instruments()

    async def poll_quotes(self, instruments: Sequence[Instrument]) -> Sequence[BookUpdated]:
        """Return books by REST, for display only. Raises `Unavailable`."""
        asked = (self._info.ask(Book, "l2Book", coin=one.symbol) for one in instruments)
        books = await asyncio.gather(*asked)
        return [
            book_event(
                book,
                asset=one.asset,
                scale=float(one.price_multiplier),
                size=float(one.contract_size),
                now_ns=self._clock.now_ns(),
            )
            for one, book in zip(instruments, books, strict=True)
        ]

    async def run(self, instruments: Sequence[Instrument], sink: MarketSink) -> None:
        """Feed `sink` until cancelled: connects, subscribes, reconnects without limit."""
        stream = MarketStream(
            instruments, sink, self._clock, books=self._books, trades=self._trades
        )

        async def url() -> str:
            return self._ws_url

        def tell(state: ConnectionState, reason: str) -> None:
            sink.publish(
                VenueConnectionChanged(
                    ts_ns=self._clock.now_ns(),
                    source=VENUE,
                    venue=VENUE,
                    channel="public",
                    state=state,
                    reason=reason,
                )
            )

        def on_down(reason: str) -> None:
            stream.lost(reason)
            tell(ConnectionState.DOWN, reason)

        async def on_open(connection: Connection) -> None:
            stream.connected()
            for kind, coin in stream.subscriptions():
                connection.send(subscribe(kind, coin=coin))
            tell(ConnectionState.LIVE, "")

        channel = WebSocketChannel(
            venue=VENUE,
            name="public",
            url=url,
            on_open=on_open,
            on_text=stream.read,
            on_down=on_down,
            clock=self._clock,
            rng=self._rng,
            dials=self._dials,
            ping=PING,
            pong=PONG,
            ping_interval_s=PING_INTERVAL_S,
            silence_s=_SILENCE_S,
        )
        self.channel = channel
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(channel.run(), name=f"{VENUE}.public")
            tasks.create_task(self._watch(channel, stream), name=f"{VENUE}.public.watch")

    async def _watch(self, channel: WebSocketChannel, stream: MarketStream) -> None:
        """Notice silence of data, whatever replies and pongs say."""
        while True:
            await asyncio.sleep(self._watch_interval_s)
            if not channel.is_up:
                continue
            if self._clock.monotonic_ns() - stream.last_data_ns >= _SILENCE_S * SECOND:
                channel.reconnect(f"no market data for {_SILENCE_S:g} s")
                continue
            try:
                for kind, coin in stream.silent():
                    channel.send(unsubscribe(kind, coin=coin))
                    channel.send(subscribe(kind, coin=coin))
            except Unavailable:
                # The connection went between the look and the send; its loss is told already.
                continue
