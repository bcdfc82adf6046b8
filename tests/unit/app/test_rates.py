"""Quoted stablecoin rates: taken near par, told when they are not, asked for by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

from perpbot.app.rates import RateKeeper
from perpbot.domain.errors import Unavailable
from perpbot.domain.events import AlertFired, Event
from perpbot.kernel.clock import VirtualTime
from perpbot.portfolio.currency import CurrencyRates
from perpbot.venues.port import Venue


class Quoting:
    """Market data of a venue that quotes currencies, or fails to."""

    def __init__(self, rates: Mapping[str, Decimal] | None) -> None:
        self.rates = rates
        self.asked: list[Sequence[str]] = []

    async def usd_rates(self, currencies: Sequence[str]) -> Mapping[str, Decimal]:
        """Answer, or be unreachable."""
        self.asked.append(currencies)
        if self.rates is None:
            raise Unavailable("okx", "no answer")
        return self.rates


class Place:
    """A venue with nothing but market data."""

    def __init__(self, market_data: object) -> None:
        self.market_data = market_data


def keeper_of(*sources: object) -> tuple[RateKeeper, CurrencyRates, list[Event]]:
    """Return a keeper over these sources, its rates and what it published."""
    rates, told = CurrencyRates(), list[Event]()
    venues = [cast("Venue", Place(source)) for source in sources]
    keeper = RateKeeper(rates, venues, {"USDT", "USDC"}, told.append, VirtualTime())
    return keeper, rates, told


async def test_a_quote_near_par_becomes_the_rate() -> None:
    """What a venue quotes is what a unit is worth."""
    keeper, rates, told = keeper_of(Quoting({"USDT": Decimal("0.9993")}))

    await keeper.ask()

    assert rates.usd("USDT") == Decimal("0.9993")
    assert rates.usd("USDC") is None
    assert told == []


async def test_a_quote_far_from_par_is_told_once_and_not_taken() -> None:
    """A broken stablecoin is a matter for a person; the last good rate stays."""
    source = Quoting({"USDT": Decimal(1)})
    keeper, rates, told = keeper_of(source)
    await keeper.ask()
    source.rates = {"USDT": Decimal("0.5")}

    await keeper.ask()
    await keeper.ask()

    assert rates.usd("USDT") == 1
    assert [cast("AlertFired", event).name for event in told] == ["stablecoin_off_par"]


async def test_the_next_source_answers_for_one_that_does_not() -> None:
    """An unreachable venue does not take the rates with it; others without quotes are passed."""
    keeper, rates, _ = keeper_of(object(), Quoting(None), Quoting({"USDC": Decimal(1)}))

    await keeper.ask()

    assert rates.usd("USDC") == 1
