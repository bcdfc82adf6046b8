"""Balances as the venues tell them: private streams first, comparisons behind them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.events import AccountReported, CapitalSnapshotUpdated
from perpbot.domain.money import ZERO
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.currency import CurrencyRates

REPEAT_NS = SECOND
"""A venue's figures are published at most this often, however often its stream speaks."""


class VenueBalance(msgspec.Struct, frozen=True):
    """What a venue holds for us, in USD."""

    equity: Decimal
    free: Decimal
    wallet: Decimal
    told_ns: int
    """Monotonic time of the newest word of the venue."""


class CapitalSnapshotProvider:
    """Publishes CAPITAL_SNAPSHOT_UPDATE when figures change; knows how old they are."""

    def __init__(self, bus: EventBus, clock: Clock, rates: CurrencyRates) -> None:
        self._bus = bus
        self._clock = clock
        self._rates = rates
        self._currencies: dict[str, dict[tuple[str, str], tuple[Decimal, Decimal, Decimal]]] = {}
        self._balances: dict[str, VenueBalance] = {}
        self._published: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
        self._published_ns: dict[str, int] = {}
        self.changes = 0
        """How often figures were told."""
        bus.subscribe(AccountReported, self._on_account)

    def balance(self, venue: str) -> VenueBalance | None:
        """Return the newest figures, or None before the first."""
        return self._balances.get(venue)

    def age_s(self, venue: str) -> float | None:
        """Return the age of the newest figures, or None before the first."""
        balance = self._balances.get(venue)
        if balance is None:
            return None
        return (self._clock.monotonic_ns() - balance.told_ns) / SECOND

    def venues(self) -> list[str]:
        """Return the venues that have told their balances."""
        return list(self._balances)

    def _on_account(self, event: AccountReported) -> None:
        if not event.balances:
            return
        held = self._currencies.setdefault(event.venue, {})
        for report in event.balances:
            held[report.account, report.currency] = (report.equity, report.free, report.wallet)
        totals = [ZERO, ZERO, ZERO]
        for (_, currency), amounts in held.items():
            rate = self._rates.usd(currency)
            if rate is None and min(amounts) < 0:
                return  # a debt without a price: the figures are unknown and grow old
            if rate is None:
                continue  # what has no price in USD counts as nothing, never as a guess
            for index, amount in enumerate(amounts):
                totals[index] += amount * rate
        now_ns = self._clock.monotonic_ns()
        equity, free, wallet = totals
        self._balances[event.venue] = VenueBalance(equity, free, wallet, now_ns)
        self.changes += 1
        self._publish(event, (equity, free, wallet), now_ns)

    def _publish(
        self, event: AccountReported, figures: tuple[Decimal, Decimal, Decimal], now_ns: int
    ) -> None:
        venue = event.venue
        last_ns = self._published_ns.get(venue)
        if self._published.get(venue) == figures:
            return
        if last_ns is not None and now_ns - last_ns < REPEAT_NS:
            return
        self._published[venue] = figures
        self._published_ns[venue] = now_ns
        self._bus.publish(
            CapitalSnapshotUpdated(
                ts_ns=self._clock.now_ns(),
                venue=venue,
                equity_usd=figures[0],
                free_usd=figures[1],
                wallet_usd=figures[2],
                from_stream=event.source != "reconcile",
            )
        )
