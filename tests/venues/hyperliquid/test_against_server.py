"""The adapter against our own Hyperliquid server, an independent reading of the same protocol."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from perpbot.domain.errors import NonceClash, Rejected
from perpbot.domain.events import AccountReported, Event, FillReported, OrderReported
from perpbot.domain.orders import TransferReport
from perpbot.domain.sides import OrderState, Purpose, Side, TimeInForce
from perpbot.kernel.clock import RealClock, VirtualTime
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.hyperliquid import CONTRACTS, PROFILE, Server
from perpbot.simulation.wire.server import serving
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.venue import Hyperliquid, create
from perpbot.venues.options import VenueConnection
from tests.venues.hyperliquid.loopback import client_id, order_request, running
from tests.venues.sink import Sink
from tests.venues.waiting import until

D = Decimal


@asynccontextmanager
async def trading(*, greets: bool = False) -> AsyncIterator[tuple[Hyperliquid, list[Event]]]:
    """Yield the adapter, opened and streaming, and what its account publishes."""
    async with exchange_trading(greets=greets) as (_, venue, events):
        yield venue, events


@asynccontextmanager
async def exchange_trading(
    *, greets: bool = False
) -> AsyncIterator[tuple[Exchange, Hyperliquid, list[Event]]]:
    """Yield the exchange, too."""
    exchange = Exchange(PROFILE, CONTRACTS, time.time_ns, Accountant())
    exchange.open_account("client", {"USDC": D(100_000)})
    server = Server(exchange, time.time_ns, random.Random(7), greets=greets)
    exchange.quote("BTC", [(D(65000), D(2))], [(D(65001), D("0.5"))])
    exchange.set_mark("BTC", D(65000), D(65000), D("0.0000125"), time.time_ns() + 10**12)
    events: list[Event] = []
    async with serving(server) as address:
        venue = create(
            settings=VenueConnection(
                rest_url=address.rest_url, ws_url=address.rest_url.replace("http", "ws")
            ),
            credentials=HyperliquidCredentials(**server.credentials()),
            clock=RealClock(),
            rng=random.Random(1),
        )
        try:
            instruments = await venue.market_data.instruments()
            await venue.open(instruments[:2])
            async with running(venue.account.run(events.append)):
                socket = venue.account._socket
                assert socket is not None
                await until(lambda: socket.is_up)
                yield exchange, venue, events
        finally:
            await venue.close()


def has_ended(event: Event) -> bool:
    """Tell whether an event says that an order came to its end."""
    return isinstance(event, OrderReported) and event.report.state.is_end


async def test_order_lives_and_dies() -> None:
    """Placed, listed, found by client id, cancelled, found as cancelled."""
    order = order_request(price=D(64000), time_in_force=TimeInForce.GTC)
    async with trading(greets=True) as (venue, _):
        placed = await venue.trading.submit(order, lambda: None)
        (listed,) = await venue.account.open_orders()
        await venue.trading.cancel(order, "")
        found = await venue.account.order(order, "")
        assert await venue.account.order(order_request(), "") is None
        with pytest.raises(Rejected):
            await venue.trading.cancel(order, "")
    assert placed.state is OrderState.ACCEPTED
    assert listed.client_id == order.client_id
    assert listed.venue_order_id == placed.venue_order_id
    assert found is not None
    assert found.state is OrderState.CANCELLED
    assert found.filled == 0


async def test_partial_ioc_is_told_alike_by_answer_stream_and_questions() -> None:
    """Answer, order stream, fills and position agree on what was filled."""
    order = order_request(quantity=D(1), price=D(65001))
    async with trading() as (venue, events):
        answer = await venue.trading.submit(order, lambda: None)
        await until(lambda: any(isinstance(one, FillReported) for one in events))
        await until(lambda: any(has_ended(one) for one in events))
        found = await venue.account.order(order, "")
        (fill,) = await venue.account.fills(0)
        (position,) = await venue.account.positions()
        (balance,) = await venue.account.balances()
    assert answer.state is OrderState.CANCELLED
    assert found is not None
    assert found.state is OrderState.CANCELLED
    assert answer.filled == found.filled == fill.quantity == position.quantity == D("0.5")
    assert fill.client_id == order.client_id
    told = [one.report for one in events if isinstance(one, FillReported)]
    assert told == [fill]
    assert balance.equity == 100_000 - fill.fee + position.unrealized_pnl


async def test_reduction_stop_and_switch() -> None:
    """A reduce-only order closes, a stop rests, the dead man's switch arms and disarms."""
    async with trading() as (venue, _):
        btc = (await venue.market_data.instruments())[0]
        opened = order_request(quantity=D("0.1"), price=D(65001))
        await venue.trading.submit(opened, lambda: None)
        stop = await venue.trading.submit_stop(
            btc,
            client_id=client_id(),
            side=Side.SELL,
            trigger_price=D(60000),
            quantity=D("0.1"),
        )
        await venue.trading.set_dead_man(btc, 30)
        await venue.trading.set_dead_man(btc, 0)
        closing = order_request(
            quantity=D("0.1"),
            price=D(65000),
            side=Side.SELL,
            reduce_only=True,
            purpose=Purpose.REDUCE,
        )
        closed = await venue.trading.submit(closing, lambda: None)
        assert await venue.account.positions() == ()
    assert stop.state is OrderState.ACCEPTED
    assert closed.state is OrderState.FILLED


async def test_nonces_and_expiry_hold_at_the_venue() -> None:
    """A used nonce clashes, a burnt one is dead, an expired request is refused."""
    async with trading() as (venue, _):
        nonce = venue.trading.nonces.next_ms()
        assert await venue.trading.burn_nonce(nonce)
        assert not await venue.trading.burn_nonce(nonce)
        with pytest.raises(NonceClash):
            await venue.trading.submit(order_request(nonce=nonce), lambda: None)
        late = order_request(expires_ns=5 * 10**6)
        venue.trading._clock = VirtualTime()
        with pytest.raises(Rejected) as caught:
            await venue.trading.submit(late, lambda: None)
        assert caught.value.code == "expired"
        assert "Action expired" in caught.value.message
        assert await venue.account.open_orders() == []


async def test_public_stream_of_the_server() -> None:
    """Quotes, marks and funding arrive; nothing is refused."""
    sink = Sink("hyperliquid")
    async with trading(greets=True) as (venue, _):
        instruments = await venue.market_data.instruments()
        async with running(venue.market_data.run(instruments[:1], sink)):
            await until(lambda: sink.slots.get("BTC") and sink.slots["BTC"].quotes)
            await until(lambda: len(sink.events) >= 3)
    assert sink.slots["BTC"].quotes[0][:4] == (65000.0, 2.0, 65001.0, 0.5)
    assert not sink.refused


async def test_money_that_moves_is_told_and_listed() -> None:
    """By the stream as it happens, and by asking; a withdrawal takes its fee along."""

    def streamed() -> list[TransferReport]:
        told = (one for one in events if isinstance(one, AccountReported))
        return [moved for one in told for moved in one.transfers]

    async with exchange_trading() as (exchange, venue, events):
        exchange.transfer("client", "USDC", D(250))
        exchange.transfer("client", "USDC", D(-40))
        await until(lambda: len(streamed()) == 2)
        asked = await venue.account.transfers(0)
    assert [moved.amount for moved in asked] == [D(250), D(-40)]
    assert streamed() == list(asked)
