"""Dead man's switches: only on dedicated accounts, never against protective stops."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities, DeadManScope
from perpbot.domain.errors import Unavailable
from perpbot.domain.events import AlertFired, Event, GateDecision, OrderCancelled, SubmitOrders
from perpbot.domain.sides import Purpose
from perpbot.execution.deadman import DeadManSwitch
from perpbot.kernel.bus import BusHalted, EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.orders import OrderTable
from perpbot.simulation.translation import instrument_of
from tests.unit.execution.stand import CONTRACT, LONG, contract, d
from tests.unit.execution.test_pair import order


class Watchman:
    """A switch of 60 s, and how it was set."""

    def __init__(
        self,
        scope: DeadManScope = DeadManScope.ACCOUNT,
        *,
        dedicated: bool = True,
        can_trade: bool = True,
        removes_stops: bool = True,
    ) -> None:
        self.name = LONG
        self.can_trade = can_trade
        self.trading = self
        self.capabilities = Capabilities(
            venue=LONG,
            operator=LONG,
            maker_fee_bps=d(2),
            taker_fee_bps=d(5),
            fees_as_of="2026-01-01",
            dead_man=scope,
            dead_man_removes_stops=removes_stops,
        )
        self.set: list[tuple[str, float]] = []
        self.error: Exception | None = None
        self.time = VirtualTime()
        self.bus = EventBus(self.time)
        self.orders = OrderTable()
        for event_class, fold in self.orders.folds().items():
            self.bus.subscribe(event_class, fold)
        self.alerts: list[AlertFired] = []
        self.bus.subscribe(AlertFired, self.alerts.append)
        self.supervisor = Supervisor(self.bus.publish, self.time, random.Random(1))
        venue: Any = self
        self.switch = DeadManSwitch(
            venue,
            [
                instrument_of(LONG, CONTRACT),
                instrument_of(LONG, contract(symbol="ETHUSDT", asset="ETH-PERP")),
            ],
            self.bus,
            self.time,
            self.time,
            self.supervisor,
            self.orders,
            timeout_s=60.0,
            dedicated=dedicated,
        )

    async def set_dead_man(self, instrument: Any, timeout_s: float) -> None:
        if self.error is not None:
            raise self.error
        self.set.append((instrument.symbol, timeout_s))

    async def run(self, seconds: int) -> list[tuple[str, float]]:
        """Let time pass; return how it was set meanwhile."""
        self.set.clear()
        for _ in range(seconds):
            self.time.run_until(self.time.now_ns() + SECOND)
            for _ in range(5):
                await asyncio.sleep(0)
        return self.set

    def protect(self) -> None:
        """A protective stop rests at the venue."""
        stop = msgspec.structs.replace(order("1-1", 0), purpose=Purpose.PROTECT)
        decision = GateDecision(gate="reduce", checks={}, ts_ns=0)
        self.bus.publish(SubmitOrders(ts_ns=1, orders=(stop,), decision=decision))


async def test_armed_and_refreshed_at_a_quarter() -> None:
    """At once, then every 15 of 60 seconds; for a whole account once is enough."""
    man = Watchman()
    man.switch.start()
    assert man.switch.armed
    assert await man.run(31) == [("BTCUSDT", 60.0)] * 3


async def test_each_symbol_where_the_scope_is_a_symbol() -> None:
    """Every instrument that is traded."""
    man = Watchman(DeadManScope.SYMBOL)
    man.switch.start()
    assert await man.run(1) == [("BTCUSDT", 60.0), ("ETHUSDT", 60.0)]


@pytest.mark.parametrize(
    "man",
    [
        {"dedicated": False},
        {"can_trade": False},
        {"scope": DeadManScope.NONE},
    ],
    ids=["shared_account", "no_keys", "no_switch"],
)
async def test_never_armed(man: dict[str, Any]) -> None:
    """Not on an account that others use, nor without keys, nor where there is none."""
    watchman = Watchman(**man)
    watchman.switch.start()
    assert not watchman.switch.armed
    assert await watchman.run(40) == []


async def test_protective_stops_disarm_it() -> None:
    """It would take the stop away: it is disarmed once, and armed again after the stop."""
    man = Watchman()
    man.switch.start()
    await man.run(1)
    man.protect()
    assert await man.run(45) == [("BTCUSDT", 0.0)]
    man.bus.publish(OrderCancelled(ts_ns=2, client_id="1-1-0", venue=LONG))
    assert await man.run(16) == [("BTCUSDT", 60.0)]


async def test_stops_that_stay_do_not_matter() -> None:
    """Where the venue leaves stops alone it stays armed."""
    man = Watchman(removes_stops=False)
    man.protect()
    man.switch.start()
    assert await man.run(1) == [("BTCUSDT", 60.0)]


async def test_failure_is_told_once_and_tried_again() -> None:
    """One alarm for a spell of failures; a disarming that failed is tried again too."""
    man = Watchman()
    man.error = Unavailable(LONG, "down")
    man.switch.start()
    await man.run(40)
    assert [alert.name for alert in man.alerts] == ["dead_man_not_armed"]
    man.protect()
    await man.run(16)
    man.error = None
    assert await man.run(16) == [("BTCUSDT", 0.0)]
    man.error = Unavailable(LONG, "down")
    man.bus.publish(OrderCancelled(ts_ns=2, client_id="1-1-0", venue=LONG))
    await man.run(40)
    assert len(man.alerts) == 2


async def test_a_halted_core_lets_it_fire() -> None:
    """Nobody refreshes it for a core that no longer works."""
    man = Watchman()
    man.switch.start()
    man.bus.subscribe(Event, _broken)
    with pytest.raises(BusHalted):
        man.protect()
    await man.run(1)
    assert await man.run(60) == []


def _broken(_event: Event) -> None:
    raise ZeroDivisionError
