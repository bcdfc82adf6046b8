"""One leg filled, the other did not, and nobody hedged it.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events import OrderFilled, PairPlanned, TradeCompleted
from perpbot.domain.sides import OrderState, PairState, Purpose, Side
from perpbot.kernel.clock import MS, SECOND
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LONG, SHORT, SYMBOL, THIRD, Stand, contract, d

MAKER_FIRST = {"execution.fallback": "balanced"}


def _ready(stand: Stand) -> Stand:
    stand.run(2_500)
    return stand


def _flat(stand: Stand) -> None:
    stand.settle()
    stand.close()
    stand.settle(90)
    stand.check_settled()
    assert not stand.pairs


def _take(stand: Stand, quantity: str) -> None:
    """Somebody takes `quantity` of our order on the long venue, and what is before it."""
    exchange = stand.exchanges[LONG]
    (view,) = exchange.open_orders("main")
    left = view.ticket.quantity - view.filled
    # The makers around us quote anew all the time: after the first fill we are the oldest.
    ahead = d(0) if view.filled else exchange.book(SYMBOL, 1).bids[0][1] - left
    exchange.take(SYMBOL, Side.SELL, d(quantity) + ahead, d("99.9"))


def test_hummingbot_2501_maker_filled_while_it_was_cancelled() -> None:
    """The order fills while its cancel is on the way: the fill is hedged all the same."""
    stand = _ready(Stand(MAKER_FIRST))
    stand.faults.add("request", Message.CANCEL, fate=Fate(delay_ns=400 * MS))
    stand.open()
    while not any(
        order.state is OrderState.PENDING_CANCEL for order in stand.core.folds.orders.unsettled()
    ):
        stand.run(100)
    _take(stand, "2")
    stand.settle()

    assert stand.orders(Purpose.HEDGE) or stand.orders(Purpose.REDUCE)
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    _flat(stand)


def test_hummingbot_855_collateral_of_both_legs_is_set_aside_before_the_first() -> None:
    """Chances at once, capital for less: what opens has the margin of both its legs beforehand."""
    small_pool = {
        "capital.volume_share_ratio": 0.982,
        "capital.arbitrage_share_ratio": 0.018,
        "capital.reserve_share_ratio": 0.0,
    }
    stand = _ready(Stand(small_pool, venues=(LONG, SHORT, THIRD)))
    for long, short in ((LONG, SHORT), (LONG, THIRD), (SHORT, THIRD)):
        stand.open(2.0, long, short)
    stand.run(1_000)

    pool = d(30_000) * d("0.018")
    reserved = [event.reservation for event in stand.told(PairPlanned)]
    assert reserved
    assert all(len(event.legs) == 2 and sum(event.legs.values()) <= pool for event in reserved)
    assert stand.core.capital.reserved_total() <= pool
    for pair in stand.pairs:
        assert pair.state is PairState.HEDGED
        assert abs(pair.imbalance) < stand.tolerance
    assert sum(stand.held(venue) for venue in stand.names) == 0
    _flat(stand)


def test_hummingbot_4779_nothing_opens_while_the_other_leg_is_unknown() -> None:
    """The pair sends no further opening order as long as a leg has no answer."""
    stand = _ready(Stand(MAKER_FIRST))
    stand.open()
    stand.run(200)
    stand.faults.add("response", Message.SUBMIT, venue=SHORT)
    stand.faults.add("stream", venue=SHORT)
    stand.faults.add("response", Message.QUERY, venue=SHORT)
    stand.faults.add("response", Message.RECONCILE, venue=SHORT)
    _take(stand, "0.5")
    stand.run(1_400)
    assert len(stand.orders(Purpose.HEDGE)) == 1
    assert len(stand.orders(Purpose.OPEN)) == 1

    stand.faults.heal()
    _flat(stand)


def test_hummingbot_3849_taker_refused_in_a_fast_market() -> None:
    """The hedge is refused again and again: it is tried anew, then the first leg is taken back."""
    stand = _ready(Stand())
    stand.faults.add("request", Message.SUBMIT, fate=Fate(reject="price band"), venue=SHORT)
    stand.open()
    opened_ns = stand.time.now_ns()
    stand.settle()

    assert len(stand.orders(Purpose.HEDGE)) > 1
    assert stand.held(LONG) == 0
    (end,) = stand.told(TradeCompleted)
    assert end.ts_ns - opened_ns < 9 * SECOND
    stand.check_settled()


def test_hummingbot_5688_many_small_fills_are_hedged_as_one_sum() -> None:
    """Each fill alone is below the other venue's minimum; together they are hedged."""
    stand = _ready(Stand(MAKER_FIRST, contracts={SHORT: contract(min_quantity=Decimal("0.1"))}))
    stand.open()
    stand.run(200)
    for _ in range(4):
        _take(stand, "0.03")
        stand.run(100)
    hedges = stand.orders(Purpose.HEDGE)
    assert [order.quantity for order in hedges] == [d("0.12")]
    _flat(stand)


def test_hedge_is_bound_to_what_was_found_not_to_what_was_asked() -> None:
    """A leg whose request had no answer is hedged by its true fill, half of the order."""
    stand = Stand()
    stand.depth[LONG] = (5.0, 1.0)
    _ready(stand)
    stand.faults.add("response", Message.SUBMIT, venue=LONG, times=1)
    stand.faults.add("stream", venue=LONG)
    stand.open()
    stand.run(9_000)

    bought = sum((e.quantity for e in stand.told(OrderFilled) if e.venue == LONG), d(0))
    assert bought > 0
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    stand.faults.heal()
    _flat(stand)
