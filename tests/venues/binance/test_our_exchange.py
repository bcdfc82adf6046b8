"""The adapter against the Binance that we serve, which reads the protocol on its own account."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import cycle

import pytest

from perpbot.domain.errors import OutcomeUnknown, Rejected, Unavailable
from perpbot.domain.events import (
    AccountReported,
    BookUpdated,
    FillReported,
    VenueConnectionChanged,
)
from perpbot.domain.sides import OrderState, PositionSide, Side, TimeInForce
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.binance import Server
from perpbot.simulation.wire.server import serving
from perpbot.venues.binance.signing import BinanceCredentials
from perpbot.venues.binance.venue import BinanceVenue, create
from perpbot.venues.options import VenueConnection
from tests.venues.our_market import OurMarket
from tests.venues.waiting import until

SYMBOL = "BTCUSDT"
BY_SOCKET = pytest.mark.parametrize("by_socket", [True, False], ids=["websocket", "rest"])


class Market(OurMarket):
    """An exchange of ours with 100 000 USDT, and its server."""

    def __init__(self) -> None:
        clock = RealClock()
        exchange = Exchange(Server.profile(), Server.contracts(), clock.now_ns, Accountant({}))
        self.server = Server(exchange, clock.now_ns, random.Random(3))
        super().__init__(exchange, self.server, SYMBOL)

    def quote(self, mid: Decimal) -> None:
        """Move the mark as well."""
        super().quote(mid)
        self.exchange.set_mark(SYMBOL, mid, mid, Decimal("0.0001"), 2_000_000_000 * SECOND)


@asynccontextmanager
async def open_market(
    *, secret: str = "", by_socket: bool = True
) -> AsyncIterator[tuple[Market, BinanceVenue]]:
    """Serve, connect, and wait until quotes flow, the account listens and orders can be sent.

    Orders go by the websocket API, or by REST where that socket is never opened.
    """
    market = Market()
    async with serving(market.server) as running:
        known = market.server.credentials()
        venue = create(
            settings=VenueConnection(rest_url=running.rest_url, ws_url=running.ws_url),
            credentials=BinanceCredentials(known["api_key"], secret or known["api_secret"]),
            clock=RealClock(),
            rng=random.Random(1),
            books=True,
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            instruments = await venue.market_data.instruments()
            assert len(instruments) == 10
            await venue.open(instruments)
            if not by_socket:
                venue.account._orders = None
            traded = [one for one in instruments if one.symbol == SYMBOL]
            tasks = [
                asyncio.create_task(venue.market_data.run(traded, market.sink)),
                asyncio.create_task(venue.account.run(market.heard.append)),
            ]
            slot = market.sink.slot(traded[0])

            mids = cycle(range(65_000, 65_005))

            def up() -> bool:
                market.quote(Decimal(next(mids)))
                ready = venue.trading._session.is_ready is by_socket
                return (
                    ready
                    and bool(slot.quotes)
                    and any(isinstance(event, VenueConnectionChanged) for event in market.heard)
                )

            await until(up)
            yield market, venue
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await venue.close()


async def test_book_is_the_exchanges_and_survives_a_gap() -> None:
    """The published book is the exchange's own; after a lost frame it is built anew."""
    async with open_market() as (market, _venue):
        for mid in (65_100, 65_200):
            start = len(market.sink.of(BookUpdated))

            mids = cycle(range(mid - 50, mid - 43))

            def moved(start: int = start, mids: Iterator[int] = mids) -> bool:
                market.quote(Decimal(next(mids)))
                return len(market.sink.of(BookUpdated)) > start + 5

            await until(moved)
            market.quote(Decimal(mid))

            def agrees(best: float = mid - 0.1) -> bool:
                return bool(market.sink.of(BookUpdated)[-1].bids[0][0] == best)

            await until(agrees)
            view, last = market.exchange.book(SYMBOL), market.sink.of(BookUpdated)[-1]
            assert [Decimal(repr(price)) for price, _ in last.bids] == [
                row[0] for row in view.bids
            ]
            assert [Decimal(repr(price)) for price, _ in last.asks] == [
                row[0] for row in view.asks
            ]
            market.server.lose_depth(SYMBOL)
        # The one frame that was lost on purpose, between the two rounds.
        assert market.sink.refused == {"depth gap": 1}


@BY_SOCKET
async def test_life_of_orders(*, by_socket: bool) -> None:
    """Rest, cancel, refuse, take and reduce: stream and queries tell the same."""
    async with open_market(by_socket=by_socket) as (market, venue):
        resting = market.order("63000")
        await venue.trading.submit(resting, lambda: None)
        [listed] = await venue.account.open_orders()
        assert listed.client_id == resting.client_id
        await venue.trading.cancel(resting, listed.venue_order_id)
        await until(lambda: market.states(resting)[-1:] == [OrderState.CANCELLED])
        with pytest.raises(Rejected):
            await venue.trading.cancel(resting, listed.venue_order_id)

        crossing = market.order("66000", time_in_force=TimeInForce.POST_ONLY)
        with pytest.raises(Rejected):
            await venue.trading.submit(crossing, lambda: None)
        assert await venue.account.order(crossing, "") is None

        taking = market.order("66000", time_in_force=TimeInForce.IOC)
        await venue.trading.submit(taking, lambda: None)
        await until(lambda: market.states(taking)[-1:] == [OrderState.FILLED])
        [position] = await venue.account.positions()
        assert position.quantity == Decimal("0.01")

        closing = market.order(None, side=Side.SELL, reduce_only=True)
        await venue.trading.submit(closing, lambda: None)
        await until(lambda: market.states(closing)[-1:] == [OrderState.FILLED])
        assert await venue.account.positions() == []
        streamed = [event.report for event in market.heard if isinstance(event, FillReported)]
        asked = await venue.account.fills(RealClock().now_ns() - 60 * SECOND)
        assert [(fill.trade_id, fill.quantity, fill.fee) for fill in asked] == [
            (fill.trade_id, fill.quantity, fill.fee) for fill in streamed
        ]
        [balance] = await venue.account.balances()
        fees = sum((fill.fee for fill in streamed), Decimal(0))
        assert Decimal(99_990) < balance.wallet < Decimal(100_000)
        assert fees > 0
        # Five orders (the last of them refused) and two cancels were answered, here or there.
        assert venue.trading._session.channel.statistics().frames == (6 if by_socket else 0)


@BY_SOCKET
async def test_unknown_outcome_is_found_by_asking(*, by_socket: bool) -> None:
    """-1007 after the order took effect: unknown, and the query by client id finds it."""
    async with open_market(by_socket=by_socket) as (market, venue):
        market.server.leave_outcomes_open(1)
        order = market.order("63000")
        with pytest.raises(OutcomeUnknown):
            await venue.trading.submit(order, lambda: None)
        found = await venue.account.order(order, "")
        assert found is not None
        assert found.state is OrderState.ACCEPTED


async def test_an_order_is_written_before_anything_else_runs() -> None:
    """The exchange takes what `begin` wrote; its answer follows."""
    async with open_market() as (market, venue):
        order = market.order("63000")
        told: list[int] = []
        answer = venue.trading.begin(order, lambda: told.append(1))
        assert told == [1]
        assert answer is not None
        report = await answer
        assert (report.client_id, report.state) == (order.client_id, OrderState.ACCEPTED)


async def test_a_socket_that_is_cut_comes_back() -> None:
    """What was under way is unknown and found by asking; the next order goes out again."""
    async with open_market() as (market, venue):
        session = venue.trading._session
        order = market.order("63000")
        answer = venue.trading.begin(order, lambda: None)
        assert answer is not None
        session.channel.reconnect("cut by the test")
        with pytest.raises(OutcomeUnknown):
            await answer
        await until(lambda: market.states(order))
        found = await venue.account.order(order, "")
        assert found is not None
        await until(lambda: session.is_ready)
        again = venue.trading.begin(market.order("62000"), lambda: None)
        assert again is not None
        assert (await again).state is OrderState.ACCEPTED


async def test_private_stream_comes_back_after_an_expired_key() -> None:
    """With a new key; what happens afterwards is heard."""
    async with open_market() as (market, venue):
        market.server.expire_listen_key()
        await until(lambda: len(market.connections()) > 2)
        assert market.connections()[-1] is market.connections()[0]
        order = market.order("63000")
        await venue.trading.submit(order, lambda: None)
        await until(lambda: OrderState.ACCEPTED in market.states(order))


@BY_SOCKET
async def test_hedge_mode_legs(*, by_socket: bool) -> None:
    """Learned when the venue opens; each leg closes by the other side."""
    async with open_market(by_socket=by_socket) as (market, venue):
        market.exchange.set_hedge_mode("client", True)
        await venue.open([])
        for side, leg in ((Side.BUY, PositionSide.LONG), (Side.SELL, PositionSide.SHORT)):
            await venue.trading.submit(
                market.order(None, side=side, position_side=leg), lambda: None
            )
        legs = {row.position_side: row.quantity for row in await venue.account.positions()}
        assert legs == {PositionSide.LONG: Decimal("0.01"), PositionSide.SHORT: Decimal("-0.01")}
        await venue.trading.submit(
            market.order(None, side=Side.SELL, position_side=PositionSide.LONG, reduce_only=True),
            lambda: None,
        )
        [left] = await venue.account.positions()
        assert left.position_side is PositionSide.SHORT


async def test_funding_is_told_and_listed() -> None:
    """A payment on a long leg is a cost."""
    async with open_market() as (market, venue):
        await venue.trading.submit(market.order(None), lambda: None)
        market.exchange.settle_funding(SYMBOL)
        [paid] = await venue.account.funding(0)
        assert paid.amount < 0


async def test_money_that_moves_is_told_and_listed() -> None:
    """The stream's word that money moved makes the adapter ask for the transfer and its id."""
    async with open_market() as (market, venue):
        market.exchange.transfer(market.server.account, "USDT", Decimal(250))
        market.exchange.transfer(market.server.account, "USDT", Decimal(-40))
        asked = await venue.account.transfers(0)

        def told() -> set[str]:
            reports = (one for one in market.heard if isinstance(one, AccountReported))
            return {moved.transfer_id for one in reports for moved in one.transfers}

        await until(lambda: len(told()) == 2)
    assert [(one.amount, one.currency, one.kind) for one in asked] == [
        (Decimal(250), "USDT", "TRANSFER"),
        (Decimal(-40), "USDT", "TRANSFER"),
    ]
    assert told() == {one.transfer_id for one in asked}


async def test_wrong_secret_is_refused() -> None:
    """The server checks signatures with code of its own."""
    with pytest.raises(Unavailable, match="code -1022"):
        async with open_market(secret="wrong"):
            pass
