"""Dispatch: a quote to one subscriber, and a durable event into a journal on disk.

Contenders: the plain dict of tuples that any dispatcher comes down to, and msgpack encoding with
one `os.write`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from perpbot.domain.events import Event, OrderFilled, QuoteUpdated
from perpbot.domain.sides import Liquidity, Side
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import RealClock
from perpbot.kernel.journal.writer import Journal
from tests.benchmarks.measure import Effort, Row, at_most, interleave, per_call_us

LATEST_LIMIT = 5.0
DURABLE_LIMIT = 3.0


def run(effort: Effort) -> list[Row]:
    """Measure both lanes."""
    return [_latest(effort), _durable(effort)]


def _latest(effort: Effort) -> Row:
    calls = effort.times(200_000, 100)
    quote = QuoteUpdated(venue="okx", asset="BTC-PERP", bid=1.0, ask=2.0)
    seen = [0]

    def handler(_event: Event) -> None:
        seen[0] += 1

    handlers: dict[type[Event], tuple[Callable[[Event], None], ...]] = {QuoteUpdated: (handler,)}
    bus = EventBus(RealClock())
    bus.subscribe(QuoteUpdated, handler)

    def plain() -> None:
        for _ in range(calls):
            for call in handlers[quote.__class__]:
                call(quote)

    def ours() -> None:
        publish = bus.publish
        for _ in range(calls):
            publish(quote)

    found = interleave(
        {"ours": per_call_us(ours, calls), "plain": per_call_us(plain, calls)}, effort
    )
    return at_most("bus_latest", found["ours"], found["plain"], LATEST_LIMIT, "us/event")


def _durable(effort: Effort) -> Row:
    calls = effort.times(20_000, 100)
    fill = OrderFilled(
        ts_ns=1_700_000_000_000_000_000,
        client_id="0123456789abcdef0123456789abcdef",
        venue="okx",
        account="main",
        asset="BTC-PERP",
        trade_id="123456789",
        side=Side.BUY,
        price=Decimal("60000.1"),
        quantity=Decimal("0.0100"),
        fee_usd=Decimal("0.3"),
        liquidity=Liquidity.TAKER,
    )
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as directory:
        journal = Journal(Path(directory) / "journal")
        bus = EventBus(RealClock(), journal)
        bus.subscribe(OrderFilled, lambda _event: None)
        file = os.open(Path(directory) / "plain", os.O_WRONLY | os.O_CREAT, 0o600)

        def plain() -> None:
            encode = msgspec.msgpack.Encoder().encode
            for _ in range(calls):
                os.write(file, encode(fill))

        def ours() -> None:
            for _ in range(calls):
                bus.publish(fill)

        found = interleave(
            {"ours": per_call_us(ours, calls), "plain": per_call_us(plain, calls)}, effort
        )
        os.close(file)
        journal.close()
    return at_most("bus_durable", found["ours"], found["plain"], DURABLE_LIMIT, "us/event")
