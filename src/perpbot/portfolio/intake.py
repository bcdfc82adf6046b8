"""From what venues say to facts of ours.

Reports come twice, early, late and in any order. The intake holds them against the order table and
publishes each fact once: an execution by its trade id (`fills`), a payment (`payments`), a state
only where the table allows it. What cannot be explained is not dropped but told
(`ForeignOrderSeen`, an execution without an owner).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from perpbot.domain.events import (
    AccountReported,
    AlertFired,
    Event,
    FillReported,
    ForeignOrderSeen,
    OrderCancelled,
    OrderExpired,
    OrderFact,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderReported,
    OrderSent,
    OrderUnknown,
)
from perpbot.domain.money import ONE, ZERO
from perpbot.domain.orders import FillReport, FundingReport, OrderReport, TransferReport
from perpbot.domain.sides import RESTING, UNANSWERED, OrderState
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.absence import Absences
from perpbot.portfolio.booked import BookedTrades
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.fills import NEVER_WAS, FillIntake
from perpbot.portfolio.orders import Order, OrderTable
from perpbot.portfolio.payments import PaymentIntake
from perpbot.portfolio.pricing import UsdPricing
from perpbot.portfolio.transfers import BookedTransfers

_ALIVE = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.FILLED})


class ReportIntake:
    """Subscribes to reports and publishes facts."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        orders: OrderTable,
        booked: BookedTrades,
        transfers: BookedTransfers,
        rates: CurrencyRates,
        funding_owner: Callable[[str, str, str], str],
        *,
        venue_rate: Callable[[str], Decimal | None] = lambda _venue: ONE,
        resolve_s: float = 30.0,
    ) -> None:
        """Subscribe.

        `funding_owner(venue, account, asset)` names whom a funding payment belongs to;
        `venue_rate(venue)` is the USD rate of its settle currency; `resolve_s` after its intent an
        order whose request cannot expire may be judged absent.
        """
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._foreign: set[tuple[str, str]] = set()
        self._unfolded: dict[str, int] = {}
        """By order: facts on their way to the table."""
        self._absences = Absences(clock, resolve_s)
        pricing = UsdPricing(bus, clock, rates, venue_rate, self._alarm)
        self._fills = FillIntake(
            self._publish, clock, booked, pricing, self._find, funding_owner, self._alarm
        )
        bus.subscribe(OrderReported, self._on_order)
        bus.subscribe(FillReported, self._on_fill)
        bus.subscribe(AccountReported, self._on_account)
        bus.subscribe(OrderFact, self._folded)
        self._payments = PaymentIntake(bus, clock, booked, transfers, pricing, funding_owner)

    @property
    def duplicates(self) -> int:
        """How many executions were told again."""
        return self._fills.duplicates

    def filled_by_venue(self, order: Order) -> Decimal:
        """Return the largest cumulative quantity that any report spoke of."""
        return self._fills.filled_by_venue(order)

    def terms_of_absence(self, order: Order) -> str:
        """Say from when on a venue's "not known" proves that an order never was."""
        return self._absences.terms(order)

    # --- orders ---

    def _on_order(self, event: OrderReported) -> None:
        self.take_order(event.report)

    def take_order(self, report: OrderReport) -> None:
        """Publish what `report` adds to what is known."""
        order = self._find(report)
        if order is None:
            self._foreign_order(report)
            return
        client_id = order.request.client_id
        if client_id in self._unfolded:
            # Something of this order is on its way to the table: judge the report after it.
            self._bus.publish(OrderReported(ts_ns=self._clock.now_ns(), report=report))
            return
        told = report.filled
        if told is None and report.state is OrderState.FILLED:
            told = order.request.quantity
        if told is not None and self._fills.count(order, told):
            self._bus.publish(OrderReported(ts_ns=self._clock.now_ns(), report=report))
            return
        if report.state is OrderState.SENT:
            if order.state is OrderState.INTENT:
                self._publish(OrderSent(**self._head(order), sent_ns=self._clock.monotonic_ns()))
        elif report.state is OrderState.UNKNOWN:
            if order.state in {OrderState.INTENT, OrderState.SENT}:
                self._publish(OrderUnknown(**self._head(order), reason=report.reason))
        elif report.state is OrderState.REJECTED:
            self._refused(order, report)
        elif report.state is OrderState.PROVEN_ABSENT:
            self._absent(order, report)
        else:
            self._seen(order, report)

    def _find(self, report: OrderReport | FillReport) -> Order | None:
        """Return the order by our id, else by the venue's id of the same instrument."""
        order = self._orders.get(report.client_id)
        if order is not None:
            return order
        order = self._orders.by_venue_id(report.venue, report.venue_order_id)
        if order is None:
            return None
        request = order.request
        same = (request.account, request.symbol) == (report.account, report.symbol)
        return order if same else None

    def _seen(self, order: Order, report: OrderReport) -> None:
        """The venue knows the order: it was placed, whatever became of it since."""
        self._absences.forget(order.request.client_id)
        new_id = bool(report.venue_order_id) and order.venue_order_id != report.venue_order_id
        if new_id or order.state in UNANSWERED:
            self._place(order, report)
        if order.state.is_end:
            self._more_after_end(order, report)
            return
        if report.state in {OrderState.CANCELLED, OrderState.EXPIRED}:
            ended = OrderCancelled if report.state is OrderState.CANCELLED else OrderExpired
            self._end(order, ended, report, report.reason)
        elif report.state is OrderState.FILLED and self._was_cut(order, report):
            self._end(order, OrderCancelled, report, "the venue cut the reduction to the position")

    def _more_after_end(self, order: Order, report: OrderReport) -> None:
        """An order that has ended owes fills that nobody told yet: look for them."""
        if order.state in NEVER_WAS and report.state in _ALIVE:
            self._alarm(
                "order_after_end",
                f"{order.request.venue} speaks of order {order.request.client_id}, which was "
                f"{order.state}; its fills are booked as they come",
            )
        if self.filled_by_venue(order) > max(order.filled, order.venue_filled):
            self._end(order, OrderCancelled, report, "the venue tells more fills after the end")

    def _was_cut(self, order: Order, report: OrderReport) -> bool:
        """Whether a venue calls an order filled at less than we asked (reduce-only orders are)."""
        return report.filled is not None and ZERO < report.filled < order.request.quantity

    def _end(
        self,
        order: Order,
        ended: type[OrderCancelled | OrderExpired],
        report: OrderReport,
        reason: str,
    ) -> None:
        self._publish(
            ended(
                **self._head(order, report.venue_ns),
                filled=self.filled_by_venue(order),
                reason=reason,
            )
        )

    def _place(self, order: Order, report: OrderReport) -> None:
        self._publish(
            OrderPlaced(**self._head(order, report.venue_ns), venue_order_id=report.venue_order_id)
        )

    def _refused(self, order: Order, report: OrderReport) -> None:
        if order.state in UNANSWERED and order.filled == 0:
            self._publish(
                OrderFailed(
                    **self._head(order, report.venue_ns), reason=report.reason, code=report.code
                )
            )
        elif not order.state.is_end:
            # A venue that refuses what it had taken ended the order; what filled stays filled.
            self._publish(
                OrderCancelled(
                    **self._head(order, report.venue_ns),
                    filled=self.filled_by_venue(order),
                    reason=report.reason or "refused after it was taken",
                )
            )

    def _absent(self, order: Order, report: OrderReport) -> None:
        """The venue does not know the order; proof only once the request can no longer arrive."""
        if order.state in RESTING:
            if self._absences.is_gone(order):
                self._end(order, OrderCancelled, report, "the venue had taken it and has lost it")
            return
        if (
            order.state is not OrderState.UNKNOWN
            or order.filled
            or self._fills.is_counted(order.request.client_id)
        ):
            return
        evidence = self._absences.evidence(order)
        if evidence:
            self._publish(
                OrderProvenAbsent(
                    **self._head(order, report.venue_ns),
                    evidence=f"unknown to the venue {evidence} {report.reason}".strip(),
                )
            )

    def _foreign_order(self, report: OrderReport) -> None:
        key = (report.venue, report.venue_order_id)
        if report.state in {OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED} and (
            key not in self._foreign
        ):
            self._foreign.add(key)
            self._publish(
                ForeignOrderSeen(
                    ts_ns=self._clock.now_ns(),
                    venue=report.venue,
                    venue_order_id=report.venue_order_id,
                    symbol=report.symbol,
                    detail=f"{report.side or ''} {report.quantity} at {report.price}".strip(),
                )
            )

    # --- fills ---

    def _on_fill(self, event: FillReported) -> None:
        self.take_fill(event.report, reconciled=False)

    def take_fill(self, report: FillReport, *, reconciled: bool) -> bool:
        """Book an execution unless it is booked; return whether it was new."""
        return self._fills.take(report, reconciled=reconciled)

    def _folded(self, event: OrderFact) -> None:
        """A fact of an order has reached the table."""
        client_id = event.client_id
        if isinstance(event, OrderFilled):
            self._fills.folded(event)
        left = self._unfolded.pop(client_id, 0) - 1
        if left > 0:
            self._unfolded[client_id] = left
        order = self._orders.get(client_id)
        if order is None or order.settled:
            self._fills.forget(client_id)
            self._absences.forget(client_id)

    # --- accounts ---

    def _on_account(self, event: AccountReported) -> None:
        for payment in event.funding:
            self.take_funding(payment)
        for transfer in event.transfers:
            self.take_transfer(transfer)

    def take_funding(self, report: FundingReport) -> bool:
        """Book a funding payment unless it is booked; return whether it was new."""
        return self._payments.take_funding(report)

    def take_transfer(self, report: TransferReport) -> bool:
        """Book a transfer unless it is booked; return whether it was new."""
        return self._payments.take_transfer(report)

    # --- shared ---

    def _head(self, order: Order, venue_ns: int = 0) -> dict[str, Any]:
        return {
            "ts_ns": self._clock.now_ns(),
            "client_id": order.request.client_id,
            "venue": order.request.venue,
            "venue_ns": venue_ns,
            "correlation_id": order.request.owner,
        }

    def _alarm(self, name: str, text: str) -> None:
        now_ns = self._clock.now_ns()
        self._bus.publish(AlertFired(ts_ns=now_ns, name=name, severity="critical", text=text))

    def _publish(self, event: Event) -> None:
        if isinstance(event, OrderFact):
            self._unfolded[event.client_id] = self._unfolded.get(event.client_id, 0) + 1
        self._bus.publish(event)
