"""The kill switch of a real node with a venue, the database and the console out of order."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from perpbot.app.folds import Folds
from perpbot.kernel.journal.reading import read_records
from tests.processes.guardian.rig import LIMIT_S, Rig, open_rig

pytestmark = [pytest.mark.slow, pytest.mark.blocking, pytest.mark.timeout(150)]

TRADES_S = 1.0


def held(positions: dict[tuple[str, str], Decimal], venue: str) -> bool:
    """Whether anything is held at a venue."""
    return any(place == venue for place, _ in positions)


async def until_held(rig: Rig, venue: str, *, wanted: bool) -> None:
    """Wait until something, or nothing, is held at a venue."""
    async with asyncio.timeout(LIMIT_S):
        while held(await rig.positions(), venue) is not wanted:  # noqa: ASYNC110 - asked for
            await asyncio.sleep(0.05)


def latched(rig: Rig) -> int:
    """The kill level by the journal alone."""
    folds = Folds()
    folds.state().replay(read_records(rig.state / "journal"))
    return folds.latches.kill_level


async def test_a_dead_venue_database_and_console_hold_up_no_level(tmp_path: Path) -> None:
    """SIGUSR2 flattens what answers, then the rest; a restart keeps the level; a person clears."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        console = {"console.enabled": True, "console.port": other.getsockname()[1]}
        settings = {**console, "arbitrage.max_hold_s": 600, "arbitrage.take_profit_bps": 400.0}
        async with open_rig(tmp_path, settings) as rig:
            rig.state.mkdir(parents=True, mode=0o700)
            tables = sqlite3.connect(rig.state / "records.db", isolation_level=None)
            tables.execute("BEGIN EXCLUSIVE")
            node = await rig.node()
            assert "goes on without it" in node.words.replace("\n", " ")
            await until_held(rig, "okx", wanted=True)
            await until_held(rig, "binance", wanted=True)
            rig.proxies["binance"].refuse()
            rig.proxies["binance"].reset()

            node.send(signal.SIGUSR2)

            await until_held(rig, "okx", wanted=False)
            assert held(await rig.positions(), "binance")
            rig.proxies["binance"].heal()
            await until_held(rig, "binance", wanted=False)
            await rig.until("level", lambda: rig.status()["overview"]["kill_level"] == 4)

            node.send(signal.SIGKILL)
            await node.wait()
            tables.close()
            assert latched(rig) == 4
            node = await rig.node()
            await asyncio.sleep(TRADES_S)
            assert rig.status()["overview"]["kill_level"] == 4
            assert await rig.positions() == {}
            rig.kill(0)
            await rig.until("cleared", lambda: rig.status()["overview"]["kill_level"] == 0)
            await until_held(rig, "okx", wanted=True)
            assert await node.end() == 0
