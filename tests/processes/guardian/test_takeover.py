"""A node that is stopped or killed, a guardian that takes over, a node that comes back."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import PairPlanned, RunStarted, VenueReconciled
from perpbot.domain.sides import Purpose, Side
from perpbot.guardian.status import GuardianLock
from perpbot.kernel.journal.reading import read_records
from tests.processes.guardian.rig import Rig, hand_at, open_rig

pytestmark = [pytest.mark.slow, pytest.mark.blocking, pytest.mark.timeout(150)]

TRADES_S = 0.5


async def level(rig: Rig) -> bool:
    """Whether no asset has more than the least order of its venues left over."""
    return all(abs(net) < Decimal("0.011") for net in (await rig.net()).values())


def protected(rig: Rig) -> bool:
    """Whether the node's own table says that the guardian protects every venue."""
    return {row["flattens"] for row in rig.status()["protection"]} == {
        "guardian, what is unhedged, 2 s"
    }


def opened_unseen(rig: Rig) -> list[str]:
    """Opening orders that went out before their venue had agreed in that run."""
    agreed: set[str] = set()
    found = []
    for record in read_records(rig.state / "journal"):
        event = record.event()
        if isinstance(event, RunStarted):
            agreed.clear()
        elif isinstance(event, VenueReconciled) and event.agreed:
            agreed.add(event.venue)
        elif isinstance(event, PairPlanned):
            found += [o.client_id for o in event.orders if o.venue not in agreed]
    return found


async def test_a_stopped_node_is_taken_over_and_sends_nothing_stale(tmp_path: Path) -> None:
    """SIGSTOP: own orders go, others and stops stay, the rest is flattened; SIGCONT: recovery."""
    async with open_rig(tmp_path) as rig:
        node, guardian = await asyncio.gather(rig.node(), rig.guardian())
        await rig.until("protection by the guardian", lambda: protected(rig))
        await asyncio.sleep(TRADES_S)
        node.send(signal.SIGSTOP)
        async with hand_at(rig.exchanges.server("okx")) as okx:
            # As if the last thing that the node did had been this.
            ours = await okx.order("ETH-PERP", Side.BUY, "0.05", away_bps=500)
            stop = await okx.order(
                "ETH-PERP", Side.BUY, "0.05", away_bps=600, purpose=Purpose.PROTECT
            )
            other = await okx.order("ETH-PERP", Side.BUY, "0.05", away_bps=700, account="other")
            await okx.order("BTC-PERP", Side.BUY, "0.05")
            assert not await level(rig)

            await rig.until("takeover that is done", lambda: rig.facts("level"))

            left = await okx.open_ids()
            assert ours.client_id not in left
            assert {stop.client_id, other.client_id} <= left
            assert await level(rig)
        (raised,) = rig.facts("epoch")
        sent = await rig.epochs()
        assert sent[raised["number"]] >= 1

        node.send(signal.SIGCONT)
        await rig.until("handing back", lambda: rig.facts("handed_back"))
        await rig.ready()

        after = await rig.epochs()
        assert after[raised["run_epoch"]] == sent[raised["run_epoch"]]
        assert opened_unseen(rig) == []
        assert "recovering before anything is sent" in node.words
        rig.kill(5)
        assert await node.wait() == 0
        assert await rig.net() == {}
        assert sum(1 for _ in read_records(rig.state / "journal")) > 1
        await rig.until("end in order", lambda: rig.facts("absent"))
        assert await guardian.end() == 0


async def test_a_killed_node_and_a_killed_guardian(tmp_path: Path) -> None:
    """Kill -9 of both, one after the other: the next guardian goes on, the next node recovers."""
    async with open_rig(tmp_path) as rig:
        node, first = await asyncio.gather(rig.node(), rig.guardian())
        with pytest.raises(StateConflict, match="has a guardian already"):
            GuardianLock(rig.state)
        node.send(signal.SIGKILL)
        await rig.until("first epoch", lambda: rig.facts("epoch"))
        first.send(signal.SIGKILL)
        async with hand_at(rig.exchanges.server("binance")) as binance:
            await binance.order("BTC-PERP", Side.SELL, "0.05")
        assert not await level(rig)

        second = await rig.start("guardian", "--testnet")
        await rig.until("takeover that is done", lambda: rig.facts("level"))

        assert await level(rig)
        numbers = [fact["number"] for fact in rig.facts("epoch")]
        assert len(numbers) == 2
        assert numbers[0] < numbers[1]
        node = await rig.node()
        await rig.until("handing back", lambda: rig.facts("handed_back"))
        assert max(await rig.epochs()) <= numbers[1] + 1
        rig.kill(5)
        assert await node.wait() == 0
        assert await rig.net() == {}
        assert await second.end() == 0
