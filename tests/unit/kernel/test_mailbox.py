"""Async handlers: never in the way, never missing a durable event."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from perpbot.domain.events import (
    AlertFired,
    ComponentFailed,
    Event,
    Heartbeat,
    QueryOrder,
    Transfer,
)
from perpbot.kernel.bus import QUARANTINE_AFTER, EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.kernel.journal.writer import Journal
from perpbot.kernel.mailbox import Mailbox
from perpbot.kernel.supervisor import Supervisor


def alert(number: int) -> AlertFired:
    """Durable."""
    return AlertFired(ts_ns=number, name="n", severity="low", text="t")


class Sink:
    """An async handler with a gate: it stands still until the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.seen: list[Event] = []

    async def take(self, event: Event) -> None:
        await self.gate.wait()
        self.seen.append(event)


async def settle(mailbox: Mailbox) -> None:
    """Let the mailbox work until nothing waits."""
    for _ in range(2_000):
        await asyncio.sleep(0)
    assert mailbox.statistics().waiting == 0


def desk(journal: Journal | MemoryJournal, *, capacity: int) -> tuple[EventBus, Sink, Mailbox]:
    """Return a bus and a slow sink behind a mailbox."""
    clock = VirtualTime()
    bus, sink = EventBus(clock, journal), Sink()
    mailbox = Mailbox(
        bus,
        clock,
        [AlertFired, QueryOrder, Heartbeat],
        sink.take,
        name="sink",
        cursor=journal.cursor,
        capacity=capacity,
    )
    return bus, sink, mailbox


async def test_events_are_handed_over_in_order() -> None:
    """Durable first, then stream, then latest."""
    bus, sink, mailbox = desk(MemoryJournal(), capacity=10)
    sink.gate.set()
    bus.publish(Heartbeat(component="a"))
    bus.publish(QueryOrder(client_id="1"))
    bus.publish(alert(1))
    bus.publish(alert(2))
    supervisor = Supervisor(bus.publish, VirtualTime(), random.Random(0))
    supervisor.keep("sink", mailbox.run)
    await settle(mailbox)

    assert sink.seen == [
        alert(1),
        alert(2),
        QueryOrder(client_id="1"),
        Heartbeat(component="a"),
    ]
    assert mailbox.statistics().handled == 4
    await supervisor.close()


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "file"])
async def test_durable_events_that_do_not_fit_are_read_back(tmp_path: Path, on_disk: bool) -> None:
    """Every one, once, in order, while the core went on; other kinds are skipped."""
    journal = Journal(tmp_path) if on_disk else MemoryJournal()
    bus, sink, mailbox = desk(journal, capacity=5)
    task = asyncio.create_task(mailbox.run())
    for number in range(40):
        bus.publish(alert(number))
        bus.publish(Transfer(venue="v", account="a", amount_usd=1, reference="r"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert sink.seen == []
    assert mailbox.statistics().waiting <= 5

    sink.gate.set()
    await settle(mailbox)
    for number in range(40, 45):
        bus.publish(alert(number))
        await asyncio.sleep(0)
    await settle(mailbox)

    assert sink.seen == [alert(number) for number in range(45)]
    assert mailbox.statistics().read_back == 35
    task.cancel()


async def test_events_that_come_while_it_reads_back_wait_their_turn() -> None:
    """Order holds across the two ways in."""
    bus, sink, mailbox = desk(MemoryJournal(), capacity=2)
    numbers = iter(range(100, 110))

    async def take(event: Event) -> None:
        sink.seen.append(event)
        following = next(numbers, None)
        if following is not None:
            bus.publish(alert(following))

    mailbox._handler = take
    for number in range(10):
        bus.publish(alert(number))
    task = asyncio.create_task(mailbox.run())
    await settle(mailbox)

    assert sink.seen == [alert(n) for n in [*range(10), *range(100, 110)]]
    task.cancel()


async def test_a_slow_handler_loses_latest_and_stream_values_counted() -> None:
    """A newer value replaces; the oldest key and the newest stream event are given up."""
    bus, sink, mailbox = desk(MemoryJournal(), capacity=3)
    for number in range(5):
        bus.publish(Heartbeat(component=f"c{number}"))
        bus.publish(QueryOrder(client_id=str(number)))
    bus.publish(Heartbeat(component="c4", status="new"))
    sink.gate.set()
    task = asyncio.create_task(mailbox.run())
    await settle(mailbox)

    counts = mailbox.statistics()
    assert (counts.replaced, counts.lost_latest, counts.lost_stream) == (1, 2, 2)
    assert sink.seen[:3] == [QueryOrder(client_id=str(n)) for n in range(3)]
    assert sink.seen[-1] == Heartbeat(component="c4", status="new")
    task.cancel()


async def test_a_failing_handler_is_reported_and_quarantined() -> None:
    """The core does not notice; nothing is taken in any more."""
    bus, _, mailbox = desk(MemoryJournal(), capacity=10)
    told: list[ComponentFailed] = []
    bus.subscribe(ComponentFailed, told.append)

    async def fail(event: Event) -> None:
        raise RuntimeError("broken")

    mailbox._handler = fail
    for number in range(QUARANTINE_AFTER + 3):
        bus.publish(alert(number))
    task = asyncio.create_task(mailbox.run())
    for _ in range(100):
        await asyncio.sleep(0)
    waiting = mailbox.statistics().waiting
    bus.publish(alert(99))

    assert [event.quarantined for event in told] == [False] * (QUARANTINE_AFTER - 1) + [True]
    assert told[0].component == "sink"
    assert mailbox.statistics().quarantined
    assert mailbox.statistics().failures == QUARANTINE_AFTER
    assert mailbox.statistics().waiting == waiting
    assert not task.done()
    assert bus.halted is None
    task.cancel()


async def test_a_record_that_is_not_readable_yet_is_tried_again() -> None:
    """The mailbox stays behind until the journal gives it."""
    journal = MemoryJournal()
    bus, sink, mailbox = desk(journal, capacity=1)
    sink.gate.set()
    for number in range(3):
        bus.publish(alert(number))
    kept = journal._records[1:]
    del journal._records[1:]
    task = asyncio.create_task(mailbox.run())
    await settle(mailbox)
    assert sink.seen == [alert(0)]

    journal._records += kept
    bus.publish(alert(3))
    await settle(mailbox)

    assert sink.seen == [alert(n) for n in range(4)]
    task.cancel()
