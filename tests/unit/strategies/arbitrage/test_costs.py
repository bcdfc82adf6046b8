"""Fees by role and funding over a hold."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import FundingRateUpdated
from perpbot.settings import setting
from perpbot.strategies.arbitrage.costs import FeeModel, funding_bps, round_trip
from perpbot.strategies.arbitrage.settings import ArbitrageSettings, Role
from perpbot.venues.settings import VenueMarketSettings, VenueSettings
from tests.unit.market.floor import BTC, capabilities

DECLARED = {venue: capabilities(venue) for venue in ("okx", "binance")}
EIGHT_HOURS_S = 28_800


class Account(VenueSettings):
    symbols: dict[str, VenueMarketSettings] = setting({}, "Single markets.")


class Tree:
    def __init__(self, **venues: Account) -> None:
        self._venues = venues

    def venue(self, name: str) -> Account:
        return self._venues.get(name, Account())


def rate(value: float, interval_s: int = EIGHT_HOURS_S) -> FundingRateUpdated:
    """A funding rate of the asset."""
    return FundingRateUpdated(venue="x", asset=BTC, rate=value, interval_s=interval_s, next_ns=0)


def test_declared_fees_hold_unless_told_otherwise() -> None:
    """Market before venue before what the venue declares, role by role."""
    market = VenueMarketSettings(taker_fee_bps=Decimal(1))
    okx = Account(taker_fee_bps=Decimal(3), maker_fee_bps=Decimal("-0.5"), symbols={BTC: market})
    fees = FeeModel.of(DECLARED, Tree(okx=okx))
    assert fees.bps("okx", BTC, Role.TAKER) == 1
    assert fees.bps("okx", BTC, Role.MAKER) == Decimal("-0.5")
    assert fees.bps("okx", "ETH-PERP", Role.TAKER) == 3
    assert fees.bps("binance", BTC, Role.TAKER) == 5
    assert fees.bps("binance", BTC, Role.MAKER) == 2


def test_unknown_venue_has_no_fee() -> None:
    """No default fee is invented."""
    with pytest.raises(InvalidValue, match="kraken"):
        FeeModel(DECLARED).bps("kraken", BTC, Role.TAKER)


def test_round_trip_pays_both_legs_both_ways() -> None:
    """Maker in, taker out: 2 + 2, 5 + 5, and four times the slippage."""
    settings = ArbitrageSettings(entry_role=Role.MAKER, exit_role=Role.TAKER, slippage_bps=0.5)
    costs = round_trip(FeeModel(DECLARED), settings, BTC, "okx", "binance")
    assert (costs.entry_fees_bps, costs.exit_fees_bps, costs.slippage_bps) == (4.0, 10.0, 2.0)
    assert costs.total_bps == 16.0


@pytest.mark.parametrize(
    ("long", "short", "expected"),
    [
        pytest.param(rate(1e-4), rate(3e-4), 2.0, id="short-receives-more"),
        pytest.param(rate(3e-4), rate(1e-4), -2.0, id="long-pays-more"),
        pytest.param(rate(-1e-4), rate(1e-4), 2.0, id="both-receive"),
        pytest.param(rate(1e-4, 3_600), rate(1e-4), -7.0, id="intervals-differ"),
        pytest.param(None, rate(3e-4), 0.0, id="gain-not-counted-when-long-unknown"),
        pytest.param(rate(3e-4), None, -3.0, id="cost-counted-when-short-unknown"),
        pytest.param(None, None, 0.0, id="nothing-known"),
    ],
)
def test_funding_is_what_the_short_receives_less_what_the_long_pays(
    long: FundingRateUpdated | None, short: FundingRateUpdated | None, expected: float
) -> None:
    """Each rate for as many of its own intervals as the hold has (eight hours here)."""
    assert funding_bps(long, short, EIGHT_HOURS_S) == pytest.approx(expected)
