"""Executions as venues tell them: each is booked once, whatever it is called and however often.

What cannot be explained is booked and told. Two tellings that look alike are one execution until
the venue's own count of the order speaks for two; nothing is booked beyond an order's quantity.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perpbot.domain.events import Event, OrderFilled
from perpbot.domain.money import ZERO, plain
from perpbot.domain.orders import FillReport
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import Clock
from perpbot.portfolio.booked import BookedKey, BookedTrades, fill_key, twin_key
from perpbot.portfolio.orders import Order
from perpbot.portfolio.pricing import UsdPricing

NEVER_WAS = frozenset({OrderState.REJECTED, OrderState.PROVEN_ABSENT})


class FillIntake:
    """Holds executions against what is booked and against their orders."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        clock: Clock,
        booked: BookedTrades,
        pricing: UsdPricing,
        find: Callable[[FillReport], Order | None],
        leg_owner: Callable[[str, str, str], str],
        alarm: Callable[[str, str], None],
    ) -> None:
        """`find(report)` is its order; `leg_owner(venue, account, asset)` who holds a leg."""
        self._publish = publish
        self._clock = clock
        self._booked = booked
        self._pricing = pricing
        self._find = find
        self._leg_owner = leg_owner
        self._alarm = alarm
        self._told: dict[str, Decimal] = {}
        self._in_flight: set[BookedKey] = set()
        """Executions on their way to the books."""
        self._under_way: dict[str, Decimal] = {}
        """By client id: what is on its way to the books in all."""
        self._twins_in_flight: set[BookedKey] = set()
        self._doubtful: dict[str, dict[BookedKey, FillReport]] = {}
        """By order and key: executions that look like one that is booked already."""
        self._excess: set[BookedKey] = set()
        """Executions beyond the quantity of their order, told to a person once."""
        self.duplicates = 0

    # --- what venues count ---

    def filled_by_venue(self, order: Order) -> Decimal:
        """Return the largest cumulative quantity that any report spoke of."""
        return max(self._told.get(order.request.client_id, ZERO), order.filled, order.venue_filled)

    def is_counted(self, client_id: str) -> bool:
        """Whether a venue has counted executions of an order."""
        return bool(self._told.get(client_id))

    def count(self, order: Order, quantity: Decimal) -> bool:
        """Take in what a venue counts of an order.

        What was doubtful before is booked if the count speaks for it; return whether any was.
        """
        if quantity <= self.filled_by_venue(order):
            return False
        client_id = order.request.client_id
        self._told[client_id] = quantity
        kept = self._doubtful.pop(client_id, {})
        booked = [self.take(report, reconciled=False) for report in kept.values()]
        return any(booked)

    def forget(self, client_id: str) -> None:
        """Nothing of this order is owed any more."""
        self._told.pop(client_id, None)
        self._doubtful.pop(client_id, None)

    # --- executions ---

    def take(self, report: FillReport, *, reconciled: bool) -> bool:
        """Book an execution unless it is booked; return whether it was new."""
        key = fill_key(report)
        booked = key in self._booked or key in self._in_flight
        if booked or self._booked.is_past(key, report.venue_ns):
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
            cumulative += order.filled + self._under_way.get(client_id, ZERO)
            if cumulative > order.request.quantity:
                self._set_aside(key, order, cumulative)
                return False
            self._check_fill(order)
        self._in_flight.add(key)
        self._under_way[client_id] = self._under_way.get(client_id, ZERO) + report.quantity
        if report.venue_ns:
            self._twins_in_flight.add(twin_key(report, client_id))
        fee_usd, fee_unpriced = self._pricing.usd(report.fee, report.fee_currency)
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
                usd_rate=self._pricing.settle_rate(report.venue),
                reconciled=reconciled,
                fee_unpriced=fee_unpriced,
            )
        )
        if order is None and not self._leg_owner(report.venue, report.account, report.asset):
            self._tell_stray(report)
        return True

    def _tell_stray(self, report: FillReport) -> None:
        self._alarm(
            "stray_fill",
            f"{report.venue} told an execution of {plain(report.quantity)} {report.asset} "
            f"({report.side}) that no order and no pair of ours explains; it is in the books, "
            "nobody hedges it and nothing opens beside what is left there: `perpbot status` "
            "tells what to flatten by hand",
        )

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
        under_way = self._under_way.get(client_id, ZERO)
        return order.filled + under_way + report.quantity > told

    def _check_fill(self, order: Order) -> None:
        """Tell a person of a fill that should not be; it is booked all the same."""
        if order.state in NEVER_WAS:
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

    def folded(self, event: OrderFilled) -> None:
        """An execution has reached the books."""
        self._twins_in_flight.discard(twin_key(event, event.client_id))
        key = fill_key(event)
        if key not in self._in_flight:
            return  # of an earlier run
        self._in_flight.discard(key)
        left = self._under_way.pop(event.client_id, ZERO) - event.quantity
        if left:
            self._under_way[event.client_id] = left
