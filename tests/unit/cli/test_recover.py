"""`perpbot recover`, run in process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.app.known import write_known
from perpbot.cli.main import app
from perpbot.domain.events import PairPlanned
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.view import JournalView
from perpbot.kernel.journal.writer import Journal
from perpbot.operations.runfile import RunFile, RunInfo
from tests.unit.execution.stand import Stand
from tests.unit.operations.small_world import traded_world, write_journal

STATE = Path("state/paper")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands look at the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recover(*arguments: str, given: str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["recover", *arguments], input=given)


def data(result: Result) -> Any:
    """Return what it printed as JSON."""
    return json.loads(result.stdout)


def dead_node() -> None:
    """Leave the state of a node that died with a hedged pair that was told to leave."""
    stand = Stand()
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.crash()
    journal = Journal(STATE / "journal", reserve_bytes=0)
    for record in stand.journal.records():
        journal.append(record.event())
    journal.close()
    write_known(STATE, stand.markets, stand.time.now_ns())


def damage(fragment: bytes) -> None:
    """Turn a bit in the journal."""
    path = segment_files(STATE / "journal")[0][1]
    content = bytearray(path.read_bytes())
    content[content.index(fragment)] ^= 1
    path.write_bytes(content)


def poison() -> int:
    """Append a record that cannot be folded; return its sequence."""
    view = JournalView(STATE / "journal")
    planned = next(record for record in view.records() if record.kind == PairPlanned.kind)
    journal = Journal(STATE / "journal", reserve_bytes=0)
    sequence = journal.append(planned.event())
    journal.close()
    return sequence


def test_without_a_node_ever_there_is_nothing_to_show() -> None:
    """The message names the directory."""
    result = recover("--dry-run")

    assert result.exit_code == 2
    assert "no node has run" in result.stderr


def test_a_dry_run_shows_pairs_orders_and_venues() -> None:
    """As JSON and in words; nothing is changed."""
    dead_node()
    before = {path.name: path.read_bytes() for path in (STATE / "journal").iterdir()}
    result = recover("--dry-run", "--json")
    words = recover("--dry-run")

    assert result.exit_code == words.exit_code == 0
    told = data(result)
    assert told["running"] is None
    assert told["problem"] == ""
    assert told["recovered"]["records"] == told["journal"]["newest"]
    (pair,) = told["outlook"]["pairs"]
    assert pair["state"] == "hedged"
    assert len(told["outlook"]["leases"]) == 2
    assert "pairs: 1 not flat" in words.stdout
    assert "not compared with the venue yet" in words.stdout
    assert {path.name: path.read_bytes() for path in (STATE / "journal").iterdir()} == before


def test_beside_a_running_node_it_says_so() -> None:
    """And reads without a lock."""
    dead_node()
    held = RunFile(STATE, RunInfo(os.getpid(), "paper", "1", 1))
    journal = Journal(STATE / "journal")
    told, words = data(recover("--dry-run", "--json")), recover("--dry-run")
    journal.close()
    held.close()

    assert told["running"] == os.getpid()
    assert "runs here now" in words.stdout


def test_without_known_markets_it_still_tells_the_state() -> None:
    """And how to learn the rest."""
    write_journal(traded_world(), STATE / "journal")

    result = recover("--dry-run")

    assert result.exit_code == 0
    assert "--ask learns it" in result.stdout


def test_asking_needs_a_real_account() -> None:
    """Paper exchanges end with their process."""
    dead_node()

    result = recover("--dry-run", "--ask")

    assert result.exit_code == 4
    assert "asks real accounts" in result.stderr


def test_damage_is_shown_and_repaired_on_command() -> None:
    """With --yes; the damaged file is kept, the kill switch is latched."""
    dead_node()
    damage(b"hedged")
    shown = recover("--dry-run")
    asked = recover()
    repaired = recover("--yes")

    assert shown.exit_code == 1
    assert "DAMAGED" in shown.stdout
    assert asked.exit_code == 2
    assert "--yes" in asked.stderr
    assert repaired.exit_code == 0
    assert "kill switch level 1" in repaired.stdout
    (aside,) = STATE.glob("quarantine-*")
    assert list(aside.iterdir())


def test_after_a_loss_pairs_wait_for_the_venues() -> None:
    """The outlook knows it as a restart does; a fence that cannot be read stops both."""
    dead_node()
    damage(b"hedged")
    repaired = recover("--yes")
    assert repaired.exit_code == 0, repaired.output
    assert "then waits until okx and binance told what the books lack" in repaired.stdout

    (STATE / "guardian.epoch").write_text("torn")
    unclear = recover("--dry-run")

    assert unclear.exit_code == 1
    assert "guardian.epoch cannot be read" in unclear.stdout


def test_tables_go_with_the_records_that_are_lost() -> None:
    """Their cursor counts numbers that come again."""
    dead_node()
    damage(b"hedged")
    (STATE / "records.db").write_text("tables")

    assert recover("--yes").exit_code == 0

    assert not (STATE / "records.db").exists()


def test_a_poison_record_is_named_and_passed_over() -> None:
    """With a reason; nothing else can be skipped."""
    dead_node()
    sequence = poison()
    shown = recover("--dry-run")
    told = data(recover("--dry-run", "--json"))
    no_reason = recover("--skip", str(sequence))
    both = recover("--dry-run", "--skip", str(sequence), "--reason", "x")
    wrong = recover("--skip", "1", "--reason", "x")
    skipped = recover("--skip", str(sequence), "--reason", "looked at it")
    again = recover("--skip", str(sequence), "--reason", "x")

    assert shown.exit_code == 1
    assert f"perpbot recover --skip {sequence}" in shown.stdout
    assert told["poison"]["sequence"] == sequence
    assert told["poison"]["component"] == "orders"
    assert no_reason.exit_code == both.exit_code == 2
    assert wrong.exit_code == 2
    assert skipped.exit_code == 0
    assert f"record {sequence} is passed over" in skipped.stdout
    assert "kill switch level 1" in skipped.stdout
    assert again.exit_code == 2


def test_nothing_is_decided_beside_a_running_node() -> None:
    """Stop it first."""
    dead_node()
    sequence = poison()
    held = RunFile(STATE, RunInfo(os.getpid(), "paper", "1", 1))
    skipped = recover("--skip", str(sequence), "--reason", "x")
    damage(b"hedged")
    repaired = recover("--yes")
    held.close()

    assert skipped.exit_code == repaired.exit_code == 6


def test_markets_of_another_version_are_refused() -> None:
    """With what to do about it."""
    dead_node()
    (STATE / "markets.json").write_text('{"ts_ns": "x"}')

    result = recover("--dry-run")

    assert result.exit_code == 4
    assert "another version" in result.stderr
