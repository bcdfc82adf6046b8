"""A power loss took intents with it: what rests of them is taken back, and nothing comes twice."""

from __future__ import annotations

import pytest

from perpbot.domain.events import AlertFired, CancelForgotten, HaltLatched, VenueSnapshot
from perpbot.domain.orders import OrderReport
from perpbot.domain.sides import OrderState, OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.ids import OrderIdentity, decode_order_id, encode_order_id, stable_bits
from perpbot.simulation.fates import Message
from perpbot.simulation.model import Ticket
from tests.unit.execution.stand import LONG, SHORT, SYMBOL, Stand, d

MAKER = {"execution.fallback": "balanced", "execution.maker_timeout_ms": 60_000}


def lose(stand: Stand, kept: int) -> None:
    """Take every record after `kept` away, as a power loss does, and start the next process."""
    stand.crash()
    del stand.journal._records[kept:]
    stand.journal.last_sequence = kept
    stand.boot()


def resting(stand: Stand) -> int:
    """Return how many orders rest at the exchanges."""
    return sum(len(exchange.open_orders("main")) for exchange in stand.exchanges.values())


def test_a_resting_order_whose_intent_is_lost_is_cancelled_at_the_start() -> None:
    """Its id decodes to us and to an earlier run; an alarm names it; no id comes again."""
    stand = Stand(MAKER)
    stand.run(2_500)
    kept = stand.journal.last_sequence
    stand.open()
    stand.run(100)
    assert resting(stand) == 1
    (order,) = stand.orders(Purpose.OPEN)
    stand.quoting.clear()
    lose(stand, kept)
    assert stand.core.folds.orders.get(order.client_id) is None
    stand.run(3_000)
    assert resting(stand) == 0
    assert {event.order.client_id for event in stand.told(CancelForgotten)} == {order.client_id}
    alarms = [event for event in stand.told(AlertFired) if event.name == "forgotten_order"]
    assert [order.client_id in alarm.text for alarm in alarms] == [True]
    assert not stand.told(HaltLatched)
    stand.quoting.update({LONG, SHORT})
    stand.run(3_000)
    stand.open()
    stand.run(200)
    (other,) = stand.orders(Purpose.OPEN)
    assert other.client_id != order.client_id


def test_a_cancel_that_is_lost_is_asked_for_again() -> None:
    """At the next comparison, with one alarm for both."""
    stand = Stand(MAKER)
    stand.run(2_500)
    kept = stand.journal.last_sequence
    stand.open()
    stand.run(100)
    stand.quoting.clear()
    stand.faults.add("request", Message.CANCEL, times=1)
    lose(stand, kept)
    stand.run(30_000)
    assert resting(stand) == 0
    assert len(stand.told(CancelForgotten)) >= 2
    assert len([e for e in stand.told(AlertFired) if e.name == "forgotten_order"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"purpose": Purpose.PROTECT}, id="protective stop"),
        pytest.param({"account": 7}, id="another account"),
        pytest.param({"strategy": stable_bits("guardian")}, id="the guardian"),
        pytest.param({"epoch": 900_000}, id="a later run"),
        pytest.param(None, id="no id of ours"),
    ],
)
def test_what_is_not_forgotten_by_us_is_left_alone(changes: dict[str, int] | None) -> None:
    """Orders that are not ours are never cancelled, nor are protective stops."""
    stand = Stand(MAKER)
    stand.run(2_500)
    kept = stand.journal.last_sequence
    stand.open()
    stand.run(100)
    (order,) = stand.orders(Purpose.OPEN)
    known = decode_order_id(order.client_id)
    assert known is not None
    stand.quoting.clear()
    if changes is None:
        name = "somebody"
    else:
        fields = {field: getattr(known, field) for field in OrderIdentity.__struct_fields__}
        name = encode_order_id(OrderIdentity(**{**fields, "sequence": 99, **changes}))
    stand.exchanges[LONG].submit(
        "main",
        Ticket(
            symbol=SYMBOL,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=d(1),
            price=d(50),
            time_in_force=TimeInForce.GTC,
            client_id=name,
        ),
    )
    lose(stand, kept)
    stand.run(10_000)
    left = [view.ticket.client_id for view in stand.exchanges[LONG].open_orders("main")]
    assert name in left


def test_a_forgotten_order_of_an_unknown_market_is_told_a_person() -> None:
    """Nothing is known to cancel it by; nobody may believe that it is gone."""
    stand = Stand(MAKER)
    stand.run(2_500)
    stand.quoting.clear()
    mine = OrderIdentity(
        account=stable_bits("main"),
        strategy=stable_bits("arbitrage"),
        epoch=0,
        sequence=7,
        purpose=Purpose.OPEN,
        leg=0,
        attempt=0,
    )
    report = OrderReport(
        venue=LONG,
        account="main",
        client_id=encode_order_id(mine),
        venue_order_id="1",
        symbol="GONE",
        state=OrderState.ACCEPTED,
        side=Side.BUY,
        quantity=d(1),
    )
    for _ in range(2):
        stand.core.bus.publish(
            VenueSnapshot(venue=LONG, reason="test", asked_ns=0, orders=(report,))
        )
    assert not stand.told(CancelForgotten)
    [alarm] = [event for event in stand.told(AlertFired) if event.name == "forgotten_order"]
    assert report.client_id in alarm.text
    assert "by hand" in alarm.text
