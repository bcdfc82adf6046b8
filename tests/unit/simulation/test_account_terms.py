from __future__ import annotations

from perpbot.simulation.model import (
    Refusal,
)
from tests.unit.simulation.desk import Desk, profile, refusal


def test_position_mode_changes_only_when_idle(desk: Desk) -> None:
    """Open orders, positions and venues without hedge mode refuse."""
    order = desk.buy("1", "90")
    assert refusal(desk.exchange.set_hedge_mode, "ann", enabled=True) is Refusal.POSITION_MODE
    desk.exchange.set_hedge_mode("ann", enabled=False)
    desk.exchange.cancel("ann", "BTCUSDT", order.order_id)
    desk.exchange.set_hedge_mode("ann", enabled=True)
    one_way = Desk(profile(hedge_mode=False))
    assert refusal(one_way.exchange.set_hedge_mode, "ann", enabled=True) is Refusal.POSITION_MODE


def test_leverage_is_bounded_and_must_be_carried(desk: Desk) -> None:
    """1 to the contract's maximum; lowering it needs the margin."""
    assert desk.exchange.leverage("ann", "BTCUSDT") == 10
    desk.exchange.set_leverage("ann", "BTCUSDT", 20)
    assert refusal(desk.exchange.set_leverage, "ann", "BTCUSDT", 21) is Refusal.BAD_QUANTITY
    desk.buy("15000", "95")
    found = refusal(desk.exchange.set_leverage, "ann", "BTCUSDT", 1)
    assert found is Refusal.INSUFFICIENT_MARGIN
    assert desk.exchange.leverage("ann", "BTCUSDT") == 20
