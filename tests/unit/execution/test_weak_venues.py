"""Venues that find no ended order, take no reduce-only flag, or had something else going on.

Each test is a finding of `perpbot chaos`: the seed is in tests/simulation/corpus.txt.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.capabilities import Lookup
from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    OrderCancelled,
    OrderProvenAbsent,
    TradeCompleted,
)
from perpbot.domain.sides import Purpose, Side
from perpbot.simulation.fates import Fate, Message
from tests.unit.execution.stand import LONG, SHORT, Stand, contract, d

FORGETFUL = {"lookup": Lookup.OPEN_ONLY}
BALANCED = {"execution.fallback": "balanced"}


def _hedged(stand: Stand) -> None:
    stand.run(2_500)
    stand.open()
    stand.run(500)
    assert len(stand.pairs) == 1


def test_unknown_order_is_proven_absent_by_complete_answers() -> None:
    """Seed 10: where no ended order is found by its id, open orders and fills are the proof."""
    stand = Stand(capabilities=FORGETFUL)
    _hedged(stand)
    stand.faults.add("request", Message.SUBMIT, venue=SHORT, purpose=Purpose.REDUCE, times=1)
    stand.close()
    stand.settle(90)
    stand.check_settled()
    assert not stand.pairs
    assert len(stand.told(OrderProvenAbsent)) == 1


def test_unknown_order_is_not_absent_too_early() -> None:
    """Without expiry the proof needs two answers long after the intent."""
    stand = Stand(capabilities={**FORGETFUL, "request_expiry": False})
    _hedged(stand)
    stand.faults.add("request", Message.SUBMIT, venue=SHORT, purpose=Purpose.REDUCE, times=1)
    sent_ns = stand.time.now_ns()
    stand.close()
    stand.settle(120)
    (proof,) = stand.told(OrderProvenAbsent)
    assert proof.ts_ns - sent_ns >= 35_000_000_000


def test_cancel_whose_news_was_lost_is_concluded_from_the_open_orders() -> None:
    """Seed 257: the order is gone, nobody said so, and asking by id finds nothing."""
    stand = Stand(BALANCED, capabilities=FORGETFUL)
    stand.run(2_500)
    stand.faults.add("response", Message.CANCEL)
    stand.faults.add("stream")
    stand.open()
    stand.run(4_000)
    stand.faults.heal()
    stand.settle(60)
    stand.check_settled()
    assert not stand.pairs
    assert "open orders" in stand.told(OrderCancelled)[-1].reason


def test_refused_cancel_is_not_asked_again_at_once() -> None:
    """Seed 190: a venue that refuses every cancel is not flooded with them."""
    stand = Stand(BALANCED)
    stand.run(2_500)
    stand.faults.add("request", Message.CANCEL, fate=Fate(reject="not open"))
    stand.open()
    stand.run(10_000)
    assert 2 <= len(stand.told(CancelOrders)) <= 8


def test_dust_on_the_other_side_does_not_hold_a_leg_for_ever() -> None:
    """Seed 283: what something opposite has closed already stays behind as dust."""
    stand = Stand(capabilities={"reduce_only": False})
    stand.run(2_500)
    stand.by_hand(SHORT, Side.BUY, "0.055")
    stand.by_hand(SHORT, Side.SELL, "0.05")
    stand.run(500)
    stand.open()
    stand.run(8_000)
    stand.close()
    stand.settle()
    stand.check_settled()
    assert not stand.pairs
    assert stand.held(LONG) == stand.held(SHORT) == 0
    assert stand.told(TradeCompleted)[-1].dust_short == d("-0.005")


def test_rest_below_the_minimum_notional_is_dust_without_reduce_only() -> None:
    """Seed 2043: a venue that takes no reduce-only orders takes no small ones either."""
    small = contract(min_notional=Decimal(20))
    stand = Stand(contracts={LONG: small, SHORT: small}, capabilities={"reduce_only": False})
    _hedged(stand)
    stand.by_hand(SHORT, Side.BUY, "1.85")
    stand.run(300)
    stand.close()
    stand.settle()
    assert not stand.pairs
    assert not list(stand.core.folds.orders.unsettled())
    assert len(stand.orders(Purpose.REDUCE)) <= 6


def test_stray_execution_raises_an_alarm() -> None:
    """Seed 105: what no order and no pair explains is booked, and a person is told."""
    stand = Stand()
    stand.run(2_500)
    stand.by_hand(SHORT, Side.BUY, "0.05")
    stand.run(500)
    assert [a.name for a in stand.told(AlertFired)] == ["stray_fill"]
    assert stand.held(SHORT) == d("0.05")
