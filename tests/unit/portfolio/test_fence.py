"""Another node on the same account: who is noticed, and who is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.events import (
    AlertFired,
    Event,
    FillReported,
    GateDecision,
    HaltLatched,
    OrderReported,
    SubmitOrders,
    VenueSnapshot,
)
from perpbot.domain.orders import FillReport, OrderReport, OrderRequest
from perpbot.domain.sides import OrderState, OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.ids import IdMaker
from perpbot.portfolio.fence import RULE, InstanceFence
from perpbot.portfolio.orders import OrderTable

START_NS = 1_790_000_000 * SECOND
LATER_NS = START_NS + 60 * SECOND
OURS = 5


class Account:
    """One account, one fence, and what it said."""

    def __init__(self) -> None:
        time = VirtualTime(START_NS)
        self.bus = EventBus(time)
        self.orders = OrderTable()
        for event_class, fold in self.orders.folds().items():
            self.bus.subscribe(event_class, fold)
        self.ids = IdMaker(epoch=OURS)
        InstanceFence(
            self.bus, time, self.orders, self.ids, lambda _venue: "main", friends=("guardian",)
        )
        self.said: list[Event] = []
        self.bus.subscribe(Event, self.said.append)

    @property
    def halts(self) -> list[str]:
        return [event.value for event in self.said if isinstance(event, HaltLatched)]

    def hear(self, client_id: str, venue_ns: int = START_NS, venue: str = "okx") -> None:
        """An order rests at the venue."""
        self.bus.publish(OrderReported(ts_ns=0, report=order(client_id, venue_ns, venue)))


def an_id(ids: IdMaker, account: str = "main", strategy: str = "arbitrage") -> str:
    """The next id of a run."""
    return ids.order_id(account=account, strategy=strategy, purpose=Purpose.OPEN, leg=0, attempt=0)


def order(client_id: str, venue_ns: int, venue: str = "okx") -> OrderReport:
    """An order that rests."""
    return OrderReport(
        venue=venue,
        account="main",
        client_id=client_id,
        venue_order_id="7",
        symbol="BTC-USDT-SWAP",
        state=OrderState.ACCEPTED,
        venue_ns=venue_ns,
    )


def execution(client_id: str, venue_ns: int) -> FillReport:
    """An execution of that order."""
    return FillReport(
        venue="okx",
        account="main",
        trade_id="t1",
        client_id=client_id,
        venue_order_id="7",
        symbol="BTC-USDT-SWAP",
        asset="BTC-PERP",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal(1),
        fee=Decimal(0),
        fee_currency="USDT",
        venue_ns=venue_ns,
    )


def test_order_of_a_later_run_halts_and_alarms_once() -> None:
    """The halt names order, run and venue; the alarm says what to do."""
    account, other = Account(), IdMaker(epoch=OURS + 1)
    first = an_id(other)
    account.hear(first)
    account.hear(an_id(other))
    assert account.halts == [f"order {first} of run 6 at okx"]
    (alarm,) = [event for event in account.said if isinstance(event, AlertFired)]
    assert (alarm.name, alarm.severity) == (RULE, "critical")
    assert "end one of the two" in alarm.text
    account.hear(an_id(other), venue="binance")
    assert len(account.halts) == 2


@pytest.mark.parametrize(
    ("epoch", "venue_ns", "strange"),
    [
        (OURS + 1, 0, True),
        (OURS, 0, True),
        (OURS - 1, LATER_NS, True),
        (OURS - 1, START_NS, False),
        (OURS - 1, START_NS + 5 * SECOND, False),
        (OURS - 1, 0, False),
    ],
    ids=["later", "ours, never given", "earlier, now", "earlier, then", "clocks", "timeless"],
)
@pytest.mark.parametrize("way", ["order", "fill", "snapshot", "history"])
def test_runs(epoch: int, venue_ns: int, strange: bool, way: str) -> None:
    """Whatever tells of it: an earlier run may have left orders, but makes no new ones."""
    account = Account()
    client_id = an_id(IdMaker(epoch=epoch))
    parts: dict[str, Any] = {"orders": (), "fills": None, "positions": ()}
    match way:
        case "order":
            account.hear(client_id, venue_ns)
        case "fill":
            account.bus.publish(FillReported(ts_ns=0, report=execution(client_id, venue_ns)))
        case "snapshot":
            parts["orders"] = (order(client_id, venue_ns),)
        case "history":
            parts |= {"orders": None, "fills": (execution(client_id, venue_ns),)}
    account.bus.publish(VenueSnapshot(ts_ns=0, venue="okx", reason="timer", asked_ns=0, **parts))
    assert bool(account.halts) is strange


def test_what_is_known_is_no_stranger() -> None:
    """An order of the journal, and one of this run that the table let go of."""
    account = Account()
    forgotten, kept = an_id(account.ids), an_id(IdMaker(epoch=OURS + 3))
    request = OrderRequest(
        client_id=kept,
        venue="okx",
        account="main",
        asset="BTC-PERP",
        symbol="BTC-USDT-SWAP",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=Decimal(1),
        price=Decimal(100),
        reference_price=Decimal(100),
        purpose=Purpose.OPEN,
    )
    decision = GateDecision(gate="open", checks={}, ts_ns=0)
    account.bus.publish(SubmitOrders(ts_ns=0, orders=(request,), decision=decision))
    account.hear(kept, LATER_NS)
    account.hear(forgotten, LATER_NS)
    assert account.halts == []


def test_others_may_act_on_the_account() -> None:
    """People, other accounts of the same key, and the guardian, which has a fence of its own."""
    account, other = Account(), IdMaker(epoch=OURS + 1)
    account.hear("", LATER_NS)
    account.hear("f" * 32, LATER_NS)
    account.hear(an_id(other, account="second"), LATER_NS)
    account.hear(an_id(other, strategy="guardian"), LATER_NS)
    assert account.halts == []


def test_snapshot_without_answers_says_nothing() -> None:
    """What was not answered is unknown."""
    account = Account()
    snapshot = VenueSnapshot(
        ts_ns=0, venue="okx", reason="timer", asked_ns=0, orders=None, fills=None, positions=None
    )
    account.bus.publish(msgspec.structs.replace(snapshot, error="no answer"))
    assert account.halts == []
