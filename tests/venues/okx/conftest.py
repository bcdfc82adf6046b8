"""A scripted OKX with one instrument and one account, and the adapter on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perpbot.venues.okx.venue import OkxVenue
from tests.venues.okx.loopback import LoopbackOkx, loopback_okx
from tests.venues.okx.rig import CONFIG, INSTRUMENTS, NET_ACCOUNT, make_venue
from tests.venues.okx.support import INSTRUMENT_ROW


@pytest.fixture
async def server() -> AsyncIterator[LoopbackOkx]:
    """Run a scripted OKX with one instrument and one account."""
    async with loopback_okx() as running:
        running.rest[INSTRUMENTS] = [INSTRUMENT_ROW]
        running.rest[CONFIG] = NET_ACCOUNT
        yield running


@pytest.fixture
async def venue(server: LoopbackOkx) -> AsyncIterator[OkxVenue]:
    """Return a venue that knows its instruments."""
    made = make_venue(server)
    await made.market_data.instruments()
    yield made
    await made.close()
