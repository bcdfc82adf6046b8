"""The trader on a whole node: every way a pair can go."""

from __future__ import annotations

from perpbot.domain.events import TradeCompleted
from perpbot.domain.sides import PairState
from tests.unit.execution.stand import Stand, d


def test_both_legs_fill() -> None:
    """Both legs fill: the pair is hedged at its planned size."""
    stand = Stand()
    stand.run(3_000)
    stand.open()
    stand.run(1_000)
    (pair,) = stand.pairs
    assert pair.state is PairState.HEDGED
    assert (pair.long.quantity, pair.short.quantity) == (d(2), d(-2))
    stand.close()
    stand.settle()
    stand.check_settled()
    (done,) = stand.told(TradeCompleted)
    assert done.opened
    assert done.exit_reason == "test"
    assert not stand.pairs
