"""A recorded tape of three real markets through the node: `perpbot replay`."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

PERPBOT = (sys.executable, "-c", "from perpbot.cli import main; main()")
TAPE = "recordings/tape/xmarket_tick_binance_btc_eth_20240808.csv.gz"
MAP = "binance_usdm=binance,binance_spot=okx,binance_coinm=hyperliquid"
LIMIT_S = 50.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def start(shared: Path, *, fee_bps: str, latency_ms: str) -> subprocess.Popen[bytes]:
    """Begin a replay."""
    return subprocess.Popen(
        [
            *PERPBOT,
            *("replay", str(shared / TAPE), "--map", MAP, "--min-edge-bps", "1", "--json"),
            *("--maker-bps", fee_bps, "--taker-bps", fee_bps, "--latency-ms", latency_ms),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def finish(*processes: subprocess.Popen[bytes]) -> list[bytes]:
    """Return what each printed; all must end well."""
    try:
        printed = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed


def check_clean(summary: dict[str, Any]) -> None:
    """Flat, nothing reserved, no violation, and our profit is the accountant's to the cent."""
    assert summary["positions"] == []
    assert summary["violations"] == []
    assert summary["open_orders"] == 0
    assert summary["reserved"] == "0"
    assert summary["pairs_opened"] == summary["pairs_closed"]
    net, true_net = Decimal(summary["pnl"]["net"]), Decimal(summary["accountant_net"])
    assert abs(net - true_net) < Decimal("0.01")
    split = [Decimal(summary["pnl"][part]) for part in ("price", "fees", "funding")]
    assert sum(split) == net


def test_real_costs_leave_next_to_nothing(shared: Path) -> None:
    """At 5 + 5 bps hardly a pair opens: real markets are not crossed after costs."""
    (printed,) = finish(start(shared, fee_bps="5", latency_ms="20"))
    summary = json.loads(printed)
    assert summary["quotes"] > 100_000
    assert summary["pairs_opened"] <= 5
    check_clean(summary)


def test_free_trading_finds_plenty_and_always_the_same(shared: Path) -> None:
    """Without fees and latency many pairs open; two runs print the same bytes."""
    first, second = finish(*(start(shared, fee_bps="0", latency_ms="0") for _ in range(2)))
    assert first == second
    summary = json.loads(first)
    assert summary["pairs_opened"] >= 20
    assert summary["pnl"]["fees"] == "0"
    assert summary["edge_bps"]["p50"] >= 1.0
    # Nothing takes time here but the tries of legs that the book did not fill.
    assert summary["worst_unhedged_ms"] < 1_500
    check_clean(summary)
