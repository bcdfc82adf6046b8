"""A venue that tells of order `a`, and what became of it."""

from __future__ import annotations

from typing import Any

from perpbot.domain.events import (
    FillReported,
    OrderReported,
)
from perpbot.domain.orders import OrderReport
from perpbot.domain.sides import OrderState
from tests.unit.portfolio.office import Office, fill_report, request

S = OrderState


def office(**changes: Any) -> Office:
    """Return an office with order `a` intended."""
    desk = Office()
    desk.submit(request(**changes))
    return desk


def say(desk: Office, *reports: OrderReport) -> None:
    """The venue speaks."""
    for report in reports:
        desk.bus.publish(OrderReported(report=report))


def tell_fill(desk: Office, *trade_ids: str, **changes: Any) -> None:
    """The venue tells executions."""
    for trade_id in trade_ids:
        desk.bus.publish(FillReported(report=fill_report(trade_id, **changes)))


def state(desk: Office) -> OrderState:
    """Where order `a` is."""
    order = desk.orders.get("a")
    assert order is not None
    return order.state
