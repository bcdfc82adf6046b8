"""The steps of a restart in plain words."""

from __future__ import annotations

from collections.abc import Callable

from perpbot.app.core import Core
from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    ClosePair,
    Event,
    OrderUnknown,
    PairStateChanged,
    QueryOrder,
    ReconcileVenue,
    RiskRejected,
    SubmitOrders,
    TradeCompleted,
)
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import UNANSWERED, OrderState
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import Order


def awaited(order: Order, intake: ReportIntake) -> str:
    """Say what ends an order."""
    if order.state in UNANSWERED:
        return f"an answer by its client id; {intake.terms_of_absence(order)}"
    owed = intake.filled_by_venue(order) - order.filled
    if owed > 0:
        return f"executions of {plain(owed)} that the venue spoke of and has not told"
    if order.state is OrderState.PENDING_CANCEL:
        return "the end that its cancel brings; a cancel without an answer is asked for again"
    return "its end: it rests at the venue and is still ours"


def text_of(event: Event, core: Core) -> str:
    """Say one step in plain words."""
    say: dict[type[Event], Callable[..., str]] = {
        AlertFired: lambda e: f"tells a person: {e.text}",
        CancelOrders: lambda e: f"cancels {len(e.client_ids)} of its orders: {e.reason}",
        ClosePair: lambda e: f"leaves: {e.reason}",
        OrderUnknown: lambda e: f"takes its outcome for unknown: {e.reason}",
        PairStateChanged: lambda e: f"{e.before} to {e.after}: {e.reason}",
        QueryOrder: lambda e: f"asks the venue for it{_known_as(core, e.client_id)}",
        ReconcileVenue: lambda e: f"compares everything with {e.venue}: {e.reason}",
        RiskRejected: lambda e: f"is refused at the {e.gate} gate: {e.rule} {e.value}, {e.limit}",
        SubmitOrders: lambda e: "; ".join(_sends(order) for order in e.orders),
        TradeCompleted: lambda e: f"is flat: {e.exit_reason}, net {plain(e.pnl.net)} USD",
    }
    found = say.get(type(event))
    if found is not None:
        return found(event)
    return event.kind.lower().replace("_", " ")


def _known_as(core: Core, client_id: str) -> str:
    order = core.folds.orders.get(client_id)
    return f" (there {order.venue_order_id})" if order and order.venue_order_id else ""


def _sends(order: OrderRequest) -> str:
    price = "market" if order.price is None else plain(order.price)
    only = ", reduce-only" if order.reduce_only else ""
    return (
        f"{order.purpose}s by a {order.side} of {plain(order.quantity)} {order.asset} on "
        f"{order.venue} at {price} {order.time_in_force}{only}"
    )
