"""What a unit of settle currency is worth in USD, the reporting currency."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import ONE


class CurrencyRates:
    """USD per unit, by currency. USD itself is 1.

    `assumed` is what an unknown stablecoin is taken for: 1 in demo and replay, None elsewhere,
    where a pair whose settle currency has no rate is refused.
    """

    def __init__(
        self, rates: Mapping[str, Decimal] | None = None, *, assumed: Decimal | None = None
    ) -> None:
        self._assumed = assumed
        self._rates: dict[str, Decimal] = {"USD": ONE}
        for currency, rate in (rates or {}).items():
            self.set(currency, rate)

    def set(self, currency: str, rate: Decimal) -> None:
        """Take a quoted rate; raise `InvalidValue` unless it is positive and finite."""
        if not rate.is_finite() or rate <= 0:
            raise InvalidValue(f"rate of {currency} was {rate}, a positive number was expected")
        self._rates[currency] = rate

    def usd(self, currency: str) -> Decimal | None:
        """Return USD per unit, or None when it is not known."""
        return self._rates.get(currency, self._assumed)
