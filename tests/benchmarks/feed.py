"""The OKX path from socket to scanner, against bare picows and msgspec on the same flood.

Ours is everything that runs live: the connection's watchdog, the adapter, the watched sink, the
checks of the quote engine, the bus with all subscribers of a core, the scanner with three venues.
The contender reads frames with picows, decodes structs of strings with msgspec, and makes floats.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import msgspec
import picows

from perpbot.app.core import Core
from perpbot.kernel.clock import SECOND, LoopTimers, RealClock
from perpbot.venues.connection import ExchangeConnectionManager
from perpbot.venues.okx.venue import OkxVenue, create
from perpbot.venues.options import VenueConnection
from tests.benchmarks import stage
from tests.benchmarks.flood import ASSETS
from tests.benchmarks.measure import Effort, Row, at_least
from tests.benchmarks.wire import Server, server

VENUES = ("okx", "binance", "hyperliquid")
FRAMES = 200_000
LIMIT = 0.45
_PATIENCE_S = 30.0


class _Argument(msgspec.Struct, gc=False):
    channel: str
    instId: str  # noqa: N815 - the name on the wire


class _Quote(msgspec.Struct, gc=False):
    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]
    ts: str


class _Frame(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_Quote]


class _Bare(picows.WSListener):
    """What a careful person writes around the two libraries."""

    def __init__(self, count: int) -> None:
        self.decode = msgspec.json.Decoder(_Frame).decode
        self.newest: dict[str, tuple[float, float, float, float]] = {}
        self.left = count
        self.end_ns = 0
        self.done = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        transport.send(picows.WSMsgType.TEXT, b"subscribe")

    def on_ws_frame(self, _transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        message = self.decode(frame.get_payload_as_memoryview())
        row = message.data[0]
        bid, ask = row.bids[0], row.asks[0]
        self.newest[message.arg.instId] = (
            float(bid[0]),
            float(bid[1]),
            float(ask[0]),
            float(ask[1]),
        )
        self.left -= 1
        if not self.left:
            self.end_ns = RealClock.monotonic_ns()
            self.done.set()


def run(effort: Effort) -> list[Row]:
    """Measure."""
    return asyncio.run(_run(effort))


async def _run(effort: Effort) -> list[Row]:
    count = effort.times(FRAMES, 200)
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    delivered = []
    async with server("flood", str(count)) as flood:
        for _ in range(effort.rounds):
            rates["bare"].append(await _rate(flood, count, _bare))
            quotes: list[int] = []
            rates["ours"].append(await _rate(flood, count, _ours(quotes)))
            delivered += quotes
    return [
        at_least("feed", median(rates["ours"]), median(rates["bare"]), LIMIT, "msgs/s"),
        at_least("feed_delivered", min(delivered), count, 1.0, "msgs"),
    ]


_Client = Callable[[int, int], Awaitable[int]]


async def _rate(flood: Server, count: int, client: _Client) -> float:
    """Return messages a second from the first byte sent to the last message handled."""
    end_ns = await client(flood.port, count)
    return count * SECOND / (end_ns - int(await flood.line()))


async def _bare(port: int, count: int) -> int:
    transport, listener = await picows.ws_connect(
        lambda: _Bare(count), f"ws://127.0.0.1:{port}/ws"
    )
    assert isinstance(listener, _Bare)
    async with asyncio.timeout(_PATIENCE_S):
        await listener.done.wait()
    transport.disconnect()
    await transport.wait_disconnected()
    return listener.end_ns


def _ours(delivered: list[int]) -> _Client:
    async def client(port: int, count: int) -> int:
        clock = RealClock()
        core, venue = _node(port, clock)
        listed = [one for one in core.markets.instruments.values() if one.venue == "okx"]
        manager = ExchangeConnectionManager(
            venue, core.quotes, core.bus.publish, clock, random.Random(1), instruments=listed
        )
        before = core.quotes.accepted
        task = asyncio.create_task(manager.run())
        try:
            await _until(lambda: core.quotes.accepted - before >= count)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await venue.close()
        delivered.append(core.scanner.statistics().quotes - before)  # the end of the way
        assert venue.market_data.channel is not None
        return venue.market_data.channel.statistics().last_data_ns

    return client


def _node(port: int, clock: RealClock) -> tuple[Core, OkxVenue]:
    names = stage.assets(ASSETS)
    fees: dict[str, Any] = {"min_edge_bps": 5.0}
    core = stage.build_core(
        stage.settings(names, arbitrage=fees),
        [stage.instrument(venue, asset) for venue in VENUES for asset in names],
        clock=clock,
        timers=LoopTimers(asyncio.get_running_loop()),
    )
    stage.quote_everywhere(core, clock)
    stage.warm_basis(core, clock)
    address = VenueConnection(rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}")
    venue = create(
        settings=address, credentials=None, clock=clock, rng=random.Random(1), trades=False
    )
    return core, venue


async def _until(condition: Callable[[], bool]) -> None:
    """Look now and then; what does not come is told by the count."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - an event would cost each quote something
                await asyncio.sleep(0.02)
