"""From a quote on the wire to its order on the wire, both ways over loopback.

Ours is a node's core with the real adapter of OKX: public socket, quote engine, scanner, gates,
reservation, journal on disk, order by the private socket. One quote in so many is worth an order,
so the way of an order is rarely used, as it is in a market. The other leg goes to a venue that
answers at once. The contender is the wire floor: it reads no frame, counts them, and answers the
same quotes with constant bytes. Both are stamped by the stub (`exchange`). It has a processor of
its own and is awake while an order is out: how long the machine takes to wake an exchange is not
what is measured, and it would meet only the slower of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
from decimal import Decimal
from pathlib import Path
from statistics import median

import picows

from perpbot.app.core import Core
from perpbot.app.heap import set_aside
from perpbot.domain.errors import PerpbotError
from perpbot.domain.events import (
    ConnectionState,
    OrderIntent,
    OrderReported,
    ReconcileVenue,
    VenueConnectionChanged,
    VenueSnapshot,
)
from perpbot.domain.orders import BalanceReport, OrderReport
from perpbot.domain.sides import OrderState
from perpbot.execution.gateway import LatencySamples, VenueGateway
from perpbot.execution.warmer import Warmer
from perpbot.kernel.clock import MS, LoopTimers, RealClock
from perpbot.kernel.journal.writer import Journal
from perpbot.kernel.supervisor import Supervisor
from perpbot.venues.connection import ExchangeConnectionManager
from perpbot.venues.okx.signing import OkxCredentials
from perpbot.venues.okx.venue import OkxVenue, create
from perpbot.venues.options import VenueConnection
from tests.benchmarks import stage
from tests.benchmarks.measure import Effort, Row, at_most, processor_apart, say
from tests.benchmarks.wire import Server, server

INTERVAL_S = 0.001
EVERY = 50
ORDERS = 60
LIMIT = 4.0
_OTHER = "binance"
_CONSTANT = b'{"id":"1","op":"order","args":[' + b"x" * 200 + b"]}"
_ASSET = stage.assets(1)[0]


def run(effort: Effort) -> list[Row]:
    """Measure the median of both."""
    return asyncio.run(_run(effort))


async def _run(effort: Effort) -> list[Row]:
    orders = effort.times(ORDERS, 3)
    floor: list[float] = []
    ours: list[float] = []
    inside = LatencySamples()
    schedule = (str(INTERVAL_S), str(EVERY), str(orders))
    with processor_apart() as processor:
        bound = () if processor is None else (str(processor),)
        async with server("exchange", *schedule, *bound) as stub:
            for _ in range(effort.rounds):
                floor.append(await _floor(stub))
                ours.append(await _ours(stub, orders, inside))
    say(f"  frame read to bytes written: p50 {median(inside.tick_to_order_us):.0f} us")
    return [at_most("tick_to_order", median(ours), median(floor), LIMIT, "us")]


async def _taken_us(stub: Server, orders: int) -> float:
    taken = json.loads(await stub.line())
    if len(taken) < orders / 2:  # while the machine stands still, legs are taken
        raise RuntimeError(f"{len(taken)} of {orders} orders arrived")
    return float(median(taken)) / 1_000


class _Floor(picows.WSListener):
    """Answers each quote that the schedule makes worth it."""

    def __init__(self) -> None:
        self._frames = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        transport.send(picows.WSMsgType.TEXT, b'{"op":"subscribe","channel":"bbo-tbt"}')

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self._frames += 1
        if self._frames % EVERY == 0:
            transport.send(picows.WSMsgType.TEXT, _CONSTANT)


async def _floor(stub: Server) -> float:
    transport, _ = await picows.ws_connect(_Floor, f"ws://127.0.0.1:{stub.port}/ws/floor")
    taken_us = await _taken_us(stub, 1)
    transport.disconnect()
    await transport.wait_disconnected()
    return taken_us


async def _ours(stub: Server, orders: int, inside: LatencySamples) -> float:
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as directory:
        journal = Journal(Path(directory))
        clock, timers = RealClock(), LoopTimers(asyncio.get_running_loop())
        core = stage.build_core(
            stage.settings([_ASSET]),
            [stage.instrument(venue, _ASSET) for venue in ("okx", _OTHER)],
            clock=clock,
            timers=timers,
            journal=journal,
        )
        venue = _venue(stub.port, clock)
        supervisor = Supervisor(core.bus.publish, clock, random.Random(1))
        VenueGateway(venue, core.bus, clock, supervisor, core.folds.orders, inside)
        _OtherVenue(core, clock)
        manager = ExchangeConnectionManager(
            venue,
            core.quotes,
            core.bus.publish,
            clock,
            random.Random(1),
            instruments=[core.markets.instruments["okx", _ASSET]],
        )
        supervisor.keep("okx", manager.run)
        core.start(mode="demo", version="benchmark")
        tradings = {"okx": venue.trading}
        Warmer(
            core.bus,
            clock,
            timers,
            core.engine,
            core.around,
            tradings,
            core.scanner.imagine,
            interval_ms=core.settings.execution.rehearse_every_ms,
        ).start()
        set_aside()  # as every node does
        try:
            return await _taken_us(stub, orders)
        except RuntimeError:
            say(f"  refused: {core.engine.refused}, scanned: {core.scanner.statistics()}")
            raise
        finally:
            core.stop_opening()
            core.reconcile.stop()
            with contextlib.suppress(PerpbotError):
                await supervisor.close()
            await venue.close()
            core.bus._halt = PerpbotError("the benchmark is over")  # its timers end with it
            journal.close()


def _venue(port: int, clock: RealClock) -> OkxVenue:
    return create(
        settings=VenueConnection(
            rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}"
        ),
        credentials=OkxCredentials("key", "secret", "phrase"),
        clock=clock,
        rng=random.Random(1),
        trades=False,
    )


class _OtherVenue:
    """A venue in this process: quotes that stand still, orders that end at once unfilled."""

    def __init__(self, core: Core, clock: RealClock) -> None:
        self._core = core
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        core.bus.subscribe(OrderIntent, self._submit)
        core.bus.subscribe(ReconcileVenue, self._reconcile)
        for channel in ("public", "private", "trading"):
            core.bus.publish(
                VenueConnectionChanged(venue=_OTHER, channel=channel, state=ConnectionState.LIVE)
            )
        self._quote()

    def _quote(self) -> None:
        if self._core.bus.halted is None:
            slot = self._core.quotes.slot(self._core.markets.instruments[_OTHER, _ASSET])
            now_ns = self._clock.monotonic_ns()
            price = stage.PRICE
            slot.update(price, 1.0, price + stage.TICK, 1.0, self._clock.now_ns(), now_ns)
            self._loop.call_later(0.2, self._quote)

    def _submit(self, command: OrderIntent) -> None:
        for order in command.orders:
            if order.venue == _OTHER:
                report = OrderReport(
                    venue=_OTHER,
                    account=order.account,
                    client_id=order.client_id,
                    venue_order_id="1",
                    symbol=order.symbol,
                    state=OrderState.CANCELLED,
                    filled=Decimal(0),
                )
                event = OrderReported(ts_ns=self._clock.now_ns(), report=report)
                self._loop.call_later(2 * MS / 1e9, self._core.bus.publish, event)

    def _reconcile(self, command: ReconcileVenue) -> None:
        if command.venue != _OTHER:
            return
        held = Decimal(100_000)
        self._core.bus.publish(
            VenueSnapshot(
                ts_ns=self._clock.now_ns(),
                venue=_OTHER,
                reason=command.reason,
                asked_ns=self._clock.monotonic_ns(),
                orders=(),
                fills=(),
                positions=(),
                balances=(
                    BalanceReport(
                        venue=_OTHER,
                        account=stage.ACCOUNT,
                        currency="USDT",
                        equity=held,
                        wallet=held,
                        free=held,
                    ),
                ),
                funding=(),
            )
        )
