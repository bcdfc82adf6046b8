"""What execution needs to know of the world around a pair: instruments, venues, the market now."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import PositionSide


class MarketView(Protocol):
    """The newest market data (`perpbot.market.engine.QuoteEngine`)."""

    def latest(self, venue: str, asset: str) -> QuoteUpdated | None:
        """Return the last accepted quote, however old."""

    def touch(self, venue: str, asset: str) -> tuple[float, float] | None:
        """Return the newest bid and ask, be they late or old: for what must leave a position."""

    def usable(self, venue: str, asset: str) -> bool:
        """Whether that quote may open something: fresh, uncrossed, in sequence."""

    def mark(self, venue: str, asset: str) -> Decimal | None:
        """Return USD per base coin: the venue's mark, else the mid of a usable quote."""


class Account(msgspec.Struct, frozen=True):
    """One account that orders may go to."""

    name: str
    hedge_mode: bool = False


class Surroundings:
    """Lookups by venue and asset."""

    def __init__(
        self,
        instruments: Mapping[tuple[str, str], Instrument],
        capabilities: Mapping[str, Capabilities],
        accounts: Mapping[str, Account],
        market: MarketView,
    ) -> None:
        self.instruments = instruments
        self.capabilities = capabilities
        self.accounts = accounts
        self.market = market

    def instrument(self, venue: str, asset: str) -> Instrument:
        """Return an instrument; raise `InvalidValue` for one that is not traded here."""
        found = self.instruments.get((venue, asset))
        if found is None:
            raise InvalidValue(f"{asset} is not traded on {venue}")
        return found

    def position_side(self, venue: str, leg: int) -> PositionSide:
        """Return the side of a leg's position: NET unless the account is in hedge mode."""
        if not self.accounts[venue].hedge_mode:
            return PositionSide.NET
        return PositionSide.SHORT if leg else PositionSide.LONG
