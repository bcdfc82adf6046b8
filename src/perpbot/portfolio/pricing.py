"""What fees and payments are worth in USD when they are booked.

Money that cannot be counted stops opens until a person has seen to it; what it came with, a
quantity, is booked all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perpbot.domain.events import HaltCleared, HaltLatched
from perpbot.domain.money import ONE, ZERO, plain
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.currency import CurrencyRates

UNPRICED = "unpriced"
"""Name of the halt and of its alarm."""
UNCOUNTED = "uncounted_transfer"
"""Name of the alarm."""


class UsdPricing:
    """Rates as they are now; a currency without one is told once for each halt."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        rates: CurrencyRates,
        venue_rate: Callable[[str], Decimal | None],
        alarm: Callable[[str, str], None],
    ) -> None:
        """`venue_rate(venue)` is the USD rate of its settle currency.

        `alarm(name, text)` calls a person.
        """
        self._bus = bus
        self._clock = clock
        self._rates = rates
        self._venue_rate = venue_rate
        self._alarm = alarm
        self._unpriced: set[str] = set()
        bus.subscribe(HaltCleared, self._cleared)

    def settle_rate(self, venue: str) -> Decimal:
        """Return the USD rate of a venue's settle currency."""
        rate = self._venue_rate(venue)
        if rate is None:
            self._no_rate(f"the settle currency of {venue}")
            return ONE  # opens are halted now; the quantity is what must not be lost
        return rate

    def usd(self, amount: Decimal, currency: str) -> tuple[Decimal, str]:
        """Return an amount in USD, and the amount as text where its currency has no rate."""
        rate = self._rates.usd(currency)
        if rate is not None or amount == 0:
            return amount * (ONE if rate is None else rate), ""
        self._no_rate(currency)
        return ZERO, f"{plain(amount)} {currency}"

    def of_transfer(self, amount: Decimal, currency: str, venue: str) -> Decimal:
        """Return a transfer in USD; a person is told of one in a currency without a rate.

        It is 0 then, which is what its balance counts as: nothing is lost or won by it.
        """
        rate = self._rates.usd(currency)
        if rate is not None:
            return amount * rate
        if amount != 0:
            self._alarm(
                UNCOUNTED,
                f"{venue}: a transfer of {plain(amount)} {currency} has no USD rate: neither it "
                "nor its balance counts as equity; set it under market.currency_rates before "
                "the next one",
            )
        return ZERO

    def _cleared(self, event: HaltCleared) -> None:
        """What still has no rate halts again."""
        if event.rule == UNPRICED:
            self._unpriced.clear()

    def _no_rate(self, currency: str) -> None:
        """Money that cannot be counted: stop opens until a person has seen to it."""
        if currency in self._unpriced:
            return
        self._unpriced.add(currency)
        self._bus.publish(
            HaltLatched(
                ts_ns=self._clock.now_ns(),
                rule=UNPRICED,
                value=f"{currency} without a USD rate",
                limit="a USD rate",
            )
        )
        self._alarm(
            UNPRICED,
            f"a fee or payment in {currency} has no USD rate; set it under "
            f"market.currency_rates, then clear the halt: `perpbot risk reset {UNPRICED}`",
        )
