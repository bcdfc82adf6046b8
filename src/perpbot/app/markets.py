"""What is traded, where, and by which account."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from decimal import Decimal

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.portfolio.currency import CurrencyRates


class Markets(msgspec.Struct, frozen=True):
    """What is traded, where, and by which account."""

    instruments: MutableMapping[tuple[str, str], Instrument]
    """Changed in place when a venue changes one; see `perpbot.execution.instrument_watch`."""
    capabilities: Mapping[str, Capabilities]
    accounts: Mapping[str, Account]
    rates: CurrencyRates

    def steps(self, venue: str) -> dict[str, Decimal]:
        """Return the quantity step of each asset that is traded on a venue."""
        return {
            asset: instrument.quantity_step
            for (name, asset), instrument in self.instruments.items()
            if name == venue
        }
