"""No order without a next action: asks the venue whenever an order owes an answer.

UNKNOWN is resolved by asking, at growing intervals, until the order is found or its absence is
proven; so are fills that a venue spoke of but did not tell, and immediate orders that do not end.
A cancel without an answer is asked for again. No order is ever sent again here.
"""

from __future__ import annotations

from perpbot.domain.events import (
    AlertFired,
    CancelOrders,
    OrderFact,
    OrderIntent,
    OrderUnknown,
    QueryOrder,
    ReconcileVenue,
)
from perpbot.domain.sides import OrderState, TimeInForce
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, SECOND, Clock, Timers
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import Order, OrderTable

TICK_NS = 100 * MS
ANSWER_NS = 2 * SECOND
"""How long a request may stay unanswered, and an immediate order or a cancel may take."""
MISSING_FILL_NS = 300 * MS
FIRST_ASK_NS = 200 * MS
LAST_ASK_NS = 5 * SECOND
FILL_LOOKBACK_NS = 60 * SECOND
MISSING_FILLS = "missing_fills"
"""Reason of a comparison that an order's missing fills asked for."""


class OrderWatch:
    """See the module."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        timers: Timers,
        orders: OrderTable,
        intake: ReportIntake,
        *,
        alarm_after_s: float = 30.0,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._timers = timers
        self._orders = orders
        self._intake = intake
        self._alarm_after_ns = int(alarm_after_s * SECOND)
        self._asks: dict[str, tuple[int, int]] = {}
        self._alarmed: set[str] = set()
        self._ticking = False
        bus.subscribe(OrderIntent, self._wake, late=True)
        bus.subscribe(OrderFact, self._wake)
        bus.subscribe(CancelOrders, self._wake)

    def resume(self) -> None:
        """Start looking after recovery: every order that was at work is asked for at once."""
        for order in self._orders.unsettled():
            if order.state in {OrderState.INTENT, OrderState.SENT}:
                self._mark_unknown(order, "the process ended before an answer came")
        self._wake(None)

    def _wake(self, _event: object) -> None:
        if not self._ticking:
            self._ticking = True
            self._timers.call_later(TICK_NS, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        now_ns = self._clock.now_ns()
        at_work = False
        for order in self._orders.unsettled():
            at_work = True
            self._look(order, now_ns)
        if at_work:
            self._wake(None)
        else:
            self._asks.clear()
            self._alarmed.clear()

    def _look(self, order: Order, now_ns: int) -> None:
        quiet_ns = now_ns - order.updated_ns
        if order.state in {OrderState.INTENT, OrderState.SENT}:
            if quiet_ns > ANSWER_NS:
                self._mark_unknown(order, f"no answer for {quiet_ns // MS} ms")
        elif order.state is OrderState.UNKNOWN:
            self._ask(order, now_ns)
        elif self._owes_fills(order) and quiet_ns > MISSING_FILL_NS:
            self._ask(order, now_ns, for_fills=True)
        elif order.state is OrderState.PENDING_CANCEL and quiet_ns > ANSWER_NS:
            self._cancel_again(order, now_ns)
        elif self._owes_an_end(order) and quiet_ns > ANSWER_NS:
            self._ask(order, now_ns)

    def _owes_fills(self, order: Order) -> bool:
        return self._intake.filled_by_venue(order) > order.filled

    def _owes_an_end(self, order: Order) -> bool:
        immediate = order.request.time_in_force in {TimeInForce.IOC, TimeInForce.FOK}
        return immediate and not order.state.is_end

    def _cancel_again(self, order: Order, now_ns: int) -> None:
        """A cancel may be repeated, unlike an order; the query tells when there was an end."""
        client_id = order.request.client_id
        self._bus.publish(
            CancelOrders(
                ts_ns=now_ns,
                correlation_id=order.request.owner,
                client_ids=(client_id,),
                reason="the first cancel has no answer",
            )
        )
        self._ask(order, now_ns)

    def _mark_unknown(self, order: Order, reason: str) -> None:
        self._bus.publish(
            OrderUnknown(
                ts_ns=self._clock.now_ns(),
                correlation_id=order.request.owner,
                client_id=order.request.client_id,
                venue=order.request.venue,
                reason=reason,
            )
        )

    def _ask(self, order: Order, now_ns: int, *, for_fills: bool = False) -> None:
        client_id = order.request.client_id
        due_ns, count = self._asks.get(client_id, (0, 0))
        if now_ns < due_ns:
            return
        delay_ns = min(FIRST_ASK_NS * 2 ** min(count, 10), LAST_ASK_NS)
        self._asks[client_id] = (now_ns + delay_ns, count + 1)
        if for_fills:
            self._bus.publish(
                ReconcileVenue(
                    ts_ns=now_ns,
                    correlation_id=client_id,
                    venue=order.request.venue,
                    reason=MISSING_FILLS,
                    fills_since_ns=max(order.created_ns - FILL_LOOKBACK_NS, 0),
                )
            )
        self._bus.publish(QueryOrder(ts_ns=now_ns, correlation_id=client_id, client_id=client_id))
        self._alarm(order, now_ns)

    def _alarm(self, order: Order, now_ns: int) -> None:
        client_id = order.request.client_id
        waited_ns = now_ns - order.created_ns
        if waited_ns > self._alarm_after_ns and client_id not in self._alarmed:
            self._alarmed.add(client_id)
            self._bus.publish(
                AlertFired(
                    ts_ns=now_ns,
                    correlation_id=order.request.owner,
                    name="order_unresolved",
                    severity="critical",
                    text=(
                        f"order {client_id} on {order.request.venue} is {order.state} for "
                        f"{waited_ns // SECOND} s; look at the venue, perpbot keeps asking"
                    ),
                )
            )
