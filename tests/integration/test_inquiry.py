"""`perpbot recover --ask`: the venues tell what a restart would learn, and nothing is sent."""

from __future__ import annotations

import asyncio
import json
import os
import random
from decimal import Decimal
from pathlib import Path

import pytest

from perpbot.app.recovery import recover
from perpbot.app.restart.inquiry import ask, inquire, venues_to_ask
from perpbot.app.venues import make_venue
from perpbot.configuration import load_configuration
from perpbot.domain.errors import ConfigError, Unavailable
from perpbot.domain.events import RunStarted
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.kernel.ids import IdMaker
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from perpbot.settings import Flag
from perpbot.simulation.wire.process import RunningServers, launch
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue
from tests.integration.test_canaries import VARIABLES
from tests.integration.test_run import PERPBOT
from tests.load.soak import CALM

pytestmark = pytest.mark.slow
CLOCK, RNG = RealClock(), random.Random(1)


def venue_of(servers: RunningServers, name: str) -> Venue:
    """Return a venue that sets nothing."""
    server = servers.server(name)
    return make_venue(
        name,
        VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url),
        server.credentials,
        CLOCK,
        RNG,
        leverage=None,
    )


async def buy(venue: Venue) -> None:
    """Trade at a venue behind the back of every node."""
    (market,) = [
        found for found in await venue.market_data.instruments() if found.asset == "BTC-PERP"
    ]
    await venue.open([market])
    request = OrderRequest(
        client_id=IdMaker(epoch=9).order_id(
            account="main", strategy="person", purpose=Purpose.OPEN, leg=0, attempt=0
        ),
        venue=venue.name,
        account="main",
        asset=market.asset,
        symbol=market.symbol,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quantity=market.min_quantity,
        price=None,
        reference_price=Decimal(97_400),
        purpose=Purpose.OPEN,
        expires_ns=CLOCK.now_ns() + 5 * SECOND,
    )
    await venue.trading.submit(request, lambda: None)


async def test_the_venues_are_asked_and_nothing_is_sent(tmp_path: Path) -> None:
    """A trade that the books do not know comes to light; the exchanges took no order of ours."""
    journal = Journal(tmp_path, reserve_bytes=0)
    journal.append(
        RunStarted(ts_ns=CLOCK.now_ns(), epoch=1, mode="live", version="1", config_hash="")
    )
    journal.close()
    configuration = load_configuration(
        environ={},
        flags=(Flag("mode", "test", "demo"), Flag("market.symbols", "test", ["BTC-PERP"])),
    )
    servers = await launch(["binance", "okx"], seed=1, model=CALM)
    person = venue_of(servers, "okx")
    asking = [venue_of(servers, name) for name in ("binance", "okx")]
    said: list[str] = []
    try:
        await buy(person)
        taken = await servers.orders()
        answered = await ask(
            configuration, asking, recover(JournalView(tmp_path)), said.append, CLOCK, RNG
        )
        assert await servers.orders() == taken
    finally:
        for venue in (person, *asking):
            await venue.close()
        await servers.stop()

    assert answered.answers == {"binance": "agrees", "okx": "agrees"}
    told = [step.text for step in answered.outlook.others]
    assert any("no order and no pair of ours explains" in text for text in told)
    assert answered.outlook.epoch == 2
    assert answered.outlook.halted == ""
    assert said == []


async def test_a_venue_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are compared all the same."""
    monkeypatch.setattr("perpbot.app.restart.inquiry.ANSWER_S", 2.0)
    Journal(tmp_path, reserve_bytes=0).close()
    configuration = load_configuration(
        environ={},
        flags=(Flag("mode", "test", "demo"), Flag("market.symbols", "test", ["BTC-PERP"])),
    )
    servers = await launch(["binance", "okx"], seed=1, model=CALM)
    asking = [venue_of(servers, name) for name in ("binance", "okx")]

    async def dead(*_: object) -> None:
        raise Unavailable("okx", "down")

    monkeypatch.setattr(asking[1], "open", dead)
    for part in ("open_orders", "positions"):
        monkeypatch.setattr(asking[1].account, part, dead)
    try:
        answered = await ask(
            configuration, asking, recover(JournalView(tmp_path)), lambda _text: None, CLOCK, RNG
        )
    finally:
        for venue in asking:
            await venue.close()
        await servers.stop()

    assert answered.answers["binance"] == "agrees"
    assert "down" in answered.answers["okx"]


def test_there_must_be_an_account_to_ask(tmp_path: Path) -> None:
    """Paper, demo and replay have none; in live every enabled venue is made without a leverage."""
    Journal(tmp_path, reserve_bytes=0).close()
    paper = load_configuration(environ={}, flags=(Flag("mode", "test", "paper"),))
    with pytest.raises(ConfigError, match="asks real accounts"):
        inquire(paper, recover(JournalView(tmp_path)), lambda _text: None)
    assert {venue.name for venue in venues_to_ask(paper, CLOCK, RNG)} == set(
        paper.settings.enabled_venues
    )


async def test_the_command_asks_with_the_keys_of_its_mode(tmp_path: Path) -> None:
    """In testnet, at exchanges of our own; what the venues said is in its JSON and in words."""
    Journal(tmp_path / "state" / "testnet" / "journal", reserve_bytes=0).close()
    servers = await launch(["binance", "okx"], seed=1, model=CALM)
    venues = "".join(
        f"  {server.venue}: {{rest_url: '{server.rest_url}', ws_url: '{server.ws_url}'}}\n"
        for server in servers.servers
    )
    (tmp_path / "config.yaml").write_text(
        f"mode: testnet\nmarket: {{symbols: [BTC-PERP]}}\nvenues:\n{venues}"
        "  hyperliquid: {enabled: false}\n"
    )
    keys = {
        VARIABLES[server.venue, name]: value
        for server in servers.servers
        for name, value in server.credentials.items()
    }
    try:
        answers = []
        for form in ((), ("--json",)):
            process = await asyncio.create_subprocess_exec(
                *(*PERPBOT, "recover", "--dry-run", "--ask", "--mode", "testnet", *form),
                cwd=tmp_path,
                env={**os.environ, **keys},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            answers.append(out.decode())
        assert await servers.orders() == []
    finally:
        await servers.stop()

    words, told = answers[0], json.loads(answers[1])
    assert "binance says: agrees" in words
    assert told["asked"] == {"binance": "agrees", "okx": "agrees"}
    assert told["problem"] == ""
