"""From what venues say to facts of ours.

Reports come twice, early, late and in any order. The intake holds them against the order table and
publishes each fact once: an execution by its trade id, a state only where the table allows it.
What cannot be explained is not dropped but told (`ForeignOrderSeen`, an execution without an
owner).
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
    FundingPaid,
    HaltLatched,
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
    Transfer,
)
from perpbot.domain.money import ONE, ZERO, plain
from perpbot.domain.orders import FillReport, FundingReport, OrderReport, TransferReport
from perpbot.domain.sides import OrderState
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.booked import (
    BookedKey,
    BookedTrades,
    fill_key,
    funding_key,
    twin_key,
)
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.orders import Order, OrderTable
from perpbot.portfolio.transfers import BookedTransfers, transfer_key

_UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})
EXPIRY_MARGIN_NS = SECOND
"""Added to a request's expiry before absence is proof: clocks differ."""
ABSENCE_APART_NS = 5 * SECOND
"""Between the two negative answers that prove absence where requests cannot expire."""
_NEVER_WAS = frozenset({OrderState.REJECTED, OrderState.PROVEN_ABSENT})
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
        self._booked = booked
        self._transfers = transfers
        self._rates = rates
        self._leg_owner = funding_owner
        self._foreign: set[tuple[str, str]] = set()
        self._venue_rate = venue_rate
        self._resolve_ns = int(resolve_s * SECOND)
        self._told: dict[str, Decimal] = {}
        self._absences: dict[str, int] = {}
        self._unfolded: dict[str, int] = {}
        self._in_flight: dict[BookedKey, tuple[str, Decimal]] = {}
        """Executions and payments on their way to the books: key -> (client id, quantity)."""
        self._twins_in_flight: set[BookedKey] = set()
        self._doubtful: dict[str, dict[BookedKey, FillReport]] = {}
        """By order and key: executions that look like one that is booked already."""
        self._moving: set[str] = set()
        """Transfers on their way to the books, by key."""
        self._excess: set[BookedKey] = set()
        """Executions beyond the quantity of their order, told to a person once."""
        self._unpriced: set[str] = set()
        self.duplicates = 0
        bus.subscribe(OrderReported, self._on_order)
        bus.subscribe(FillReported, self._on_fill)
        bus.subscribe(AccountReported, self._on_account)
        bus.subscribe(OrderFact, self._folded)
        bus.subscribe(FundingPaid, self._funded)
        bus.subscribe(Transfer, self._transferred)

    def filled_by_venue(self, order: Order) -> Decimal:
        """Return the largest cumulative quantity that any report spoke of."""
        return max(self._told.get(order.request.client_id, ZERO), order.filled, order.venue_filled)

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
        if told is not None and told > self.filled_by_venue(order):
            self._told[client_id] = told
            if self._vouched(client_id):
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
        self._absences.pop(order.request.client_id, None)
        new_id = bool(report.venue_order_id) and order.venue_order_id != report.venue_order_id
        if new_id or order.state in _UNANSWERED:
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
        if order.state in _NEVER_WAS and report.state in _ALIVE:
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
        if (
            order.state is not OrderState.UNKNOWN
            or order.filled
            or self._told.get(order.request.client_id)
        ):
            return
        evidence = self._proof_of_absence(order)
        if evidence:
            self._publish(
                OrderProvenAbsent(
                    **self._head(order, report.venue_ns),
                    evidence=f"unknown to the venue {evidence} {report.reason}".strip(),
                )
            )

    def _proof_of_absence(self, order: Order) -> str:
        """Return why a negative answer is proof now, or "".

        A request that can expire cannot arrive after its expiry. Where the venue knows no expiry,
        two negative answers apart from each other, long after the intent, have to do.
        """
        now_ns = self._clock.now_ns()
        if now_ns < self._absence_counts_from_ns(order):
            return ""
        if order.request.expires_ns:
            return "after its expiry"
        first_ns = self._absences.setdefault(order.request.client_id, now_ns)
        if now_ns - first_ns < ABSENCE_APART_NS:
            return ""
        return f"twice, {(now_ns - first_ns) // SECOND} s apart"

    def _absence_counts_from_ns(self, order: Order) -> int:
        expires_ns = order.request.expires_ns
        if expires_ns:
            return expires_ns + EXPIRY_MARGIN_NS + 1  # after that moment, not at it
        return order.created_ns + self._resolve_ns

    def terms_of_absence(self, order: Order) -> str:
        """Say from when on a venue's "not known" proves that an order never was."""
        left_ns = self._absence_counts_from_ns(order) - self._clock.now_ns()
        when = f"in {left_ns / SECOND:.1f} s" if left_ns > 0 else "now"
        if order.request.expires_ns:
            return f"`not known` is proof of absence from {when} on: its request has expired then"
        return (
            f"`not known` counts from {when} on, and is proof of absence when told twice, "
            f"{ABSENCE_APART_NS // SECOND} s apart: its request cannot expire"
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
        key = fill_key(report)
        if self._is_booked(key, report.venue_ns):
            self.duplicates += 1
            return False
        order = self._find(report)
        client_id = "" if order is None else order.request.client_id
        if self._is_twin(report, order):
            self.duplicates += 1
            if order is not None:
                self._doubtful.setdefault(client_id, {})[key] = report
            return False
        cumulative = report.quantity
        if order is not None:
            cumulative += order.filled + self._under_way(client_id)
            if cumulative > order.request.quantity:
                self._set_aside(key, order, cumulative)
                return False
            self._check_fill(order)
        self._in_flight[key] = (client_id, report.quantity)
        if report.venue_ns:
            self._twins_in_flight.add(twin_key(report, client_id))
        fee_usd, fee_unpriced = self._usd(report.fee, report.fee_currency)
        self._publish(
            OrderFilled(
                ts_ns=self._clock.now_ns(),
                client_id=client_id,
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
                fee_usd=fee_usd,
                liquidity=report.liquidity,
                cumulative=cumulative,
                is_partial=order is not None and cumulative < order.request.quantity,
                owner="" if order is None else order.request.owner,
                usd_rate=self._settle_rate(report.venue),
                reconciled=reconciled,
                fee_unpriced=fee_unpriced,
            )
        )
        if order is None and not self._leg_owner(report.venue, report.account, report.asset):
            self._alarm(
                "stray_fill",
                f"{report.venue} told an execution of {plain(report.quantity)} {report.asset} "
                f"({report.side}) that no order and no pair of ours explains; it is in the books, "
                "nobody hedges it: close it by hand",
            )
        return True

    def _is_twin(self, report: FillReport, order: Order | None) -> bool:
        """Whether this is what is booked already, told under another id.

        Two executions may truly be alike; then the venue's own count of the order speaks for the
        second one, which is kept until that count is told.
        """
        client_id = "" if order is None else order.request.client_id
        twin = twin_key(report, client_id)
        if not report.venue_ns or not (twin in self._booked or twin in self._twins_in_flight):
            return False
        if order is None:
            return True
        told = max(self._told.get(client_id, ZERO), order.venue_filled)
        return order.filled + self._under_way(client_id) + report.quantity > told

    def _vouched(self, client_id: str) -> bool:
        """Book what was doubtful before the venue counted more; return whether anything was."""
        kept = self._doubtful.pop(client_id, {})
        booked = [self.take_fill(report, reconciled=False) for report in kept.values()]
        return any(booked)

    def _check_fill(self, order: Order) -> None:
        """Tell a person of a fill that should not be; it is booked all the same."""
        if order.state in _NEVER_WAS:
            self._alarm(
                "fill_after_end",
                f"{order.request.venue} filled order {order.request.client_id}, "
                f"which was {order.state}",
            )

    def _set_aside(self, key: BookedKey, order: Order, cumulative: Decimal) -> None:
        """Book nothing beyond an order's quantity: most likely one execution told under two ids.

        Should the venue truly have executed more, the comparison of positions finds it.
        """
        if key in self._excess:
            return
        self._excess.add(key)
        request = order.request
        self._alarm(
            "overfill",
            f"{request.venue} tells {plain(cumulative)} filled of order {request.client_id}, "
            f"which asked for {plain(request.quantity)}; what is beyond it is not booked until "
            "the venue's position says so",
        )

    def _settle_rate(self, venue: str) -> Decimal:
        rate = self._venue_rate(venue)
        if rate is None:
            self._no_rate(f"the settle currency of {venue}")
            return ONE  # opens are halted now; the quantity is what must not be lost
        return rate

    def _usd(self, amount: Decimal, currency: str) -> tuple[Decimal, str]:
        """Return an amount in USD, and the amount as text where its currency has no rate."""
        rate = self._rates.usd(currency)
        if rate is not None or amount == 0:
            return amount * (ONE if rate is None else rate), ""
        self._no_rate(currency)
        return ZERO, f"{plain(amount)} {currency}"

    def _no_rate(self, currency: str) -> None:
        """Money that cannot be counted: stop opens until a person has seen to it."""
        if currency in self._unpriced:
            return
        self._unpriced.add(currency)
        self._bus.publish(
            HaltLatched(
                ts_ns=self._clock.now_ns(),
                rule="unpriced",
                value=f"{currency} without a USD rate",
                limit="a USD rate",
            )
        )
        self._alarm(
            "unpriced",
            f"a fee or payment in {currency} has no USD rate; set one, then clear the halt",
        )

    def _under_way(self, client_id: str) -> Decimal:
        """Return fills of an order that are published and not folded yet."""
        return sum((q for order, q in self._in_flight.values() if order == client_id), ZERO)

    def _folded(self, event: OrderFact) -> None:
        """A fact of an order has reached the table."""
        client_id = event.client_id
        if isinstance(event, OrderFilled):
            self._in_flight.pop(fill_key(event), None)
            self._twins_in_flight.discard(twin_key(event, event.client_id))
        left = self._unfolded.pop(client_id, 0) - 1
        if left > 0:
            self._unfolded[client_id] = left
        order = self._orders.get(client_id)
        if order is None or order.settled:
            self._told.pop(client_id, None)
            self._doubtful.pop(client_id, None)
            self._absences.pop(client_id, None)

    # --- funding ---

    def _on_account(self, event: AccountReported) -> None:
        for payment in event.funding:
            self.take_funding(payment)
        for transfer in event.transfers:
            self.take_transfer(transfer)

    def take_funding(self, report: FundingReport) -> bool:
        """Book a funding payment unless it is booked; return whether it was new."""
        key = funding_key(report)
        if self._is_booked(key, report.venue_ns):
            return False
        self._in_flight[key] = ("", ZERO)
        amount_usd, _ = self._usd(report.amount, report.currency)
        self._publish(
            FundingPaid(
                ts_ns=self._clock.now_ns(),
                venue=report.venue,
                account=report.account,
                asset=report.asset,
                payment_id=report.payment_id,
                amount_usd=amount_usd,
                owner=self._leg_owner(report.venue, report.account, report.asset),
                venue_ns=report.venue_ns,
            )
        )
        return True

    def _funded(self, event: FundingPaid) -> None:
        self._in_flight.pop(funding_key(event), None)

    # --- transfers ---

    def take_transfer(self, report: TransferReport) -> bool:
        """Book a transfer unless it is booked; return whether it was new.

        What has no price in USD moves nothing: its balance counts as nothing, too.
        """
        key = transfer_key(report.venue, report.account, report.transfer_id)
        if key in self._transfers or key in self._moving:
            return False
        self._moving.add(key)
        rate = self._rates.usd(report.currency)
        self._publish(
            Transfer(
                ts_ns=self._clock.now_ns(),
                venue=report.venue,
                account=report.account,
                amount_usd=ZERO if rate is None else report.amount * rate,
                reference=report.transfer_id,
                currency=report.currency,
                amount=report.amount,
                reason=report.kind,
                venue_ns=report.venue_ns,
            )
        )
        return True

    def _transferred(self, event: Transfer) -> None:
        self._moving.discard(transfer_key(event.venue, event.account, event.reference))

    # --- shared ---

    def _is_booked(self, key: BookedKey, venue_ns: int) -> bool:
        """Whether something is in the books, on its way there, or too old to say."""
        booked = self._booked
        return key in booked or key in self._in_flight or booked.is_past(key, venue_ns)

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
