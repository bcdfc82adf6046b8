"""The kill switch of a node whose console died and whose tables cannot be written."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpbot.app.run import run_node
from perpbot.configuration import load_configuration
from perpbot.domain.events import KillSwitchEngaged
from perpbot.kernel.journal.reading import read_records
from perpbot.operations.killfile import KillOrder, write_order
from perpbot.operations.killsignals import LEVELS_BY_SIGNAL, KillSignals
from perpbot.operations.runfile import running
from perpbot.settings import Flag
from perpbot.simulation.wire.process import launch

LIMIT_S = 30.0


@pytest.mark.slow
@pytest.mark.blocking
async def test_file_and_signal_work_without_console_and_tables(tmp_path: Path) -> None:
    """Level 2 by signal, 4 of a venue and 5 by file; all are in the journal, and the node ends."""
    state = tmp_path / "state" / "paper"
    (state / "records.db").mkdir(parents=True, mode=0o700)  # no database can be opened there
    state.chmod(0o700)
    servers = await launch(["binance", "okx"], seed=1, port_base=0, balance=Decimal(10_000))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags: dict[str, Any] = {
        "mode": "paper",
        "market.symbols": ["BTC-PERP"],
        "paths.state_dir": str(tmp_path / "state"),
        "venues.hyperliquid.enabled": False,
        "console.port": port,
    }
    for server in servers.servers:
        flags[f"venues.{server.venue}.rest_url"] = server.rest_url
        flags[f"venues.{server.venue}.ws_url"] = server.ws_url
    configuration = load_configuration(
        environ={}, flags=tuple(Flag(name, "test", value) for name, value in flags.items())
    )
    loop, kills = asyncio.get_running_loop(), KillSignals()
    kills.listen(loop)
    try:
        node = asyncio.create_task(
            run_node(configuration, asyncio.Event(), say=lambda _text: None, kills=kills)
        )
        async with asyncio.timeout(LIMIT_S):
            while not (state / "status.json").exists():  # noqa: ASYNC110 - a file is waited for
                await asyncio.sleep(0.02)
            (console,) = [task for task in asyncio.all_tasks() if task.get_name() == "console"]
            console.cancel()
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0.1)
            order = write_order(state, KillOrder(level=4, reason="drill", venue="okx"))
            while order.exists():  # noqa: ASYNC110 - a file is waited for
                await asyncio.sleep(0.02)
            write_order(state, KillOrder(level=5, reason="drill", actor="ann"))
            await node
    finally:
        for number in LEVELS_BY_SIGNAL:
            loop.remove_signal_handler(number)
        await servers.stop()

    assert running(state) is None
    engaged = [
        (event.level, event.venue, event.actor)
        for record in read_records(state / "journal")
        if isinstance(event := record.event(), KillSwitchEngaged)
    ]
    assert engaged == [(2, "", "signal"), (4, "okx", "file"), (5, "", "ann")]
