"""What a round trip costs: fees by role, and funding over the expected hold. All in bps."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import FundingRateUpdated
from perpbot.strategies.arbitrage.settings import ArbitrageSettings, Role


class Fees(Protocol):
    """Fees of an account where they differ from the venue's base tier; None: they do not."""

    @property
    def maker_fee_bps(self) -> Decimal | None:
        """Negative is a rebate."""

    @property
    def taker_fee_bps(self) -> Decimal | None:
        """Negative is a rebate."""


class VenueFees(Fees, Protocol):
    """Those of a venue, and of single markets of it by asset."""

    @property
    def symbols(self) -> Mapping[str, Fees]:
        """What differs for single markets."""


class FeeSource(Protocol):
    """Where people set fees (the settings tree)."""

    def venue(self, name: str) -> VenueFees:
        """Return what is set for a venue."""


class FeeModel:
    """Fees by venue, asset and role: the venue's declared ones unless told otherwise."""

    def __init__(
        self,
        capabilities: Mapping[str, Capabilities],
        overrides: Mapping[str, VenueFees] | None = None,
    ) -> None:
        self._capabilities = capabilities
        self._overrides = overrides or {}

    @classmethod
    def of(cls, capabilities: Mapping[str, Capabilities], settings: FeeSource) -> FeeModel:
        """Return the fees of the venues under what people set."""
        return cls(capabilities, {venue: settings.venue(venue) for venue in capabilities})

    def bps(self, venue: str, asset: str, role: Role) -> Decimal:
        """Return the fee of one leg and way; negative is a rebate.

        Raises `InvalidValue` for a venue without declared fees.
        """
        override = self._overrides.get(venue)
        if override is not None:
            for fees in (override.symbols.get(asset), override):
                told = None if fees is None else _of_role(fees, role)
                if told is not None:
                    return told
        declared = self._capabilities.get(venue)
        if declared is None:
            raise InvalidValue(f"venue was {venue!r}, one with declared fees was expected")
        return declared.maker_fee_bps if role is Role.MAKER else declared.taker_fee_bps


def _of_role(fees: Fees, role: Role) -> Decimal | None:
    return fees.maker_fee_bps if role is Role.MAKER else fees.taker_fee_bps


class RoundTrip(msgspec.Struct, frozen=True):
    """What both legs pay together, in bps of one leg's notional."""

    entry_fees_bps: float
    exit_fees_bps: float
    slippage_bps: float
    total_bps: float = 0.0
    """All of it."""

    def __post_init__(self) -> None:
        total_bps = self.entry_fees_bps + self.exit_fees_bps + self.slippage_bps
        msgspec.structs.force_setattr(self, "total_bps", total_bps)


def round_trip(
    fees: FeeModel, settings: ArbitrageSettings, asset: str, long_venue: str, short_venue: str
) -> RoundTrip:
    """Return the costs of entering and leaving a pair: two legs, two ways."""
    venues = (long_venue, short_venue)
    return RoundTrip(
        entry_fees_bps=float(sum(fees.bps(venue, asset, settings.entry_role) for venue in venues)),
        exit_fees_bps=float(sum(fees.bps(venue, asset, settings.exit_role) for venue in venues)),
        slippage_bps=4 * settings.slippage_bps,
    )


def funding_bps(
    long: FundingRateUpdated | None, short: FundingRateUpdated | None, hold_s: float
) -> float:
    """Return what funding brings over a hold; negative is a cost (corrections E-12).

    A long pays its venue's rate, a short receives its: net = rate_short - rate_long, each for as
    many of its own intervals as the hold has. A rate that is not known counts as a cost only where
    it is known on the other side, so an unknown rate never makes an edge.
    """
    paid = _over_hold(long, hold_s)
    received = _over_hold(short, hold_s)
    if long is None or short is None:
        return min(received - paid, 0.0)
    return received - paid


def _over_hold(funding: FundingRateUpdated | None, hold_s: float) -> float:
    if funding is None:
        return 0.0
    return funding.rate * 10_000 * hold_s / funding.interval_s
