"""The trader on a whole node: every way a pair can go."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import RiskDenied
from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    EvaluatePair,
    HedgeRequired,
    OrderCancelled,
    OrderFilled,
    PairPlanned,
    PositionAdjusted,
    RiskRejected,
    TradeCompleted,
)
from perpbot.domain.sides import OrderState, PairState, PositionSide, Purpose, Side
from perpbot.execution.pair import Pair
from perpbot.kernel.clock import MS, SECOND
from perpbot.simulation.fates import Fate, Message
from perpbot.simulation.translation import instrument_of
from tests.unit.execution.stand import (
    ASSET,
    CONTRACT,
    LONG,
    SHORT,
    SYMBOL,
    Stand,
    contract,
    d,
)

LOT = instrument_of(SHORT, CONTRACT)
BALANCED = {"execution.fallback": "balanced"}


def ready(*args: Any, **more: Any) -> Stand:
    """A node that may open pairs."""
    stand = Stand(*args, **more)
    stand.run(2_500)
    return stand


def hedged(*args: Any, **more: Any) -> tuple[Stand, Pair]:
    """A node with one hedged pair of two coins."""
    stand = ready(*args, **more)
    stand.open()
    stand.run(500)
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert pair.matched == 2
    return stand, pair


def refuse(stand: Stand, venue: str, purpose: Purpose | None = None, times: int = 99) -> None:
    """Let a venue's front door refuse orders."""
    stand.faults.add(
        "request",
        Message.SUBMIT,
        fate=Fate(reject="no"),
        venue=venue,
        purpose=purpose,
        times=times,
    )


def the_end(stand: Stand) -> TradeCompleted:
    """Everything comes to rest flat; return how the last pair ended."""
    stand.settle()
    stand.check_settled()
    assert not stand.pairs
    end: TradeCompleted = stand.told(TradeCompleted)[-1]
    return end


# --- entering ---


def test_both_legs_fill() -> None:
    """Both legs fill: the pair is hedged at its planned size, and leaves when told to."""
    stand, pair = hedged()
    assert (pair.long.quantity, pair.short.quantity) == (d(2), d(-2))
    stand.close()
    end = the_end(stand)
    assert end.opened
    assert end.exit_reason == "test"
    assert end.pnl.net == stand.accountant.summary()["net"]
    assert stand.states() == ["hedged", "closing", "flat"]


def test_neither_leg_fills() -> None:
    """Both legs are refused: nothing was held, the pair ends at once."""
    stand = ready()
    refuse(stand, LONG)
    refuse(stand, SHORT)
    stand.open()
    end = the_end(stand)
    assert not end.opened
    assert end.exit_reason == "not_filled"


@pytest.mark.parametrize("venue", [LONG, SHORT], ids=["long", "short"])
def test_one_leg_unfilled_is_hedged_within_budget(venue: str) -> None:
    """One leg is refused once: a hedge completes it, at most the budget beyond its plan."""
    stand = ready()
    refuse(stand, venue, times=1)
    stand.open()
    stand.run(500)
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert pair.matched == 2
    (hedge,) = stand.orders(Purpose.HEDGE)
    assert hedge.venue == venue
    worst = pair.plan.long_price if venue == LONG else pair.plan.short_price
    assert hedge.price is not None
    assert (hedge.price - worst) * hedge.side.sign * 2 <= pair.plan.loss_budget_usd
    assert len(stand.told(HedgeRequired)) == 1
    stand.close()
    the_end(stand)


def test_hedge_limit_never_exceeds_the_budget() -> None:
    """The slip of a late try is cut where it would cost more than the budget."""
    stand = ready({"execution.unwind_loss_budget_bps": 20.0, "execution.retry_attempts": 8})
    refuse(stand, SHORT, times=6)
    stand.open()
    stand.prices[SHORT] = 100.9
    stand.quote()
    stand.run(4_000)
    (plan,) = [event.plan for event in stand.told(PairPlanned)]
    hedges = stand.orders(Purpose.HEDGE)
    assert len(hedges) == 6
    last = plan.short_price - plan.loss_budget_usd / 2
    assert min(order.price or 0 for order in hedges) == LOT.round_price(last, Side.SELL)


def test_hedge_beyond_budget_is_not_sent() -> None:
    """The market of the missing leg ran away: the filled leg is taken back on its own venue."""
    stand = ready({"execution.unwind_loss_budget_bps": 20.0})
    refuse(stand, SHORT, times=1)
    stand.open()
    stand.prices[SHORT] = 100.6
    stand.quote()
    end = the_end(stand)
    assert end.exit_reason == "unwound"
    assert not stand.orders(Purpose.HEDGE)
    reductions = stand.orders(Purpose.REDUCE)
    assert reductions
    assert all(order.venue == LONG and order.reduce_only for order in reductions)


def test_refused_hedges_end_in_unwinding() -> None:
    """A hedge is tried `retry_attempts` times, then what is held is taken back."""
    stand = ready({"execution.retry_attempts": 2})
    refuse(stand, SHORT)
    stand.open()
    end = the_end(stand)
    assert end.exit_reason == "unwound"
    assert not end.opened
    assert len(stand.orders(Purpose.HEDGE)) == 2
    assert stand.states() == ["hedging", "unwinding", "flat"]


def test_smaller_fill_is_hedged() -> None:
    """One leg fills by half: the hedge brings the rest."""
    stand = ready()
    stand.depth[SHORT] = (1.0, 1.0)
    stand.open()
    stand.run(40)
    stand.depth[SHORT] = (5.0, 5.0)
    stand.run(2_000)
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert pair.matched == 2


def test_partial_below_the_other_minimum_is_unwound() -> None:
    """A difference that the other venue does not trade is taken back where it is held."""
    stand = ready(contracts={LONG: contract(min_quantity=d("0.5"), min_notional=d(0))})
    stand.depth[LONG] = (5.0, 0.7)
    stand.depth[SHORT] = (1.0, 5.0)
    stand.open()
    stand.run(3_000)
    (pair,) = stand.pairs
    # 1 short against 0.7 long: the 0.3 are below the 0.5 of the long venue.
    assert pair.state is PairState.HEDGED
    assert (pair.long.quantity, pair.short.quantity) == (d("0.7"), d("-0.7"))
    assert not stand.orders(Purpose.HEDGE)
    assert {order.venue for order in stand.orders(Purpose.REDUCE)} == {SHORT}


@pytest.mark.parametrize(
    ("enforced", "left"), [(True, "0"), (False, "0.3")], ids=["reduce-only", "no reduce-only"]
)
def test_matched_below_the_minimum_is_closed(enforced: bool, left: str) -> None:
    """What both legs hold is less than a venue trades: such a pair is not held.

    A venue that enforces reductions cuts its least order to the position.
    """
    stand = ready(
        contracts={LONG: contract(min_quantity=d("0.4"), min_notional=d(0))},
        capabilities={"reduce_only": enforced},
    )
    stand.open()
    stand.depth = {LONG: (5.0, 0.3), SHORT: (0.3, 5.0)}
    stand.quote()
    stand.run(20_000)
    (end,) = stand.told(TradeCompleted)
    assert end.exit_reason in {"closed", "below_minimum"}
    assert (end.dust_long, end.dust_short) == (d(left), d(0))
    told = [alert.name for alert in stand.told(AlertFired)]
    assert ("rest_below_minimum" in told) is not enforced
    assert stand.core.capital.reserved_total() == 0


def test_rest_below_its_own_minimum_closes_the_pair() -> None:
    """A difference that neither venue trades by itself goes with the whole pair."""
    stand = ready(
        contracts={
            LONG: contract(min_quantity=d("0.5"), min_notional=d(0)),
            SHORT: contract(min_quantity=d("0.5"), min_notional=d(0)),
        }
    )
    stand.depth[SHORT] = (1.7, 5.0)
    stand.open()
    end = the_end(stand)
    assert end.opened
    assert stand.states() == ["hedging", "unwinding", "closing", "flat"]


def test_legs_that_differ_by_less_than_a_step_are_hedged() -> None:
    """Steps differ: what lies below the step of the heavier leg counts as equal."""
    stand = ready(contracts={SHORT: contract(quantity_step=d("0.1"), min_quantity=d("0.1"))})
    stand.open()
    stand.depth[LONG] = (5.0, 1.95)
    stand.quote()
    stand.run(40)
    stand.prices[LONG] = 103.0  # no hedge is worth that
    stand.run(3_000)
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert (pair.long.quantity, pair.short.quantity) == (d("1.95"), d(-2))
    stand.close()
    stand.settle()
    assert not stand.pairs


# --- not knowing ---


def test_both_unknown_means_no_new_orders_until_resolved() -> None:
    """No answer on either leg: nothing is sent but questions, and then the pair goes on."""
    stand = ready()
    stand.faults.add("response", Message.SUBMIT)
    stand.faults.add("stream")
    stand.faults.add("request", Message.QUERY)
    stand.faults.add("request", Message.RECONCILE)
    stand.open()
    stand.run(12_000)
    orders = list(stand.core.folds.orders.unsettled())
    assert [order.state for order in orders] == [OrderState.UNKNOWN] * 2
    assert stand.core.folds.orders.count == 2
    stand.faults.heal()
    stand.settle()
    (pair,) = stand.pairs
    assert pair.matched == 2
    assert stand.core.folds.orders.count == 2
    stand.close()
    the_end(stand)


def test_requests_that_never_arrived_are_proven_absent() -> None:
    """The venue does not know the orders after their expiry: the pair was never filled."""
    stand = ready()
    stand.faults.add("request", Message.SUBMIT, times=2)
    stand.open()
    end = the_end(stand)
    assert end.exit_reason == "not_filled"


def test_silent_venue_does_not_keep_the_other_leg_naked() -> None:
    """After the limit for opening, what is proven is taken back; what turns up later too."""
    stand = ready({"execution.wait_fill_limit_s": 5.0})
    stand.faults.down.add(SHORT)
    stand.open()
    stand.run(4_000)
    assert stand.held(LONG) == 2
    stand.run(8_000)
    assert stand.held(LONG) == 0
    assert stand.states() == ["unwinding"]
    stand.faults.heal()
    end = the_end(stand)
    assert end.exit_reason == "unwound"


def test_late_answer_of_a_silent_venue_is_unwound_too() -> None:
    """The silent leg had filled: once it is known it is taken back."""
    stand = ready({"execution.wait_fill_limit_s": 5.0})
    stand.faults.add("response", venue=SHORT)
    stand.faults.add("stream", venue=SHORT)
    stand.open()
    stand.run(12_000)
    assert (stand.held(LONG), stand.held(SHORT)) == (d(0), d(-2))
    stand.faults.heal()
    the_end(stand)


# --- maker first ---


def test_a_leg_that_somebody_closed_while_it_was_hedged_ends_the_pair() -> None:
    """The other leg never filled and this one is gone: there is nothing left to hedge."""
    stand = ready()
    refuse(stand, SHORT)
    stand.open()
    while stand.states() != ["hedging"]:
        stand.run(5, every_ms=5)
    stand.by_hand(LONG, Side.SELL, str(stand.held(LONG)))
    done = the_end(stand)
    assert stand.states() == ["hedging", "flat"]
    assert (done.exit_reason, done.opened) == ("not_filled", False)


def test_maker_first_hedges_increments() -> None:
    """The thinner leg rests; each of its fills is hedged as soon as the other venue trades it."""
    stand = ready(BALANCED)
    stand.open()
    stand.run(200)
    (first,) = stand.orders(Purpose.OPEN)
    assert first.venue == LONG
    assert first.price == d("99.9")
    exchange = stand.exchanges[LONG]
    for quantity in ("0.5", "0.005", "1.495"):
        exchange.take(SYMBOL, Side.SELL, d(quantity) + _ahead(stand), d("99.9"))
        stand.run(400)
    assert [order.quantity for order in stand.orders(Purpose.HEDGE)] == [d("0.5"), d("1.5")]
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert pair.matched == 2
    stand.close()
    the_end(stand)


def _ahead(stand: Stand) -> Decimal:
    """What lies before our order at its price."""
    book = stand.exchanges[LONG].book(SYMBOL, 1)
    ours = stand.exchanges[LONG].open_orders("main")
    left = sum((view.ticket.quantity - view.filled for view in ours), Decimal(0))
    return book.bids[0][1] - left


def test_maker_that_nobody_takes_is_cancelled() -> None:
    """After the maker's time the order is taken back and the pair ends."""
    stand = ready(BALANCED)
    stand.open()
    stand.run(2_500)
    assert not stand.told(CancelOrders)
    end = the_end(stand)
    assert end.exit_reason == "not_filled"
    assert len(stand.told(CancelOrders)) == 1


def test_failed_cancel_is_asked_again() -> None:
    """A cancel that the venue refuses, or does not answer, does not leave the order resting."""
    stand = ready(BALANCED)
    stand.faults.add("request", Message.CANCEL, fate=Fate(reject="busy"), times=1)
    stand.faults.add("request", Message.CANCEL, times=1)
    stand.open()
    end = the_end(stand)
    assert end.exit_reason == "not_filled"
    assert len(stand.told(CancelOrders)) >= 3
    assert not stand.core.trader._cancelled_ns, "what has ended is forgotten"


def test_hedge_after_cancels_what_rests() -> None:
    """`hedge_after` counts from the first fill: the rest of the maker order is then cancelled."""
    stand = ready({**BALANCED, "execution.hedge_after_ms": 800})
    refuse(stand, SHORT, Purpose.HEDGE, times=1)
    stand.open()
    stand.run(200)
    stand.exchanges[LONG].take(SYMBOL, Side.SELL, d("0.5") + _ahead(stand), d("99.9"))
    filled_ns = stand.time.now_ns()
    stand.faults.add("request", Message.SUBMIT, venue=SHORT, purpose=Purpose.HEDGE)
    stand.run(3_000)
    (cancel, *_) = stand.told(CancelOrders)
    assert 700 * MS <= cancel.ts_ns - filled_ns <= SECOND
    stand.faults.heal()
    stand.settle()
    stand.close()
    the_end(stand)


# --- leaving ---


def test_exit_with_one_leg_stuck() -> None:
    """One venue refuses for a while: the other leg does not wait, the stuck one is tried on."""
    stand, _ = hedged()
    refuse(stand, SHORT, Purpose.REDUCE, times=8)
    stand.close()
    stand.run(300)
    assert stand.held(LONG) == 0
    the_end(stand)
    prices = [order.price for order in stand.orders(Purpose.REDUCE) if order.venue == SHORT]
    assert None in prices, "after several tries it goes at market"


def test_other_leg_leaves_while_one_is_unanswered() -> None:
    """A leg whose order has no answer does not hold up the tries of the other."""
    stand, _ = hedged()
    stand.faults.down.add(SHORT)
    refuse(stand, LONG, Purpose.REDUCE, times=1)
    stand.close()
    stand.run(3_000)
    assert stand.held(LONG) == 0
    assert stand.held(SHORT) == -2
    stand.faults.heal()
    the_end(stand)


def test_exit_takes_what_the_book_has() -> None:
    """A thin book is taken piece by piece."""
    stand, _ = hedged()
    stand.depth = {LONG: (0.6, 0.6), SHORT: (0.9, 0.9)}
    stand.close()
    end = the_end(stand)
    assert end.opened
    assert len(stand.orders(Purpose.REDUCE)) >= 4


def test_reduction_that_risk_refuses_is_tried_again() -> None:
    """Without venue-enforced reductions our own books must prove them."""
    stand, _ = hedged(capabilities={"reduce_only": False})
    stand.close()
    the_end(stand)
    assert not any(order.reduce_only for order in stand.orders(Purpose.REDUCE))


# --- what others do ---


def test_leg_that_the_venue_moved_is_followed() -> None:
    """Half of the hedged long leg is taken away (ADL): the short leg follows."""
    stand, pair = hedged()
    stand.by_hand(LONG, Side.SELL, "0.75")
    stand.settle()
    stand.check_settled()
    assert pair.state is PairState.HEDGED
    assert (pair.long.quantity, pair.short.quantity) == (d("1.25"), d("-1.25"))
    stand.close()
    the_end(stand)


def test_leg_that_was_sold_through_goes_back_to_zero() -> None:
    """Somebody sold more than was held: nothing of the pair remains, on either side."""
    stand, _ = hedged()
    stand.by_hand(LONG, Side.SELL, "3")
    the_end(stand)


def test_adjusted_position_is_followed() -> None:
    """A journalled adjustment of a leg moves the pair like a fill."""
    stand, pair = hedged()
    stand.core.bus.publish(
        PositionAdjusted(
            ts_ns=stand.time.now_ns(),
            venue=SHORT,
            account="main",
            asset=ASSET,
            position_side=PositionSide.NET,
            delta=d("0.5"),
            price=d(101),
            reason="test",
        )
    )
    stand.run(500)
    assert (pair.long.quantity, pair.short.quantity) == (d("1.5"), d("-1.5"))
    assert pair.state is PairState.HEDGED


def test_execution_told_after_the_end_is_taken_back() -> None:
    """The venue cancelled the order, the pair ended, then a fill turns up: it is unwound."""
    stand = ready()
    stand.faults.add("stream", venue=LONG, fate=Fate(delay_ns=3 * SECOND), times=1)
    stand.faults.add("response", Message.SUBMIT, venue=LONG, times=1, fate=Fate(drop=True))
    refuse(stand, SHORT)
    stand.open()
    # The venue says that the order ended with nothing, while its execution is on the way.
    (order,) = [o for o in stand.core.folds.orders.unsettled() if o.request.venue == LONG]
    stand.core.bus.publish(
        OrderCancelled(ts_ns=stand.time.now_ns(), client_id=order.request.client_id, venue=LONG)
    )
    stand.run(1_000)
    assert not stand.pairs
    stand.run(10_000)
    the_end(stand)
    ends = stand.told(TradeCompleted)
    assert [end.exit_reason for end in ends] == ["not_filled", "late_fill"]


def test_late_execution_is_booked_to_whoever_holds_the_leg() -> None:
    """Another pair has taken the leg since: the late execution is its to even out."""
    stand, pair = hedged()
    stand.close()
    stand.settle()
    assert not stand.pairs
    old = stand.orders(Purpose.OPEN)[0]
    stand.open()
    stand.run(500)
    (newer,) = stand.pairs
    assert newer.plan.pair_id != pair.plan.pair_id
    ours = stand.core.folds.pairs
    assert ours._place(_late_fill(stand, old.client_id))[0] == newer.plan.pair_id  # type: ignore[index]


def _late_fill(stand: Stand, client_id: str) -> Any:
    return OrderFilled(
        ts_ns=stand.time.now_ns(),
        client_id=client_id,
        venue=LONG,
        account="main",
        asset=ASSET,
        trade_id="late",
        side=Side.BUY,
        price=d(100),
        quantity=d("0.5"),
        fee_usd=d(0),
        cumulative=d(2),
        owner="",
    )


def test_refusals_of_numbers_are_journalled() -> None:
    """A hedge that its own checks refuse says why, and the leg is taken back."""
    stand = ready(contracts={SHORT: contract(tick_size=d("0.1"))})
    refuse(stand, SHORT, times=1)
    stand.open()
    stand.core.risk.check_hedge = _denied  # type: ignore[method-assign,assignment]
    end = the_end(stand)
    assert end.exit_reason == "unwound"
    (refused,) = [event for event in stand.told(RiskRejected) if event.gate == "hedge"]
    assert refused.rule == "test"


def _denied(*_args: object) -> Any:
    raise RiskDenied("hedge", "test", "1", "0")


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_kill_switch_ladder(level: int) -> None:
    """K1 to K3 keep a hedged pair, K4 and K5 close it; none lets another one open."""
    stand, _ = hedged()
    stand.core.kill_switch.engage(level, actor="test", reason="drill")
    stand.run(4_000)
    assert len(stand.pairs) == (1 if level < 4 else 0)
    stand.open()
    stand.run(500)
    assert len(stand.pairs) == (1 if level < 4 else 0)
    assert stand.core.engine.refused


def test_look_at_a_pair_that_is_gone_changes_nothing() -> None:
    """An appointment may come after the end."""
    stand, pair = hedged()
    stand.close()
    the_end(stand)
    stand.events.clear()
    stand.core.bus.publish(EvaluatePair(ts_ns=1, pair_id=pair.plan.pair_id))
    assert [event.kind for event in stand.events] == ["EVALUATE_PAIR"]
