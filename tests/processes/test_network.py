"""A network that breaks between a trading node and one of its exchanges, and heals again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from perpbot.kernel.journal.reading import read_records
from tests.processes.nursery import Child, Nursery
from tests.processes.plan import through
from tests.processes.points import Acks
from tests.processes.proxy import Direction, Fate, Proxy, Rule
from tests.processes.stage import Stage, open_stage, report_of, until

pytestmark = [pytest.mark.timeout(180)]

BROKEN = "okx"
SETTINGS = {
    f"venues.{BROKEN}.data_silence_s": 1.0,
    f"venues.{BROKEN}.heartbeat_interval_s": 0.1,
}
STALE_S = 4.0
"""Time after which the quotes of a broken venue must open nothing any more: the silence and a
check of the connection take a little more than a second, the rest is for a busy machine."""
HELD_S = STALE_S + 2.0
"""Two seconds on a dead market are time for a dozen pairs."""
AT_ONCE = 3
TRADED = 3
"""Pairs that are opened before anything breaks."""


async def _resets(proxy: Proxy) -> None:
    """Every connection is reset, again and again."""
    for _ in range(5):
        proxy.reset()
        await asyncio.sleep(0.3)


async def _half_open(proxy: Proxy) -> None:
    """Nothing passes, and nobody is told."""
    proxy.both(Fate.SWALLOW)
    await asyncio.sleep(HELD_S)
    proxy.reset()


async def _answers_lost(proxy: Proxy) -> None:
    """What the node sends arrives; it hears nothing."""
    proxy.rule(down=Rule(fate=Fate.SWALLOW))
    await asyncio.sleep(HELD_S)
    proxy.reset()


async def _requests_lost(proxy: Proxy) -> None:
    """The node hears everything; nothing that it sends arrives."""
    proxy.rule(up=Rule(fate=Fate.SWALLOW))
    await asyncio.sleep(HELD_S)
    proxy.reset()


async def _stalled(proxy: Proxy) -> None:
    """Nobody reads: everything comes at once afterwards, far too late."""
    proxy.both(Fate.STALL)
    await asyncio.sleep(HELD_S)


async def _truncated(proxy: Proxy) -> None:
    """A frame ends in its middle, then the connection is reset; each way, several times."""
    for way in (Direction.UP, Direction.DOWN, Direction.DOWN, Direction.UP):
        rule = Rule(fate=Fate.TRUNCATE)
        proxy.rule(**{way.value: rule})
        await asyncio.sleep(0.4)


async def _slow(proxy: Proxy) -> None:
    """Everything takes 150 ms longer, and answers trickle."""
    proxy.rule(Rule(delay_s=0.15), Rule(delay_s=0.05, bytes_per_s=40_000))
    await asyncio.sleep(HELD_S)


async def _refused(proxy: Proxy) -> None:
    """No connection stands, and none can be made."""
    proxy.refuse()
    proxy.reset()
    await asyncio.sleep(HELD_S)


FAULTS: dict[str, tuple[Callable[[Proxy], Awaitable[None]], bool]] = {
    "reset": (_resets, False),
    "half-open": (_half_open, True),
    "answers lost": (_answers_lost, True),
    "requests lost": (_requests_lost, False),
    "stalled": (_stalled, True),
    "truncated": (_truncated, False),
    "slow": (_slow, False),
    "refused": (_refused, True),
}
"""By name: what breaks, and whether nothing of the market passes any more, so nothing may open."""


def opened(stage: Stage, since_ns: int, until_ns: int) -> int:
    """How many pairs were opened in a span of time."""
    return sum(
        since_ns < record.ts_ns < until_ns
        for record in read_records(stage.journal)
        if record.kind == "PAIR_PLANNED"
    )


async def trading(stage: Stage, child: Child, pairs: int = TRADED) -> None:
    """Wait until the node has sent so many intents in this life."""
    acks = Acks(stage.acks)
    before = acks.intents
    try:
        await until(
            lambda: acks.intents - before >= pairs or child.ended.done(),
            within_s=60,
            what=f"{pairs} intents",
        )
    finally:
        acks.close()
    assert not child.ended.done(), child.words()


async def suffer(name: str, nursery: Nursery, directory: Path) -> list[str]:
    """Trade, break, heal, trade again, end; return what does not hold."""
    breaks, market_dies = FAULTS[name]
    async with open_stage(directory, nursery, venues=("binance", BROKEN)) as stage:
        target = urlsplit(stage.exchanges.server(BROKEN).rest_url).netloc
        async with Proxy(target) as proxy:
            stage.servers = through(stage.exchanges.servers, {BROKEN: proxy.place})
            child = await stage.start(settings=SETTINGS)
            await trading(stage, child)
            broken_ns = time.time_ns()
            await breaks(proxy)
            healed_ns = time.time_ns()
            proxy.heal()
            await trading(stage, child)
            child.signal(signal.SIGTERM)
            code = await child.wait()
            found = [] if code == 0 else [f"exit code {code}: {child.words()[-2000:]}"]
            if not report_of(child).get("flat"):
                found.append(f"not flat: {report_of(child)}")
            stage.servers = stage.exchanges.servers
            broken, _ = await stage.judge()
    if proxy.accepted < 2:
        found.append("nothing went through the proxy")
    stale_ns = broken_ns + int(STALE_S * 1e9)
    if market_dies and (pairs := opened(stage, stale_ns, healed_ns)):
        found.append(f"{pairs} pairs were opened on a dead market")
    return found + broken


async def test_network_faults(nursery: Nursery, tmp_path: Path) -> None:
    """Nothing opens on a dead market; every order is resolved; all ends flat, here and there."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> tuple[str, list[str]]:
        async with room:
            return name, await suffer(name, nursery, tmp_path / name)

    assert dict(await asyncio.gather(*map(one, FAULTS))) == {name: [] for name in FAULTS}
