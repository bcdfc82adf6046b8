"""Opening an account, with keys and without."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import (
    AuthFailed,
    ProtocolViolation,
    ReadOnly,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.kernel.clock import RealClock
from perpbot.venues.okx.orders import PositionMode
from perpbot.venues.okx.venue import OkxVenue, create
from perpbot.venues.options import VenueConnection
from tests.venues.okx.loopback import LoopbackOkx
from tests.venues.okx.rig import CONFIG, Sent, make_venue
from tests.venues.okx.support import BTC, an_order


async def test_open_learns_the_position_mode(server: LoopbackOkx, venue: OkxVenue) -> None:
    """account/config decides between net and long/short."""
    server.rest[CONFIG] = [{"posMode": "long_short_mode", "acctLv": "2"}]

    await venue.open([BTC])

    assert venue.trading.mode is PositionMode.LONG_SHORT


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([{"posMode": "net_mode", "acctLv": "1"}], Rejected),
        ([{"posMode": "sideways", "acctLv": "2"}], ProtocolViolation),
        ([], ProtocolViolation),
        ((401, '{"code":"50111","msg":"Invalid OK-ACCESS-KEY"}'), AuthFailed),
    ],
    ids=["spot-account", "mode", "nothing", "key"],
)
async def test_open_refuses_accounts_that_cannot_trade(
    server: LoopbackOkx, venue: OkxVenue, answer: Any, kind: type[VenueError]
) -> None:
    """The reason is told when the venue opens, not with the first order."""
    server.rest[CONFIG] = answer

    with pytest.raises(kind):
        await venue.open([BTC])


async def test_open_sets_leverage_where_asked(server: LoopbackOkx) -> None:
    """Cross margin, one request an instrument; a refusal is raised."""
    server.rest["/api/v5/account/set-leverage"] = [{"lever": "3"}]
    venue = make_venue(server, leverage=3)

    await venue.open([BTC])

    ((method, _, _, body),) = server.asked("/api/v5/account/set-leverage")
    assert method == "POST"
    assert json.loads(body) == {"instId": "BTC-USDT-SWAP", "lever": "3", "mgnMode": "cross"}
    server.rest["/api/v5/account/set-leverage"] = (200, '{"code":"59000","msg":"positions"}')
    with pytest.raises(Rejected):
        await venue.open([BTC])
    await venue.close()


async def test_without_credentials_it_reads_and_refuses_to_write(server: LoopbackOkx) -> None:
    """Writes are typed refusals, private reads too; nothing is invented and nothing is sent."""
    venue = create(
        settings=VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url),
        credentials=None,
        clock=RealClock(),
        rng=random.Random(1),
    )
    await venue.open([BTC])

    assert not venue.can_trade
    for write in (
        venue.trading.submit(an_order(), Sent()),
        venue.trading.cancel(an_order(), "1"),
        venue.trading.set_dead_man(BTC, 30),
        venue.trading.submit_stop(an_order(), Decimal(1), Sent()),
        venue.trading.cancel_stop(BTC, "1"),
        venue.trading.open_stops(),
        venue.account.run(lambda _event: None),
    ):
        with pytest.raises(ReadOnly):
            await write
    with pytest.raises(Unavailable) as caught:
        await venue.account.positions()
    assert caught.value.code == "read_only"
    assert not server.requests
    await venue.close()


async def test_demo_trading_carries_its_header(server: LoopbackOkx) -> None:
    """On the testnet every REST request says so."""
    venue = make_venue(server, testnet=True)

    await venue.market_data.instruments()

    assert server.requests[0][2]["x-simulated-trading"] == "1"
    await venue.close()
