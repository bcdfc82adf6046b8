"""A node with its attendants, in process, on paper against our own exchanges."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from perpbot.app.run import run_node
from perpbot.configuration import Configuration, load_configuration
from perpbot.operations.runfile import RunInfo, running
from perpbot.settings import Flag
from perpbot.simulation.wire.process import launch

LIMIT_S = 20.0


def configure(tmp_path: Path, addresses: dict[str, tuple[str, str]], port: int) -> Configuration:
    """Return a configuration of a paper node on these addresses."""
    venues = [
        Flag(f"venues.{name}.{field}", "test", url)
        for name, urls in addresses.items()
        for field, url in zip(("rest_url", "ws_url"), urls, strict=True)
    ]
    return load_configuration(
        environ={},
        flags=(
            Flag("mode", "test", "paper"),
            Flag("market.symbols", "test", ["BTC-PERP", "ETH-PERP"]),
            Flag("paths.state_dir", "test", str(tmp_path / "state")),
            Flag("venues.hyperliquid.enabled", "test", value=False),
            Flag("console.port", "test", port),
            *venues,
        ),
    )


@pytest.fixture
async def addresses() -> AsyncIterator[dict[str, tuple[str, str]]]:
    """Serve two exchanges; (rest, websocket) by venue."""
    servers = await launch(["binance", "okx"], seed=1, port_base=0, balance=Decimal(10_000))
    yield {server.venue: (server.rest_url, server.ws_url) for server in servers.servers}
    await servers.stop()


async def until_listening(state: Path) -> RunInfo:
    """Return the run once its console listens."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            info = running(state)
            if info is not None and info.console_url:
                return info
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.blocking
async def test_a_node_serves_its_console_and_leaves_nothing_behind(
    tmp_path: Path, addresses: dict[str, tuple[str, str]]
) -> None:
    """Token, overview, metrics, kill at level 5 ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path / "state" / "paper"
    said: list[str] = []
    node = asyncio.create_task(
        run_node(configure(tmp_path, addresses, port), asyncio.Event(), say=said.append)
    )

    info = await until_listening(state)
    token = (state / "console.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(info.console_url, headers=headers) as session:
        async with session.get("/api/v1/overview") as answer:
            assert set((await answer.json())["venues"]) == {"binance", "okx"}
        async with session.get("/metrics") as answer:
            assert "perpbot_info" in await answer.text()
        order = {"level": 5, "reason": "test"}
        once = {
            "X-Perpbot-Time": str(time.time_ns() // 1_000_000),
            "Idempotency-Key": secrets.token_hex(16),
        }
        async with session.post("/api/v1/control/kill", json=order, headers=once) as answer:
            assert answer.status == 200
    async with asyncio.timeout(LIMIT_S):
        await node

    assert running(state) is None
    assert not (state / "status.json").exists()
    assert any("running in mode paper" in text for text in said)


@pytest.mark.slow
@pytest.mark.blocking
async def test_a_used_port_costs_the_console_not_the_node(
    tmp_path: Path, addresses: dict[str, tuple[str, str]]
) -> None:
    """The node says so, works, and ends when it is asked to."""
    stop = asyncio.Event()
    said: list[str] = []
    state = tmp_path / "state" / "paper"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        node = asyncio.create_task(
            run_node(configure(tmp_path, addresses, port), stop, say=said.append)
        )
        async with asyncio.timeout(LIMIT_S):
            while not (state / "status.json").exists():  # noqa: ASYNC110 - a file is waited for
                await asyncio.sleep(0.05)
        status = json.loads((state / "status.json").read_text())
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await node

    assert status["overview"]["mode"] == "paper"
    assert any("goes on without it" in text.replace("\n", " ") for text in said)
