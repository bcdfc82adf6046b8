"""Orders that a system forgot, and orders that it believed in though they were gone.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events import (
    CancelOrders,
    ForeignOrderSeen,
    OrderCancelled,
    OrderFilled,
)
from perpbot.domain.sides import OrderState, OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.clock import MS, SECOND
from perpbot.simulation.fates import Fate, Message
from perpbot.simulation.model import Ticket
from tests.unit.execution.stand import LONG, SHORT, SYMBOL, Stand, d

MAKER_FIRST = {"execution.fallback": "balanced"}


def _resting(stand: Stand) -> None:
    """Bring a maker order of ours onto the book of the long venue."""
    stand.run(2_500)
    stand.open()
    stand.run(200)
    assert stand.exchanges[LONG].open_orders("main")


def _take_all(stand: Stand, quantity: str) -> None:
    exchange = stand.exchanges[LONG]
    (view,) = exchange.open_orders("main")
    ahead = exchange.book(SYMBOL, 1).bids[0][1] - (view.ticket.quantity - view.filled)
    exchange.take(SYMBOL, Side.SELL, d(quantity) + ahead, d("99.9"))


def _flat(stand: Stand) -> None:
    stand.settle()
    stand.close()
    stand.settle(90)
    stand.check_settled()
    assert not stand.pairs


def test_hummingbot_366_a_restart_knows_the_orders_of_the_last_run() -> None:
    """The process ends with an order on the book: the next one owns it and takes it off."""
    stand = Stand(MAKER_FIRST)
    _resting(stand)
    stand.crash()
    stand.time.run_until(stand.time.now_ns() + 3 * SECOND)
    assert stand.exchanges[LONG].open_orders("main")
    stand.boot()
    _flat(stand)
    assert not stand.exchanges[LONG].open_orders("main")


def test_hummingbot_366_what_filled_while_nobody_ran_is_hedged() -> None:
    """The order fills between two runs: the next one finds the fill and evens it out."""
    stand = Stand(MAKER_FIRST)
    _resting(stand)
    stand.crash()
    _take_all(stand, "1")
    stand.time.run_until(stand.time.now_ns() + SECOND)
    assert stand.held(LONG) == 1
    stand.boot()
    stand.run(7_000)
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    _flat(stand)


def test_krypto_trading_bot_160_a_cancel_without_answer_leaves_no_zombie() -> None:
    """Nobody says whether the cancel worked: the order is asked for and cancelled again."""
    stand = Stand(MAKER_FIRST)
    _resting(stand)
    stand.faults.add("request", Message.CANCEL, times=2)
    _flat(stand)
    assert len(stand.told(CancelOrders)) >= 3
    assert not stand.exchanges[LONG].open_orders("main")


def test_krypto_trading_bot_699_an_order_that_is_gone_is_not_believed_in() -> None:
    """The exchange took the order away and the news was lost: asking brings it out."""
    stand = Stand(MAKER_FIRST)
    _resting(stand)
    stand.faults.add("stream")
    (view,) = stand.exchanges[LONG].open_orders("main")
    stand.exchanges[LONG].cancel("main", SYMBOL, view.order_id)
    stand.run(15_000)
    assert stand.told(OrderCancelled)
    assert not list(stand.core.folds.orders.unsettled())


def test_freqtrade_9128_a_replaced_order_that_filled_leaves_no_ghost_position() -> None:
    """Maker gives way to taker and had filled meanwhile: the taker buys only what is missing."""
    stand = Stand(MAKER_FIRST)
    _resting(stand)
    stand.faults.add("stream", venue=LONG)
    stand.faults.add("response", Message.CANCEL, venue=LONG, times=1)
    _take_all(stand, "2")
    stand.run(8_000)
    assert stand.held(LONG) <= 2, "bought twice"
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    stand.faults.heal()
    _flat(stand)


def test_arbitrader_34_an_exit_that_half_worked_is_finished() -> None:
    """One leg is out, the other refuses: the pair is not called closed before both are."""
    stand = Stand()
    stand.run(2_500)
    stand.open()
    stand.run(500)
    stand.faults.add(
        "request", Message.SUBMIT, fate=Fate(reject="busy"), venue=SHORT, purpose=Purpose.REDUCE
    )
    stand.close()
    stand.run(3_000)
    assert stand.held(LONG) == 0
    assert stand.pairs, "closed with a leg still there"
    stand.faults.heal()
    _flat(stand)
    assert stand.held(SHORT) == 0


def test_orders_of_somebody_else_are_told_and_left_alone() -> None:
    """A person's order in the account is reported, counted by nobody as ours, never cancelled."""
    stand = Stand()
    stand.exchanges[LONG].submit(
        "main",
        Ticket(
            symbol=SYMBOL,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=d(1),
            price=Decimal(90),
            time_in_force=TimeInForce.GTC,
        ),
    )
    stand.run(12_000)
    assert stand.told(ForeignOrderSeen)
    assert not stand.told(CancelOrders)
    assert len(stand.exchanges[LONG].open_orders("main")) == 1


def test_a_fill_told_before_the_order_was_acknowledged_belongs_to_it() -> None:
    """The acknowledgement is late: the fill is bound by our id and booked once."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add("response", Message.SUBMIT, fate=Fate(delay_ns=900 * MS))
    stand.open()
    stand.run(2_000)
    fills = [event for event in stand.told(OrderFilled) if event.venue == LONG]
    assert sum((fill.quantity for fill in fills), d(0)) == 2
    assert all(fill.client_id for fill in fills)
    opened = [stand.core.folds.orders.get(order.client_id) for order in stand.orders(Purpose.OPEN)]
    assert all(order is not None and order.state is OrderState.FILLED for order in opened)
    _flat(stand)
