"""Power losses: the process is killed, and the disk forgets what was never forced to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from perpbot.app.durability import SYNCED
from perpbot.domain.events import AlertFired
from perpbot.domain.sides import Side
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.record import read_one
from perpbot.operations.settings import SyncPolicy
from tests.processes.check import CANONICAL_LENGTH
from tests.processes.guardian.rig import Hand, hand_at
from tests.processes.nursery import Nursery
from tests.processes.plan import LIVELY, Death
from tests.processes.stage import Stage, open_stage
from tests.processes.test_network import trading

pytestmark = [pytest.mark.timeout(180)]

LOSSES = 3
MAKER = {
    "execution.fallback": "balanced",
    "execution.maker_timeout_ms": 60_000,
    "journal.sync": SyncPolicy.WRITE.value,
}
"""A pair begins with one order that rests, and no intent waits for the disk."""
CALM = msgspec.structs.replace(LIVELY, dislocation_every_s=1.0, dislocation_closes_s=(20.0, 30.0))
"""A market that comes back to what rests in it only now and then."""
TRIES = 8
"""It may come back before the node does: then nothing rests, and another world is tried."""


def forget(stage: Stage, policy: SyncPolicy) -> int:
    """Cut the journal behind the last record that waited for the disk; return what was lost."""
    segment = max(stage.journal.glob("journal-*.log"))
    data = segment.read_bytes()
    offset = kept = lost = 0
    while offset < len(data):
        record, offset = read_one(data, offset, segment.name)
        lost += 1
        if SYNCED[policy](record.event()):
            kept, lost = offset, 0
    segment.write_bytes(data[:kept])
    return lost


async def lose_power(stage: Stage, policy: SyncPolicy) -> int:
    """Let a node trade, and take the power away."""
    child = await stage.start(settings={"journal.sync": policy.value})
    await trading(stage, child)
    child.kill()
    await child.wait()
    stage.acks.unlink()  # what was acknowledged may be lost here
    return forget(stage, policy)


async def close_by_hand(stage: Stage, hands: Mapping[str, Hand]) -> None:
    """Close what is held, as a person does whom the node told that nobody owns it."""
    for row in (await stage.exchanges.accountant())["positions"]:
        quantity = Decimal(row["quantity"])
        if quantity:
            side = Side.SELL if quantity > 0 else Side.BUY
            await hands[row["venue"]].order(row["asset"], side, str(abs(quantity)))


async def test_intents_wait_for_the_disk(nursery: Nursery, tmp_path: Path) -> None:
    """Facts are lost and asked for again: orders, fills and positions all come back."""
    async with open_stage(tmp_path / "stage", nursery) as stage:
        lost = 0
        for _ in range(LOSSES):
            lost += await lose_power(stage, SyncPolicy.INTENTS)
        found, _ = await stage.judge()
    assert lost > 0
    assert found == []


async def test_nothing_but_the_start_waits_for_the_disk(nursery: Nursery, tmp_path: Path) -> None:
    """Intents are lost too: what the exchanges hold is adopted, and no id comes again."""
    async with open_stage(tmp_path / "stage", nursery) as stage, AsyncExitStack() as stack:
        hands = {
            server.venue: await stack.enter_async_context(hand_at(server))
            for server in stage.exchanges.servers
        }
        for _ in range(LOSSES):
            await close_by_hand(stage, hands)  # beside it nothing would open
            assert await lose_power(stage, SyncPolicy.WRITE) > 0
        report = await stage.settle()
        assert (report["exit"], report["ready"], report["halted"]) == (0, True, None)
        true = (await stage.exchanges.accountant())["positions"]
        assert sorted((p["venue"], p["asset"], p["quantity"]) for p in report["positions"]) == (
            sorted((p["venue"], p["asset"], p["quantity"]) for p in true)
        )
        taken = await stage.exchanges.orders()
    assert [row for row in taken if row["taken"] > 1] == []


def taken_back(stage: Stage) -> list[str]:
    """Return the orders of which nodes said that they take them back, one for each time."""
    events = (record.event() for record in read_records(stage.journal))
    return [
        event.text.split(" order ")[1].split(" ")[0]
        for event in events
        if isinstance(event, AlertFired) and event.name == "forgotten_order"
    ]


async def unfilled(stage: Stage) -> set[str]:
    """Return the orders that an exchange took and that never filled."""
    rows = await stage.exchanges.orders()
    return {row["client_id"][-CANONICAL_LENGTH:] for row in rows if row["filled"] == "0"}


async def lose_intent(stage: Stage) -> set[str]:
    """Let a node die when its first order rests, and its disk forget the intent; return the order.

    Nothing is returned where the order has filled meanwhile.
    """
    child = await stage.start(settings=MAKER, death=Death(point="append order placed:after"))
    await child.wait()
    stage.acks.unlink()  # what was acknowledged is lost here
    assert forget(stage, SyncPolicy.WRITE) > 0
    assert not any(getattr(record.event(), "orders", ()) for record in read_records(stage.journal))
    return await unfilled(stage)


async def test_an_order_that_rests_without_its_intent_is_taken_back(
    nursery: Nursery, tmp_path: Path
) -> None:
    """The next start finds it at the exchange, cancels it and says so; after that none rests."""
    for number in range(TRIES):
        async with open_stage(tmp_path / f"stage-{number}", nursery, model=CALM) as stage:
            resting = await lose_intent(stage)
            report = await stage.settle()
            if not resting or not resting <= await unfilled(stage):
                continue
            assert (report["exit"], report["ready"], report["halted"]) == (0, True, None)
            assert report["positions"] == []
            assert taken_back(stage) == [*resting]
            again = await stage.settle()
            assert (again["exit"], again["ready"]) == (0, True)
            assert taken_back(stage) == [*resting], "it was still there"
            assert resting <= await unfilled(stage)
            return
    pytest.fail(f"the orders of {TRIES} worlds filled before anybody came back for them")
