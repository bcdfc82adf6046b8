"""Each adapter asks the venue that we serve what its key may do."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perpbot.app.venues import make_venue
from perpbot.domain.errors import ReadOnly, VenueError
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import RealClock
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.wire.registry import server_class
from perpbot.simulation.wire.server import VenueServer, serving
from perpbot.venues.binance.permissions import UNTOLD
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import TellsPermissions

VENUES = ("binance", "hyperliquid", "okx")


def server_of(venue: str) -> Any:
    """Return a server with an empty account."""
    kind = server_class(venue)
    exchange = Exchange(kind.profile(), kind.contracts(), time.time_ns, Accountant())
    exchange.open_account("client", {})
    return kind(exchange, time.time_ns, random.Random(7))


@asynccontextmanager
async def adapter(server: VenueServer, **changes: str) -> AsyncIterator[TellsPermissions]:
    """Yield the adapter of a served venue; `changes` spoil its credentials."""
    async with serving(server) as served:
        venue = make_venue(
            server.venue,
            VenueConnection(rest_url=served.rest_url, ws_url=served.ws_url),
            {**server.credentials(), **changes} if changes != {"none": ""} else {},
            RealClock(),
            random.Random(1),
        )
        assert isinstance(venue, TellsPermissions)
        try:
            yield venue
        finally:
            await venue.close()


async def told(server: VenueServer) -> KeyPermissions:
    """Return what the venue says of its client's key."""
    async with adapter(server) as venue:
        return await venue.key_permissions()


@pytest.mark.parametrize("venue", VENUES)
async def test_a_trading_key_may_trade_and_not_withdraw(venue: str) -> None:
    """On every venue that we have, and no objection follows."""
    permissions = await told(server_of(venue))

    assert permissions.trade is True
    assert permissions.withdraw is False
    assert permissions.address_bound is False
    assert permissions.objections() == []
    assert permissions.warnings()


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ({"enableWithdrawals": True}, {"withdraw": True}),
        ({"enableInternalTransfer": True}, {"transfer": True}),
        ({"permitsUniversalTransfer": True}, {"transfer": True}),
        ({"enableFutures": False}, {"trade": False}),
        ({"ipRestrict": True}, {"address_bound": True}),
    ],
    ids=["withdrawal", "internal transfer", "universal transfer", "no futures", "bound"],
)
async def test_binance_tells_each_right(
    granted: dict[str, bool], expected: dict[str, bool]
) -> None:
    """As the wallet API names them."""
    server = server_of("binance")
    server.settings_desk.granted.update(granted)

    permissions = await told(server)

    rights = {"trade": True, "withdraw": False, "transfer": False, "address_bound": False}
    assert {name: getattr(permissions, name) for name in rights} == {**rights, **expected}


async def test_the_testnet_of_binance_tells_nothing() -> None:
    """And nobody asks the real one with a key of the testnet."""
    venue = make_venue(
        "binance",
        VenueConnection(testnet=True),
        {"api_key": "k" * 64, "api_secret": "s" * 64},
        RealClock(),
        random.Random(1),
    )
    assert isinstance(venue, TellsPermissions)

    assert await venue.key_permissions() == UNTOLD
    await venue.close()


@pytest.mark.parametrize(
    ("perm", "address", "trade", "withdraw", "bound"),
    [
        ("read_only,trade", "", True, False, False),
        ("read_only,trade,withdraw", "10.0.0.1", True, True, True),
        ("read_only", "10.0.0.1,10.0.0.2", False, False, True),
    ],
    ids=["trading", "withdrawing", "reading"],
)
async def test_okx_tells_rights_and_addresses(
    perm: str, address: str, trade: bool, withdraw: bool, bound: bool
) -> None:
    """Transfers between own accounts belong to trading: they are not told apart."""
    server = server_of("okx")
    server.ledger.perm, server.ledger.ip = perm, address

    permissions = await told(server)

    assert (permissions.trade, permissions.withdraw, permissions.address_bound) == (
        trade,
        withdraw,
        bound,
    )
    assert permissions.transfer is None


async def test_hyperliquid_tells_an_agent_from_the_accounts_own_key() -> None:
    """The account's own key can do everything; an agent of another account nothing here."""
    server = server_of("hyperliquid")
    (agent,) = server.gate.agents
    master = server.gate.master

    assert "agent" in (await told(server)).note
    server.gate.agents.clear()
    unknown = await told(server)
    assert "role 'missing'" in unknown.note
    assert unknown.trade is False
    server.gate.master = agent
    own = await told(server)
    assert (own.trade, own.withdraw, own.transfer) == (True, True, True)
    server.gate.agents.add(agent)
    assert master != server.gate.master
    stranger = await told(server)
    assert stranger.trade is False
    assert "of another account" in stranger.note


@pytest.mark.parametrize("venue", VENUES)
async def test_without_credentials_there_is_nothing_to_ask(venue: str) -> None:
    """Read-only."""
    async with adapter(server_of(venue), none="") as made:
        with pytest.raises(ReadOnly):
            await made.key_permissions()


@pytest.mark.parametrize("venue", ["binance", "okx"])
async def test_a_refused_key_is_an_error(venue: str) -> None:
    """Not 'unknown'."""
    async with adapter(server_of(venue), api_secret="x" * 40) as made:
        with pytest.raises(VenueError):
            await made.key_permissions()
