"""From what venues say to facts of ours.

Reports come twice, early, late and in any order. The intake holds them against the order table and
publishes each fact once: an execution by its trade id, a state only where the table allows it. What
cannot be explained is not dropped but told (`ForeignOrderSeen`, an execution without an owner).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from perpbot.domain.events import (
    AccountReported,
    Event,
    FillReported,
    ForeignOrderSeen,
    FundingPaid,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderReported,
    OrderSent,
    OrderUnknown,
)
from perpbot.domain.money import ONE, ZERO
from perpbot.domain.orders import FillReport, FundingReport, OrderReport
from perpbot.domain.sides import OrderState
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.orders import Order, OrderTable

_UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
TRADE_IDS_KEPT = 100_000
EXPIRY_MARGIN_NS = 1_000_000_000
"""Added to a request's expiry before absence is proof: clocks differ."""


class BookedTrades:
    """Which executions and funding payments are booked already. Folds from the journal."""

    name = "booked_trades"

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {OrderFilled: self._filled, FundingPaid: self._funding}

    def _filled(self, event: OrderFilled) -> None:
        self._add(fill_key(event.venue, event.account, event.asset, event.side, event.trade_id))

    def _funding(self, event: FundingPaid) -> None:
        self._add(f"funding|{event.venue}|{event.account}|{event.payment_id}")

    def _add(self, key: str) -> None:
        self._keys[key] = None
        if len(self._keys) > TRADE_IDS_KEPT:
            del self._keys[next(iter(self._keys))]

    def snapshot(self) -> object:
        """The keys, oldest first."""
        return list(self._keys)

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self._keys = dict.fromkeys(state)


def fill_key(venue: str, account: str, asset: str, side: str, trade_id: str) -> str:
    """Return the key that makes an execution unique: a trade id may serve both sides."""
    return f"{venue}|{account}|{asset}|{side}|{trade_id}"


class ReportIntake:
    """Subscribes to reports and publishes facts."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        orders: OrderTable,
        booked: BookedTrades,
        rates: CurrencyRates,
        funding_owner: Callable[[str, str, str], str],
    ) -> None:
        """`funding_owner(venue, account, asset)` names whom a funding payment belongs to."""
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._booked = booked
        self._rates = rates
        self._funding_owner = funding_owner
        self._foreign: set[tuple[str, str]] = set()
        self._told: dict[str, Decimal] = {}
        self._in_flight: set[str] = set()
        self.duplicates = 0
        bus.subscribe(OrderReported, self._on_order)
        bus.subscribe(FillReported, self._on_fill)
        bus.subscribe(AccountReported, self._on_account)
        bus.subscribe(OrderFilled, self._filled)

    def filled_by_venue(self, order: Order) -> Decimal:
        """Return the largest cumulative quantity that any report spoke of."""
        return max(self._told.get(order.request.client_id, ZERO), order.filled, order.venue_filled)

    # --- orders ---

    def _on_order(self, event: OrderReported) -> None:
        self.take_order(event.report)

    def take_order(self, report: OrderReport) -> None:
        """Publish what `report` adds to what is known."""
        order = self._orders.get(report.client_id) or self._orders.by_venue_id(
            report.venue, report.venue_order_id
        )
        if order is None:
            self._foreign_order(report)
            return
        client_id = order.request.client_id
        if report.filled is not None and report.filled > self.filled_by_venue(order):
            self._told[client_id] = report.filled
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

    def _seen(self, order: Order, report: OrderReport) -> None:
        """The venue knows the order: it was placed, whatever became of it since."""
        new_id = bool(report.venue_order_id) and order.venue_order_id != report.venue_order_id
        if new_id or order.state in _UNANSWERED:
            self._place(order, report)
        if order.state.is_end:
            return
        if report.state in {OrderState.CANCELLED, OrderState.EXPIRED}:
            ended = OrderCancelled if report.state is OrderState.CANCELLED else OrderExpired
            self._end(order, ended, report, report.reason)
        elif report.state is OrderState.FILLED and self._was_cut(order, report):
            self._end(order, OrderCancelled, report, "the venue cut the reduction to the position")

    def _was_cut(self, order: Order, report: OrderReport) -> bool:
        """Whether a venue calls an order filled at less than we asked (reduce-only orders are)."""
        return report.filled is not None and ZERO < report.filled < order.request.quantity

    def _end(
        self,
        order: Order,
        ended: type[OrderCancelled] | type[OrderExpired],
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
        if order.state in _UNANSWERED and order.filled == 0:
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
        if order.state is not OrderState.UNKNOWN or order.filled or self._told.get(
            order.request.client_id
        ):
            return
        expires_ns = order.request.expires_ns
        if expires_ns and self._clock.now_ns() > expires_ns + EXPIRY_MARGIN_NS:
            self._publish(
                OrderProvenAbsent(
                    **self._head(order, report.venue_ns),
                    evidence=f"unknown to the venue after its expiry: {report.reason}",
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
        key = fill_key(report.venue, report.account, report.asset, report.side, report.trade_id)
        if key in self._booked or key in self._in_flight:
            self.duplicates += 1
            return False
        self._in_flight.add(key)
        order = self._orders.get(report.client_id) or self._orders.by_venue_id(
            report.venue, report.venue_order_id
        )
        cumulative = report.quantity + (ZERO if order is None else order.filled)
        settle_rate = self._rates.usd(report.fee_currency)
        rate = ONE if settle_rate is None else settle_rate
        self._publish(
            OrderFilled(
                ts_ns=self._clock.now_ns(),
                client_id="" if order is None else order.request.client_id,
                venue=report.venue,
                account=report.account,
                asset=report.asset,
                venue_ns=report.venue_ns,
                trade_id=report.trade_id,
                venue_order_id=report.venue_order_id,
                side=report.side,
                position_side=report.position_side,
                price=report.price,
                quantity=report.quantity,
                fee_usd=report.fee * rate,
                liquidity=report.liquidity,
                cumulative=cumulative,
                is_partial=order is not None and cumulative < order.request.quantity,
                owner="" if order is None else order.request.owner,
                usd_rate=rate,
                reconciled=reconciled,
            )
        )
        return True

    def _filled(self, event: OrderFilled) -> None:
        self._in_flight.discard(
            fill_key(event.venue, event.account, event.asset, event.side, event.trade_id)
        )

    # --- funding ---

    def _on_account(self, event: AccountReported) -> None:
        for payment in event.funding:
            self.take_funding(payment)

    def take_funding(self, report: FundingReport) -> bool:
        """Book a funding payment unless it is booked; return whether it was new."""
        if f"funding|{report.venue}|{report.account}|{report.payment_id}" in self._booked:
            return False
        rate = self._rates.usd(report.currency)
        self._publish(
            FundingPaid(
                ts_ns=self._clock.now_ns(),
                venue=report.venue,
                account=report.account,
                asset=report.asset,
                payment_id=report.payment_id,
                amount_usd=report.amount * (ONE if rate is None else rate),
                owner=self._funding_owner(report.venue, report.account, report.asset),
                venue_ns=report.venue_ns,
            )
        )
        return True

    # --- shared ---

    def _head(self, order: Order, venue_ns: int = 0) -> dict[str, Any]:
        return {
            "ts_ns": self._clock.now_ns(),
            "client_id": order.request.client_id,
            "venue": order.request.venue,
            "venue_ns": venue_ns,
            "correlation_id": order.request.owner,
        }

    def _publish(self, event: Event) -> None:
        self._bus.publish(event)
