"""Quotes and orders at a pace, for as long as wanted: nothing durable is lost, nothing grows.

The node's own adapters on real sockets; the exchanges are a process of their own, and so is what
floods them with quotes. The node starts with full tables, as one that has traded for weeks, and is
measured once executions of this run have filled them: what grows after that is a leak. Orders are
market orders, a buy and a sell in turn, by way of the bus, the gateway and the rate budgets; the
strategy runs on every quote and finds nothing worth a trade.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perpbot.app.demo import node_at_home
from perpbot.app.folds import Folds
from perpbot.app.heap import give_large_back, set_aside
from perpbot.app.node import Node
from perpbot.configuration import Settings, load_configuration
from perpbot.domain.events import (
    GateDecision,
    OrderFilled,
    OrderSent,
    SubmitOrders,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal.snapshots import snapshot_files
from perpbot.kernel.journal.survey import survey
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from perpbot.portfolio.booked import KEYS_KEPT
from perpbot.portfolio.orders import KEPT_ENDED
from perpbot.settings import Flag
from perpbot.simulation.market import TEN_PERPS, MarketModel
from perpbot.simulation.wire.process import RunningServers, ServerAddress, ServersFailed, launch
from perpbot.simulation.wire.registry import server_class
from perpbot.venues.options import VenueConnection
from tests.benchmarks.measure import say
from tests.benchmarks.memory import resident_mb
from tests.load.cutter import place_of
from tests.load.flood import Line, Market
from tests.load.lives import tell

VENUES = ("okx", "binance", "hyperliquid")
FLOODED = {"okx": "/ws/v5/public", "binance": "/public"}
ASSETS = tuple(model.asset for model in TEN_PERPS)
INSTRUMENTS = 6
"""Of OKX, that orders are spread over: 60 in 2 s each is what its sheet allows."""
CALM = MarketModel(
    quotes_per_s=(2.0, 4.0), dislocation_every_s=0.0, fast_move_every_s=1e6, levels=3
)
LAG_EVERY_S = 0.02
SETTLE_S = 15.0
LOOK_EVERY_S = 1.5
"""Twenty looks are as long as a venue is left unasked."""
LAG_MS = 50.0
GROWTH_MB = 1.0
"""By million events, after warm-up."""
WARM_UP_S = 300.0
_ORDER_EVERY_S = 0.01
_AT_ONCE = 3
"""Orders: what a venue's windows allow is a pace, not a debt."""
_ASK_EVERY_S = 60.0
_TOUCH_USD = 50_000.0
_TRIES = 10
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the node."""

    seconds: float
    quotes_per_s: float = 5_000.0
    orders_per_s: float = 100.0
    warm_up_s: float = WARM_UP_S
    """At least; longer until what is kept of orders and executions is this run's own. Resident
    memory follows the highest peak of what lives at once, and the peaks come in minutes."""
    warm_up_at_most_s: float = 2 * WARM_UP_S
    rest_s: float = 90.0
    """Without orders, before each look at the memory: a comparison reads the executions of up to
    the last minute, thousands of rows at this pace."""
    looks: int = 20
    """At the memory, before and after."""
    history: int = 1_000_000
    """Records that the node has lived through before."""
    snapshot_every: int = 10_000
    """Records; as a node does by default."""


class Lag:
    """How late the loop ran a timer that was due, sample by sample.

    `own_ms` leaves out what the process waited for a processor, where Linux tells it: on a machine
    that is busy with other things that wait is theirs. Waits for a disk are ours.
    """

    def __init__(self) -> None:
        self.ms = array("d")
        self.own_ms = array("d")

    async def watch(self) -> None:
        """Take samples until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            waited_ms = _waited_ms()
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            late_ms = max(loop.time() - due, 0.0) * 1_000
            self.ms.append(late_ms)
            self.own_ms.append(max(late_ms - (_waited_ms() - waited_ms), 0.0))


def _waited_ms() -> float:
    """Return how long this thread has waited for a processor so far; 0 where it is not told."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e6
    except (OSError, IndexError):
        return 0.0


def _at(samples: array[float], share: float) -> float:
    """Return a percentile."""
    found = sorted(samples)
    return round(found[min(int(len(found) * share), len(found) - 1)], 2)


class Orders:
    """Sends market orders at a pace: a buy and a sell in turn, over the instruments."""

    def __init__(self, node: Node, per_s: float) -> None:
        self._node = node
        self._per_s = per_s
        self._markets = [
            node.core.markets.instruments[("okx", asset)]
            for asset in ASSETS
            if ("okx", asset) in node.core.markets.instruments
        ][:INSTRUMENTS]
        self._prices = {model.asset: Decimal(str(model.price)) for model in TEN_PERPS}
        self.sent = self.left_out = 0

    async def run(self) -> None:
        """Send until cancelled; what was missed is left out, not made up for in a burst."""
        loop = asyncio.get_running_loop()
        begun, before = loop.time(), self.sent + self.left_out
        while True:
            await asyncio.sleep(_ORDER_EVERY_S)
            due = int((loop.time() - begun) * self._per_s) + before - self.sent - self.left_out
            for _ in range(min(due, _AT_ONCE)):
                self._send()
            self.left_out += max(due - _AT_ONCE, 0)

    def _send(self) -> None:
        core = self._node.core
        market = self._markets[self.sent % len(self._markets)]
        side = Side.BUY if self.sent // len(self._markets) % 2 == 0 else Side.SELL
        now_ns = core.clock.now_ns()
        self.sent += 1
        request = OrderRequest(
            client_id=core.ids.order_id(
                account="main", strategy="load", purpose=Purpose.OPEN, leg=0, attempt=0
            ),
            venue="okx",
            account="main",
            asset=market.asset,
            symbol=market.symbol,
            side=side,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            quantity=market.min_quantity,
            price=None,
            reference_price=self._prices[market.asset],
            purpose=Purpose.OPEN,
            expires_ns=now_ns + 5 * SECOND,
        )
        decision = GateDecision(gate="load", checks={}, ts_ns=now_ns)
        core.bus.publish(SubmitOrders(ts_ns=now_ns, orders=(request,), decision=decision))


async def measure(directory: Path, pace: Pace) -> dict[str, Any]:
    """Run; return the figures."""
    say(f"load: living through {pace.history:,} records")
    begin = await asyncio.to_thread(_history, directory / "journal", pace.history)
    servers = await launch(list(VENUES), seed=1, model=CALM, balance=Decimal(10_000_000))
    try:
        async with _flood(servers, pace) as (fronts, sent):
            node = _node(servers, fronts, directory, pace)
            await node.open()
            give_large_back()
            set_aside()  # both as `perpbot run` does
            try:
                figures = await _run(node, pace, sent)
            finally:
                gc.unfreeze()
                await node.close("measured")
            say("load: comparing order by order")
            figures |= _compare(directory / "journal", begin, await _taken(servers), node)
    finally:
        await servers.stop()
    figures["holds"] = bool(
        figures["lost_records"] == 0
        and not figures["orders_that_differ"]
        and figures["loop_lag_own_p99_ms"] < LAG_MS
        and figures["memory_mb_per_million_events"] < GROWTH_MB
    )
    return figures


def _history(directory: Path, records: int) -> int:
    """Leave the snapshot of a node that has traded for weeks; return its sequence."""
    if not records:
        return 0
    state = Folds().state()
    count = state.replay(tell(records, left_open=0))
    directory.mkdir(parents=True)
    (directory / f"journal-{count + 1:012d}.log").touch()
    journal = Journal(directory)
    journal.write_snapshot(state.dump())
    journal.close()
    return count


@asynccontextmanager
async def _flood(
    servers: RunningServers, pace: Pace
) -> AsyncIterator[tuple[dict[str, str], list[int]]]:
    """Run the flood; give websocket addresses by venue, and the newest counts of what left."""
    lines = []
    for venue, path in FLOODED.items():
        host, port = place_of(servers.server(venue).ws_url)
        prices = {model.asset: model.price for model in TEN_PERPS}
        lines.append(
            Line(
                venue=venue,
                host=host,
                port=port,
                path=path,
                per_s=pace.quotes_per_s / len(FLOODED),
                markets=tuple(
                    Market(
                        contract.symbol,
                        prices[contract.asset],
                        float(contract.tick_size),
                        max(-int(contract.tick_size.as_tuple().exponent), 0),
                        int(_TOUCH_USD / prices[contract.asset]) + 1,
                    )
                    for contract in server_class(venue).contracts()
                    if contract.asset in prices
                ),
            )
        )
    command = (sys.executable, "-m", "tests.load.flood", msgspec.json.encode(lines).decode())
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    sent: list[int] = [0]
    reading = asyncio.create_task(_read_counts(process.stdout, sent))
    try:
        yield (
            {
                line.venue: f"ws://127.0.0.1:{port}"
                for line, port in zip(lines, ports, strict=True)
            },
            sent,
        )
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _read_counts(stream: asyncio.StreamReader, sent: list[int]) -> None:
    while line := await stream.readline():
        sent[0] = sum(json.loads(line))


def _settings(pace: Pace) -> Settings:
    flags = {
        "mode": "demo",
        "market.symbols": list(ASSETS),
        "arbitrage.min_edge_bps": 5_000.0,
        "journal.snapshot_every_records": pace.snapshot_every,
    }
    return load_configuration(
        environ={}, flags=tuple(Flag(key, "load", value) for key, value in flags.items())
    ).settings


def _node(servers: RunningServers, fronts: dict[str, str], directory: Path, pace: Pace) -> Node:
    def address(server: ServerAddress) -> VenueConnection:
        front = fronts.get(server.venue, server.ws_url)
        return VenueConnection(rest_url=server.rest_url, ws_url=front)

    return node_at_home(_settings(pace), servers, directory, random.Random(1), address=address)


async def _run(node: Node, pace: Pace, flooded: list[int]) -> dict[str, Any]:
    orders = Orders(node, pace.orders_per_s)
    lag = Lag()
    async with _beside(orders.run()):
        warm_up = await _warm_up(node, orders, pace)
    before = await _memory(node, pace)
    begun = time.monotonic()
    first, orders_first, flooded_first = _counts(node), orders.sent, flooded[0]
    async with _beside(orders.run(), lag.watch()):
        told = 0.0
        while (elapsed := time.monotonic() - begun) < pace.seconds:
            await asyncio.sleep(min(pace.seconds - elapsed, 5.0))
            if elapsed - told >= 30:
                told = elapsed
                say(f"load: {elapsed:.0f} s, {orders.sent} orders, {resident_mb():.1f} MB")
        elapsed = time.monotonic() - begun
        last, orders_last, flooded_last = _counts(node), orders.sent, flooded[0]
    after = await _memory(node, pace)
    grown_mb = after.resident_mb - before.resident_mb
    handled = {name: last[name] - first[name] for name in last}
    events = handled["accepted"] + handled["journalled"]
    return {
        **warm_up,
        "seconds": round(elapsed, 1),
        "quotes_sent_per_s": round((flooded_last - flooded_first) / elapsed),
        "quotes_per_s": round(handled["accepted"] / elapsed),
        "quotes_refused": handled["refused"],
        "quotes_conflated": handled["replaced"],
        "conflation_ratio": round(handled["replaced"] / max(handled["accepted"], 1), 6),
        "orders_per_s": round((orders_last - orders_first) / elapsed, 1),
        "records_per_s": round(handled["journalled"] / elapsed),
        "newest_snapshot": max(at for at, _ in snapshot_files(node.memory.journal.directory)),
        "loop_lag_p50_ms": _at(lag.ms, 0.5),
        "loop_lag_p99_ms": _at(lag.ms, 0.99),
        "loop_lag_max_ms": _at(lag.ms, 1.0),
        "loop_lag_own_p50_ms": _at(lag.own_ms, 0.5),
        "loop_lag_own_p99_ms": _at(lag.own_ms, 0.99),
        "loop_lag_own_max_ms": _at(lag.own_ms, 1.0),
        "memory_mb": round(after.resident_mb, 1),
        "memory_grown_mb": round(grown_mb, 2),
        "python_blocks": after.blocks,
        "python_blocks_grown": after.blocks - before.blocks,
        "events": events,
        "memory_mb_per_million_events": round(grown_mb / events * 1e6, 3),
        "refused": node.core.quotes.statistics().refused,
        "failures": node.core.bus.statistics().failures,
        "orders_sent": orders.sent,
        "orders_left_out": orders.left_out,
    }


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do work that has no end, and end it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _warm_up(node: Node, orders: Orders, pace: Pace) -> dict[str, Any]:
    """Wait until nothing is kept any more that the node was given as its history.

    Meanwhile the exchange of the orders is asked for a minute of executions now and then, as after
    a reconnect: it is the longest answer that a node holds, and chance decides when one comes.
    """
    begun = asked = time.monotonic()
    wanted = max(KEYS_KEPT, KEPT_ENDED)

    def over(seconds: float) -> bool:
        return time.monotonic() - begun >= seconds

    def own() -> bool:
        return not pace.history or orders.sent >= wanted

    while not over(pace.warm_up_s) or not (own() or over(pace.warm_up_at_most_s)):
        await asyncio.sleep(1.0)
        if time.monotonic() - asked >= _ASK_EVERY_S:
            asked = time.monotonic()
            node.core.reconcile.ask("okx", "warm_up")
    say(f"load: warmed up by {orders.sent:,} orders, tables {'full' if own() else 'not full'}")
    return {
        "warm_up_s": round(time.monotonic() - begun, 1),
        "warm_up_orders": orders.sent,
        "tables_full": own(),
    }


def _counts(node: Node) -> dict[str, int]:
    quotes, bus = node.core.quotes, node.core.bus.statistics()
    return {
        "accepted": quotes.accepted,
        "refused": sum(sum(why.values()) for why in quotes.statistics().refused.values()),
        "replaced": bus.replaced,
        "journalled": bus.journalled,
    }


async def _taken(servers: RunningServers) -> list[dict[str, Any]]:
    """Return what the exchanges took: a long answer, of a process that has much to do."""
    for _ in range(_TRIES):
        try:
            return await servers.orders()
        except ServersFailed as failed:
            say(f"load: {failed}")
    return await servers.orders()


class Memory(NamedTuple):
    """What a node holds at rest."""

    resident_mb: float
    blocks: int
    """Of Python: what lives, whatever the system still lends for it."""


async def _memory(node: Node, pace: Pace) -> Memory:
    """Return what is held at rest, without what the allocator keeps for later.

    The least of some looks: a venue's answer that is being read just then is megabytes.
    """
    await _settled(node)
    await asyncio.sleep(pace.rest_s)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    found: list[Memory] = []
    for _ in range(pace.looks):
        gc.collect()
        if trim is not None:
            trim(0)
        found.append(Memory(resident_mb(), sys.getallocatedblocks()))
        await asyncio.sleep(LOOK_EVERY_S)
    return Memory(min(look.resident_mb for look in found), min(look.blocks for look in found))


async def _settled(node: Node) -> None:
    """Wait until no order is at work any more."""
    until = time.monotonic() + SETTLE_S
    orders = node.core.folds.orders
    while next(orders.unsettled(), None) and time.monotonic() < until:  # noqa: ASYNC110 - a look
        await asyncio.sleep(0.05)


def _compare(
    directory: Path, begin: int, taken: list[dict[str, Any]], node: Node
) -> dict[str, Any]:
    """Hold the journal against what the exchange took, order by order."""
    found = survey(directory)
    intended: dict[str, OrderRequest] = {}
    sent: set[str] = set()
    filled: Counter[str] = Counter()
    for record in JournalView(directory).records(begin):
        event = record.event()
        if isinstance(event, SubmitOrders):
            intended.update((order.client_id, order) for order in event.orders)
        elif isinstance(event, OrderSent):
            sent.add(event.client_id)
        elif isinstance(event, OrderFilled) and event.client_id:
            filled[event.client_id] += event.quantity  # type: ignore[assignment]
    theirs = {row["client_id"]: row for row in taken if row["venue"] == "okx"}
    differ = [
        name
        for name in intended.keys() | theirs.keys()
        if name not in intended
        or Decimal(theirs[name]["filled"] if name in theirs else 0) != filled[name]
    ]
    held = [order.request.client_id for order in node.core.folds.orders.unsettled()]
    table = node.core.folds.orders
    kept = [name for name in itertools.islice(reversed(intended), 4_000) if table.get(name)]
    return {
        "history": begin,
        "records": found.newest - begin,
        "lost_records": bus_count(node) - (found.newest - begin),
        "journal_mb": round(found.size / 1e6, 1),
        "orders_intended": len(intended),
        "orders_taken": len(theirs),
        "orders_not_sent": len(intended.keys() - sent),
        "orders_filled": len(filled),
        "orders_that_differ": differ[:10],
        "orders_unsettled": len(held),
        "recent_orders_in_table": len(kept) == min(len(intended), 4_000),
    }


def bus_count(node: Node) -> int:
    """Return how many records the bus says that it has journalled."""
    return node.core.bus.statistics().journalled
