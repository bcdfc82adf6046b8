"""What `perpbot recover` tells people of everything that may be left behind."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perpbot.app.known import write_known
from perpbot.cli.main import app
from perpbot.domain.events import (
    CooldownStarted,
    HaltLatched,
    KillSwitchEngaged,
    OrderFilled,
    OverrideGranted,
    SafeModeChanged,
)
from perpbot.domain.sides import Side
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.writer import Journal
from perpbot.simulation.fates import Message
from tests.unit.execution.stand import ASSET, LONG, SHORT, Stand

STATE = Path("state/paper")
FAR_NS = 4_000_000_000_000_000_000


def left_behind(stand: Stand) -> None:
    """Write what a dead node leaves, latches and stray executions on top."""
    journal = Journal(STATE / "journal", reserve_bytes=0)
    for record in stand.journal.records():
        journal.append(record.event())
    now_ns = stand.time.now_ns()
    journal.append(KillSwitchEngaged(ts_ns=now_ns, level=2, actor="me", reason="odd"))
    kill = KillSwitchEngaged(ts_ns=now_ns, level=4, actor="me", reason="slow", venue=LONG)
    journal.append(kill)
    journal.append(HaltLatched(ts_ns=now_ns, rule="drawdown", value="11 %", limit="10 %"))
    journal.append(CooldownStarted(ts_ns=now_ns, scope=ASSET, until_ns=FAR_NS, reason="test"))
    journal.append(SafeModeChanged(venue=LONG, active=True, drawdown=Decimal("0.06")))
    journal.append(OverrideGranted(actor="me", until_ns=FAR_NS, trades=2, reason="sure"))
    for venue, asset, quantity in ((LONG, ASSET, "1"), (SHORT, "ETH-PERP", "3")):
        journal.append(
            OrderFilled(
                client_id="",
                venue=venue,
                account="main",
                asset=asset,
                trade_id=f"stray {venue}",
                side=Side.BUY,
                price=Decimal(100),
                quantity=Decimal(quantity),
                fee_usd=Decimal(0),
            )
        )
    journal.write_snapshot(b"not whole")
    journal.close()
    snapshot = next((STATE / "journal").glob("snapshot-*.bin"))
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    with segment_files(STATE / "journal")[-1][1].open("ab") as segment:
        segment.write(b"\x40\x00\x00")
    write_known(STATE, stand.markets, now_ns)


def test_everything_that_is_left_behind_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latches, orders that await an answer, what no pair hedges, damage and tears."""
    monkeypatch.chdir(tmp_path)
    stand = Stand()
    stand.faults.add("response", Message.SUBMIT)
    stand.faults.add("stream")
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.crash()
    left_behind(stand)

    result = CliRunner().invoke(app, ["recover", "--dry-run"])

    assert result.exit_code == 0, result.output
    for words in (
        "cuts off 3 bytes",
        "is damaged and will not be used",
        "STAYS: kill switch level 2 (no opens, cancel resting orders): odd",
        f"STAYS: kill switch of {LONG}, level 4 (flatten everything): slow",
        "STAYS: halt drawdown: measured 11 %, limit 10 %",
        f"STAYS: cooldown {ASSET}: until 2096-",
        f"STAYS: safe mode on {LONG}",
        "orders at work: 2",
        "awaits an answer by its client id",
        "of its orders: kill switch: odd",
        "asks the venue for it",
        "reservations: 1, leased legs: 2",
        "(NOT HEDGED BY ANY PAIR)",
        "UNHEDGED by",
    ):
        assert words in result.output, words
