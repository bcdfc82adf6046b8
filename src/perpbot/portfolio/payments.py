"""Funding payments and transfers as venues tell them: each is booked once."""

from __future__ import annotations

from collections.abc import Callable

from perpbot.domain.events import FundingPaid, Transfer
from perpbot.domain.orders import FundingReport, TransferReport
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.booked import BookedKey, BookedTrades, funding_key
from perpbot.portfolio.pricing import UsdPricing
from perpbot.portfolio.transfers import BookedTransfers, transfer_key


class PaymentIntake:
    """Holds what is told against what is booked."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        booked: BookedTrades,
        transfers: BookedTransfers,
        pricing: UsdPricing,
        leg_owner: Callable[[str, str, str], str],
    ) -> None:
        """Subscribe; `leg_owner(venue, account, asset)` is whom a funding payment belongs to."""
        self._bus = bus
        self._clock = clock
        self._booked = booked
        self._transfers = transfers
        self._pricing = pricing
        self._leg_owner = leg_owner
        self._in_flight: set[BookedKey] = set()
        """Payments on their way to the books."""
        self._moving: set[str] = set()
        """Transfers on their way to the books, by key."""
        bus.subscribe(FundingPaid, self._funded)
        bus.subscribe(Transfer, self._transferred)

    def take_funding(self, report: FundingReport) -> bool:
        """Book a funding payment unless it is booked; return whether it was new."""
        key = funding_key(report)
        booked = key in self._booked or key in self._in_flight
        if booked or self._booked.is_past(key, report.venue_ns):
            return False
        self._in_flight.add(key)
        amount_usd, unpriced = self._pricing.usd(report.amount, report.currency)
        self._bus.publish(
            FundingPaid(
                ts_ns=self._clock.now_ns(),
                venue=report.venue,
                account=report.account,
                asset=report.asset,
                payment_id=report.payment_id,
                amount_usd=amount_usd,
                unpriced=unpriced,
                owner=self._leg_owner(report.venue, report.account, report.asset),
                venue_ns=report.venue_ns,
            )
        )
        return True

    def _funded(self, event: FundingPaid) -> None:
        self._in_flight.discard(funding_key(event))

    def take_transfer(self, report: TransferReport) -> bool:
        """Book a transfer unless it is booked; return whether it was new."""
        key = transfer_key(report.venue, report.account, report.transfer_id)
        if key in self._transfers or key in self._moving:
            return False
        self._moving.add(key)
        amount_usd = self._pricing.of_transfer(report.amount, report.currency, report.venue)
        self._bus.publish(
            Transfer(
                ts_ns=self._clock.now_ns(),
                venue=report.venue,
                account=report.account,
                amount_usd=amount_usd,
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
