"""The USD rates of settle currencies: as set, then quoted by whichever venue quotes them.

A rate that a person set is never replaced; a quote far from par is not taken but told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal

from perpbot.configuration import Settings
from perpbot.domain.errors import VenueError
from perpbot.domain.events import AlertFired, Event
from perpbot.kernel.clock import Clock
from perpbot.portfolio.currency import CurrencyRates
from perpbot.settings import Mode
from perpbot.venues.port import CurrencyQuotes, Venue

INTERVAL_S = 60.0
LOWEST, HIGHEST = Decimal("0.9"), Decimal("1.1")
"""A stablecoin beyond this is a matter for a person: its last good rate stays."""


def rates_of(settings: Settings) -> CurrencyRates:
    """Return the rates that people set; in a demo or a replay any other currency counts as 1."""
    assumed = Decimal(1) if settings.mode in {Mode.DEMO, Mode.REPLAY} else None
    return CurrencyRates(
        {name: Decimal(str(rate)) for name, rate in settings.market.currency_rates.items()},
        assumed=assumed,
    )


class RateKeeper:
    """See the module."""

    def __init__(
        self,
        rates: CurrencyRates,
        venues: Iterable[Venue],
        currencies: Collection[str],
        publish: Callable[[Event], None],
        clock: Clock,
    ) -> None:
        """`currencies` are those to be quoted: settled in, and not set by a person."""
        self._rates = rates
        self._sources = [
            venue.market_data for venue in venues if isinstance(venue.market_data, CurrencyQuotes)
        ]
        self._currencies = sorted(currencies)
        self._publish = publish
        self._clock = clock
        self._told: set[str] = set()

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        while self._sources and self._currencies:
            await self.ask()
            await asyncio.sleep(INTERVAL_S)
        await asyncio.Event().wait()

    async def ask(self) -> None:
        """Ask the sources in turn until one answers."""
        for source in self._sources:
            try:
                quoted = await source.usd_rates(self._currencies)
            except VenueError:
                continue
            for currency, rate in quoted.items():
                self._take(currency, rate)
            return

    def _take(self, currency: str, rate: Decimal) -> None:
        if LOWEST <= rate <= HIGHEST:
            self._rates.set(currency, rate)
            self._told.discard(currency)
        elif currency not in self._told:
            self._told.add(currency)
            self._publish(
                AlertFired(
                    ts_ns=self._clock.now_ns(),
                    name="stablecoin_off_par",
                    severity="critical",
                    text=f"{currency} is quoted at {rate} USD; its last good rate stays in use",
                )
            )
