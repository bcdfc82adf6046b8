"""`perpbot demo` as a process, and what becomes of a node whose exchanges die."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpbot.app.demo import keep_records, node_at_home
from perpbot.app.listing import list_instruments
from perpbot.app.node import Node
from perpbot.configuration import load_configuration
from perpbot.domain.instruments import Instrument
from perpbot.kernel.journal.writer import Journal
from perpbot.settings import Flag
from perpbot.simulation.wire.process import RunningServers, ServersFailed, launch
from tests.unit.execution.stand import Stand

PERPBOT = (sys.executable, "-c", "from perpbot.cli import main; main()")
KEYS = {
    "mode",
    "seed",
    "seconds",
    "quotes",
    "opportunities",
    "pairs_opened",
    "pairs_closed",
    "orders",
    "fills",
    "pnl",
    "accountant_net",
    "worst_unhedged_ms",
    "open_orders",
    "positions",
    "dust",
    "reserved",
    "violations",
    "latency_us",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def test_demo_ends_flat(tmp_path: Path) -> None:
    """Eight seconds: exit code 0, every key of the contract, flat, and the accountant agrees."""
    done = subprocess.run(
        [*PERPBOT, "demo", "--seconds", "8", "--json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    summary = json.loads(done.stdout)
    assert summary.keys() >= KEYS
    assert (summary["mode"], summary["positions"], summary["violations"]) == ("demo", [], [])
    assert (summary["open_orders"], summary["reserved"]) == (0, "0")
    assert summary["pairs_opened"] == summary["pairs_closed"]
    assert summary["quotes"] > 100
    net = Decimal(summary["pnl"]["net"])
    assert abs(net - Decimal(summary["accountant_net"])) < Decimal("0.01")
    assert set(summary["latency_us"]["tick_to_order"]) == {"p50", "p99", "max"}
    assert asked(tmp_path, "journal", "verify")["intact"]
    assert len(asked(tmp_path, "trades", "export")) == summary["pairs_closed"]


def asked(directory: Path, *command: str) -> Any:
    """What a command says of the demo that ended in `directory`."""
    done = subprocess.run(
        [*PERPBOT, *command, "--mode", "demo", "--json"],
        cwd=directory,
        capture_output=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_demo_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM, as from a container: exit code 130, no exchange and no directory is left."""
    with subprocess.Popen(
        [*PERPBOT, "demo", "--seconds", "40"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        assert any("trading for" in line for line in demo.stderr)
        demo.terminate()
        said = demo.stderr.read()
    assert (demo.returncode, said.splitlines()[-1]) == (130, "perpbot: interrupted")
    assert list(tmp_path.glob("perpbot-demo-*")) == []


def test_records_take_the_place_of_those_before(tmp_path: Path) -> None:
    """One demo is one world: nothing of the last one stays beside it."""
    work, kept = tmp_path / "work", tmp_path / "state" / "demo"
    for name in ("first", "second"):
        (work / "journal").mkdir(parents=True)
        (work / "journal" / name).touch()
        said: list[str] = []
        keep_records(work, kept, said.append)

        assert [path.name for path in (kept / "journal").iterdir()] == [name]
        assert kept.stat().st_mode & 0o077 == 0
        assert f"kept in {kept}" in said[0]


def test_records_that_cannot_be_kept_are_no_fault_of_the_demo(tmp_path: Path) -> None:
    """A directory that takes no files: it is said, and that is all."""
    (tmp_path / "state").touch()
    said: list[str] = []

    keep_records(tmp_path / "work", tmp_path / "state" / "demo", said.append)

    assert "could not be kept" in said[0]


def node_on(servers: RunningServers, directory: Path) -> Node:
    """A node on local exchanges, as the demo makes it."""
    flags = (Flag("mode", "test", "demo"), Flag("market.symbols", "test", ["BTC-PERP"]))
    settings = load_configuration(environ={}, flags=flags).settings
    return node_at_home(settings, servers, directory, random.Random(1))


async def test_node_outlives_its_exchanges(tmp_path: Path) -> None:
    """The exchanges die: the node goes on, says what it cannot reach, and ends in order."""
    servers = await launch(["binance", "okx"], seed=1)
    node = node_on(servers, tmp_path)
    venues = ("binance", "okx")
    try:
        await node.open()
        async with asyncio.timeout(15):
            while any(node.core.readiness.refusal(venue) for venue in venues):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        servers._process.kill()
        await asyncio.sleep(3)
        assert node.core.bus.halted is None
        refusals = {venue: node.core.readiness.refusal(venue) for venue in venues}
        assert all(refusals.values()), refusals
        assert await node.wind_down(2.0)
        with pytest.raises(ServersFailed, match="accountant does not answer"):
            await servers.accountant()
    finally:
        await asyncio.wait_for(node.close("test"), 15)
        await servers.stop()
    assert node.core.bus.halted is None


async def test_last_level_of_the_kill_switch_ends_a_flat_node(tmp_path: Path) -> None:
    """Flatten everything, then exit; once closed, nothing of the node is called any more."""
    servers = await launch(["binance", "okx"], seed=1)
    node = node_on(servers, tmp_path)
    try:
        await node.open()
        node.core.kill_switch.engage(5, actor="test", reason="drill")
        async with asyncio.timeout(10):
            await node.run()
        assert node.core.flat
        await node.close("test")
        await asyncio.sleep(1)  # quotes, samples and exits are due several times a second
    finally:
        await servers.stop()
    assert node.core.bus.halted is None


async def test_a_node_starts_while_a_venue_with_an_open_leg_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with what it knew of that venue, reduces there only, and does not halt."""
    servers = await launch(["binance", "okx", "hyperliquid"], seed=1)
    first = node_on(servers, tmp_path)
    await first.open()
    await first.close("for the test")
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.crash()
    journal = Journal(tmp_path / "journal")
    for record in stand.journal.records():
        journal.append(record.event())
    journal.close()

    async def without_okx(*told: Any) -> dict[tuple[str, str], Instrument]:
        found = await list_instruments(*told)
        return {key: one for key, one in found.items() if key[0] != "okx"}

    monkeypatch.setattr("perpbot.app.listing.list_instruments", without_okx)
    second = node_on(servers, tmp_path)
    try:
        await second.open()
        await asyncio.sleep(1.0)
        assert second.core.bus.halted is None
        assert len(list(second.core.folds.pairs)) <= 1
        assert not second.core.markets.instruments["okx", "BTC-PERP"].tradable
        assert second.core.markets.instruments["binance", "BTC-PERP"].tradable
    finally:
        await second.close("tested")
        await servers.stop()
