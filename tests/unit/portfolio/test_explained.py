"""Which execution an adjustment stood for, and how much of it is taken back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.events import OrderFilled, PositionAdjusted, SubmitOrders
from perpbot.domain.sides import PositionSide, Side
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.fold import DurableState
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.portfolio.explained import CLOCKS_NS, ExplainedAdjustments
from perpbot.portfolio.leases import leg
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import ADJUSTMENTS_KEPT, PositionBook
from tests.unit.portfolio.office import DECISION, d, request

ASSET = "BTC-PERP"
KEY = leg("okx", "main", ASSET)
AT_NS = 1_000 * SECOND


class Desk:
    """A position book that is adjusted and told of executions."""

    def __init__(self) -> None:
        self.time = VirtualTime(AT_NS)
        self.bus = EventBus(self.time, MemoryJournal())
        self.positions, self.orders = PositionBook(), OrderTable()
        DurableState((self.orders, self.positions)).attach(self.bus)
        ExplainedAdjustments(self.bus, self.time, self.positions, self.orders)

    def adjust(self, delta: str, *, ts_ns: int = AT_NS, price: str = "100") -> None:
        """Follow the venue's position."""
        self.bus.publish(
            PositionAdjusted(
                ts_ns=ts_ns,
                venue="okx",
                account="main",
                asset=ASSET,
                position_side=PositionSide.NET,
                delta=d(delta),
                price=d(price),
                reason="the venue says so",
            )
        )

    def fill(
        self,
        quantity: str,
        *,
        venue_ns: int,
        trade_id: str = "1",
        client_id: str = "",
        asset: str = ASSET,
    ) -> None:
        """Tell an execution; a negative quantity is a sell."""
        signed = d(quantity)
        self.bus.publish(
            OrderFilled(
                ts_ns=self.time.now_ns(),
                client_id=client_id,
                venue="okx",
                account="main",
                asset=asset,
                venue_ns=venue_ns,
                trade_id=trade_id,
                side=Side.BUY if signed > 0 else Side.SELL,
                price=d(101),
                quantity=abs(signed),
                fee_usd=d(0),
            )
        )

    @property
    def quantity(self) -> Decimal:
        """What the books hold."""
        return self.positions.get(KEY).quantity

    @property
    def standing(self) -> list[str]:
        """The adjustments that nothing explains."""
        return [str(one.delta) for one in self.positions.get(KEY).adjustments]

    @property
    def state(self) -> tuple[str, list[str]]:
        """Both."""
        return str(self.quantity), self.standing


def test_the_execution_replaces_the_adjustment() -> None:
    """Quantity as the venue has it, cash as if the execution alone had come."""
    desk = Desk()
    desk.adjust("-2", price="90")
    desk.fill("-2", venue_ns=AT_NS - SECOND)

    assert desk.quantity == -2
    assert desk.standing == []
    assert desk.positions.get(KEY).cash == 2 * 101


def test_parts_are_explained_one_by_one() -> None:
    """What is beyond the adjustment counts; so does what is left of the adjustment."""
    desk = Desk()
    desk.adjust("3")
    desk.fill("1", venue_ns=AT_NS, trade_id="1")
    assert desk.state == ("3", ["2"])
    desk.fill("5", venue_ns=AT_NS, trade_id="2")
    assert desk.state == ("6", [])


def test_several_adjustments_are_explained_oldest_first() -> None:
    """One execution may have been seen in two steps."""
    desk = Desk()
    desk.adjust("1", ts_ns=AT_NS)
    desk.adjust("1", ts_ns=AT_NS + SECOND)
    desk.fill("1.5", venue_ns=AT_NS - SECOND)
    assert desk.state == ("2.0", ["0.5"])


def test_two_executions_in_one_breath_explain_it_once() -> None:
    """Both are told before anything that follows from the first is folded."""
    desk = Desk()
    desk.adjust("2")

    def tell(_event: SubmitOrders) -> None:
        desk.fill("2", venue_ns=AT_NS, trade_id="1")
        desk.fill("2", venue_ns=AT_NS, trade_id="2")

    desk.bus.subscribe(SubmitOrders, tell)
    desk.bus.publish(SubmitOrders(ts_ns=AT_NS, orders=(), decision=DECISION))

    assert desk.state == ("4", [])


@pytest.mark.parametrize(
    ("quantity", "venue_ns"),
    [("-1", AT_NS), ("1", AT_NS + CLOCKS_NS + 1), ("1", 0)],
    ids=["other way", "later", "at an unknown time"],
)
def test_what_the_position_did_not_contain_counts(quantity: str, venue_ns: int) -> None:
    """It is booked beside the adjustment."""
    desk = Desk()
    desk.adjust("1")
    desk.fill(quantity, venue_ns=venue_ns)
    assert desk.state == (str(1 + d(quantity)), ["1"])


@pytest.mark.parametrize(("created_ns", "held"), [(AT_NS - SECOND, 1), (AT_NS, 2)])
def test_an_order_of_ours_explains_it_only_if_it_was_there(created_ns: int, held: int) -> None:
    """A clock of the venue that lags makes no newer order's execution an old one."""
    desk = Desk()
    order = request(client_id="a", quantity=d(1))
    desk.bus.publish(SubmitOrders(ts_ns=created_ns, orders=(order,), decision=DECISION))
    desk.adjust("1")
    desk.fill("1", venue_ns=AT_NS - 2 * SECOND, client_id="a")
    assert desk.quantity == held


def test_another_leg_is_not_concerned() -> None:
    """Each leg has its own."""
    desk = Desk()
    desk.adjust("1")
    desk.fill("1", venue_ns=AT_NS, asset="ETH-PERP")
    assert desk.standing == ["1"]


def test_few_are_kept_and_a_snapshot_keeps_them() -> None:
    """The newest ones."""
    desk = Desk()
    for number in range(ADJUSTMENTS_KEPT + 2):
        desk.adjust(str(number + 1), ts_ns=AT_NS + number)
    assert desk.standing == [str(number + 3) for number in range(ADJUSTMENTS_KEPT)]

    state = DurableState((desk.positions,))
    restored = PositionBook()
    DurableState((restored,)).load(state.dump())
    assert restored.get(KEY) == desk.positions.get(KEY)
