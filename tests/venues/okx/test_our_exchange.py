"""The adapter against the OKX that we serve, which reads the protocol on its own account."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.errors import AuthFailed, OutcomeUnknown
from perpbot.domain.events import AccountReported, BookUpdated, Event, FillReported
from perpbot.domain.sides import OrderState, OrderType, Side, TimeInForce
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.okx.server import Server
from perpbot.simulation.wire.server import serving
from perpbot.venues.okx.signing import OkxCredentials
from perpbot.venues.okx.venue import OkxVenue
from perpbot.venues.options import VenueConnection
from tests.venues.our_market import OurMarket
from tests.venues.waiting import until

SYMBOL = "BTC-USDT-SWAP"


class Market(OurMarket):
    """An exchange of ours with 100 000 USDT, and its server."""

    def __init__(self, *, books_snapshot: bool) -> None:
        clock = RealClock()
        exchange = Exchange(Server.profile(), Server.contracts(), clock.now_ns, Accountant({}))
        self.server = Server(
            exchange, clock.now_ns, random.Random(3), books_snapshot=books_snapshot
        )
        super().__init__(exchange, self.server, SYMBOL)


@asynccontextmanager
async def open_market(
    *, books_snapshot: bool = True, streams: bool = True
) -> AsyncIterator[tuple[Market, OkxVenue]]:
    """Serve, connect, and wait until quotes flow and the account is logged in.

    Without `streams` there are no websockets: orders go by REST.
    """
    market = Market(books_snapshot=books_snapshot)
    async with serving(market.server) as running:
        known = market.server.credentials()
        venue = OkxVenue(
            settings=VenueConnection(rest_url=running.rest_url, ws_url=running.ws_url),
            credentials=OkxCredentials(known["api_key"], known["api_secret"], known["passphrase"]),
            clock=RealClock(),
            rng=random.Random(1),
            books=True,
        )
        instruments = await venue.market_data.instruments()
        await venue.open(instruments)
        traded = [one for one in instruments if one.symbol == SYMBOL]
        tasks = []
        if streams:
            tasks = [
                asyncio.ensure_future(venue.market_data.run(traded, market.sink)),
                asyncio.ensure_future(venue.account.run(market.heard.append)),
            ]
        try:
            slot = market.sink.slot(traded[0])
            await until(lambda: not streams or (slot.quotes and market.heard))
            yield market, venue
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await venue.close()


@pytest.mark.parametrize("books_snapshot", [True, False], ids=["snapshot", "rest"])
async def test_book_is_the_exchanges(*, books_snapshot: bool) -> None:
    """With and without a snapshot on the socket the published book is the exchange's own."""
    async with open_market(books_snapshot=books_snapshot) as (market, _venue):

        def moved() -> bool:
            market.quote(Decimal(65_000) + Decimal(len(market.sink.events) % 7))
            books = market.sink.of(BookUpdated)
            return len(books) > 5

        await until(moved)
        market.quote(Decimal(65_100))
        await until(lambda: market.sink.of(BookUpdated)[-1].bids[0][0] == 65_099.9)

        assert not market.sink.refused
        view, last = market.exchange.book(SYMBOL), market.sink.of(BookUpdated)[-1]
        assert [Decimal(repr(price)) for price, _ in last.bids] == [bid[0] for bid in view.bids]
        assert [Decimal(repr(price)) for price, _ in last.asks] == [ask[0] for ask in view.asks]
        assert last.bids[0][1] == pytest.approx(0.5)


async def test_life_of_orders() -> None:
    """Rest, cancel, expire, take and reduce: stream and queries tell the same."""
    async with open_market() as (market, venue):
        resting = market.order("60000")
        await venue.trading.submit(resting, lambda: None)
        (listed,) = await venue.account.open_orders()
        assert listed.client_id == resting.client_id
        await venue.trading.cancel(resting, listed.venue_order_id)
        await until(lambda: market.states(resting)[-1:] == [OrderState.CANCELLED])

        crossing = market.order("66000", time_in_force=TimeInForce.POST_ONLY)
        await venue.trading.submit(crossing, lambda: None)
        await until(lambda: market.states(crossing)[-1:] == [OrderState.EXPIRED])

        taking = market.order("66000", time_in_force=TimeInForce.IOC)
        await venue.trading.submit(taking, lambda: None)
        await until(lambda: market.states(taking)[-1:] == [OrderState.FILLED])
        (position,) = await venue.account.positions()
        assert position.quantity == Decimal("0.01")

        closing = msgspec.structs.replace(
            market.order("60000"),
            side=Side.SELL,
            order_type=OrderType.MARKET,
            price=None,
            reduce_only=True,
        )
        await venue.trading.submit(closing, lambda: None)
        await until(lambda: market.states(closing)[-1:] == [OrderState.FILLED])
        assert await venue.account.positions() == []
        streamed = [event.report for event in market.heard if isinstance(event, FillReported)]
        assert await venue.account.fills(0) == streamed
        assert all(fill.fee > 0 for fill in streamed)


async def test_unknown_outcome_is_found_by_asking() -> None:
    """50004 after the order took effect: unknown, and the query by client id finds it."""
    async with open_market(streams=False) as (market, venue):
        market.server.fail_next("50004", "API endpoint request timeout", acted=True)
        order = market.order("60000")

        with pytest.raises(OutcomeUnknown):
            await venue.trading.submit(order, lambda: None)
        found = await venue.account.order(order, "")

        assert found is not None
        assert found.state is OrderState.ACCEPTED


async def test_money_that_moves_is_listed() -> None:
    """Both ways, oldest first, nothing from before; the stream tells the balance."""
    async with open_market() as (market, venue):
        market.heard.clear()
        account = market.server.account
        market.exchange.transfer(account, "USDT", Decimal(250))
        market.exchange.transfer(account, "USDT", Decimal(-40))
        market.exchange.transfer(account, "BTC", Decimal(1))
        found = await venue.account.transfers(0)
        await until(lambda: _wallets(market.heard)[-1:] == [Decimal(100_210)])
        later = await venue.account.transfers(RealClock().now_ns() + SECOND)
    assert [(one.amount, one.currency, one.kind) for one in found] == [
        (Decimal(250), "USDT", "transfer in"),
        (Decimal(-40), "USDT", "transfer out"),
    ]
    assert len({one.transfer_id for one in found}) == 2
    assert later == []


def _wallets(heard: list[Event]) -> list[Decimal]:
    return [
        report.wallet
        for event in heard
        if isinstance(event, AccountReported)
        for report in event.balances
    ]


async def test_wrong_secret_is_refused() -> None:
    """The server checks signatures with code of its own."""
    market = Market(books_snapshot=True)
    async with serving(market.server) as running:
        known = market.server.credentials()
        venue = OkxVenue(
            settings=VenueConnection(rest_url=running.rest_url, ws_url=running.ws_url),
            credentials=OkxCredentials(known["api_key"], "wrong", known["passphrase"]),
            clock=RealClock(),
            rng=random.Random(1),
        )
        with pytest.raises(AuthFailed):
            await venue.open([])
        await venue.close()


async def test_stablecoins_are_quoted_by_their_index() -> None:
    """A settle currency is worth what the index says; one without an index is left out."""
    async with open_market(streams=False) as (_, venue):
        rates = await venue.market_data.usd_rates(["USDT", "DOGECOIN"])

    assert rates == {"USDT": Decimal(1)}
