"""A scripted Binance that answers, and adapters pointed at it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from perpbot.kernel.clock import RealClock
from perpbot.venues.binance.venue import BinanceVenue, create
from perpbot.venues.options import VenueConnection
from tests.venues.binance.stub import CREDENTIALS, StubBinance
from tests.venues.waiting import PATIENCE_S


@pytest.fixture
async def stub() -> AsyncIterator[StubBinance]:
    """A running stub."""
    binance = StubBinance()
    app = web.Application()
    app.router.add_get("/ws-fapi/v1", binance.api)
    app.router.add_get("/{route}/ws", binance.socket)
    app.router.add_route("*", "/fapi/{rest:.*}", binance.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    binance.port = runner.addresses[0][1]
    binance.answers["GET", "/fapi/v1/time"] = {"serverTime": RealClock().now_ns() // 1_000_000}
    yield binance
    await runner.cleanup()


@pytest.fixture
async def venue(stub: StubBinance) -> AsyncIterator[BinanceVenue]:
    """The adapter with credentials, pointed at the stub."""
    settings = VenueConnection(
        rest_url=stub.rest_url, ws_url=stub.ws_url, request_timeout_s=PATIENCE_S
    )
    made = create(
        settings=settings,
        credentials=CREDENTIALS,
        clock=RealClock(),
        rng=random.Random(3),
        books=True,
    )
    yield made
    await made.close()


@pytest.fixture
async def public_venue(stub: StubBinance) -> AsyncIterator[BinanceVenue]:
    """The adapter without credentials."""
    settings = VenueConnection(rest_url=stub.rest_url, ws_url=stub.ws_url)
    made = create(settings=settings, credentials=None, clock=RealClock(), rng=random.Random(3))
    yield made
    await made.close()
