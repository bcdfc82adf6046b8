"""The core asks what a venue trades; only an answer is passed on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import Event, InstrumentsListed, ListInstruments
from perpbot.domain.instruments import Instrument
from perpbot.execution.instrument_desk import InstrumentDesk
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import VirtualTime
from perpbot.kernel.supervisor import Supervisor
from perpbot.simulation.translation import instrument_of
from tests.unit.execution.stand import CONTRACT, LONG, SHORT


class Shop:
    """A venue that lists one instrument, when it answers."""

    name = LONG

    def __init__(self) -> None:
        self.market_data = self
        self.asked = 0
        self.open = asyncio.Event()
        self.broken = False

    async def instruments(self) -> Sequence[Instrument]:
        """Answer when the test says so."""
        self.asked += 1
        await self.open.wait()
        if self.broken:
            raise Unavailable(LONG, "no answer")
        return [instrument_of(LONG, CONTRACT)]


async def settle() -> None:
    """Let tasks go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_question_at_a_time_and_only_answers_are_told() -> None:
    """Commands for others are theirs; a question that failed may be asked again."""
    time = VirtualTime()
    bus = EventBus(time)
    heard: list[Event] = []
    bus.subscribe(InstrumentsListed, heard.append)
    supervisor = Supervisor(bus.publish, time, random.Random(1))
    shop: Any = Shop()
    InstrumentDesk(shop, bus, time, supervisor)

    def ask(venue: str = LONG) -> None:
        bus.publish(ListInstruments(ts_ns=0, venue=venue, reason="test"))

    ask(SHORT)
    ask()
    ask()
    await settle()
    assert shop.asked == 1
    shop.broken = True
    shop.open.set()
    await settle()
    assert heard == []
    shop.broken = False
    ask()
    await settle()
    assert shop.asked == 2
    (told,) = heard
    assert isinstance(told, InstrumentsListed)
    assert told.instruments == (instrument_of(LONG, CONTRACT),)
    await supervisor.close()
