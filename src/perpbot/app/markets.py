"""What is traded, where, and by which account."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

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
