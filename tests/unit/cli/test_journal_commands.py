"""`perpbot journal replay`, `export` and `verify`, run in process."""

from __future__ import annotations

import csv
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.app.recovery import recover
from perpbot.cli.main import app
from perpbot.cli.progress import Progress
from perpbot.kernel.journal.files import segment_files
from perpbot.kernel.journal.record import read_one
from perpbot.kernel.journal.writer import Journal
from perpbot.operations.runfile import RunFile, RunInfo
from tests.unit.operations.small_world import traded_world

STATE = Path("state/paper")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the journal of a node that traded, with two snapshots; return its directory."""
    place = tmp_path_factory.mktemp("traded")
    world = traded_world()
    journal = Journal(place / "journal", reserve_bytes=0, segment_bytes=4_000)
    half = world.journal.last_sequence // 2
    for record in world.journal.records():
        journal.append(record.event())
        if record.sequence in {half, world.journal.last_sequence}:
            journal.write_snapshot(recover(journal).state.dump())
    journal.close()
    return place / "journal"


@pytest.fixture(autouse=True)
def traded(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory of one's own where it traded."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, STATE / "journal")
    return STATE / "journal"


def journal_command(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, ["journal", *arguments])


def data(result: Result) -> Any:
    """Return what it printed as JSON."""
    return json.loads(result.stdout)


def test_a_replay_agrees_with_every_snapshot() -> None:
    """Byte for byte, with the size of each component and the pace."""
    result = journal_command("replay", "--json")
    told = data(result)
    words = journal_command("replay")

    assert result.exit_code == words.exit_code == 0
    assert told["agrees"]
    assert [one["agrees"] for one in told["snapshots"]] == [True, True]
    assert told["records"] == told["last_sequence"] > 20
    assert told["state_hash"] == told["snapshots"][-1]["replay_hash"]
    assert set(told["component_bytes"]) >= {"orders", "pairs", "positions"}
    assert told["records_per_s"] > 0
    assert "byte for byte" in words.stdout


def test_a_replay_stops_where_it_is_told_to() -> None:
    """The state is the one of then."""
    told = data(journal_command("replay", "--until", "5", "--json"))

    assert told["records"] == told["last_sequence"] == 5
    assert told["snapshots"] == []


def test_a_snapshot_that_differs_or_is_damaged_is_told(traded: Path) -> None:
    """And the exit code says so."""
    journal = Journal(traded, reserve_bytes=0)
    newest = journal.write_snapshot(b"\x80")
    journal.close()
    differs = journal_command("replay")
    newest.write_bytes(b"short")
    damaged = journal_command("replay")

    assert differs.exit_code == damaged.exit_code == 1
    assert "DIFFERS" in differs.stdout
    assert "damaged" in damaged.stdout


def test_a_journal_without_its_beginning_is_folded_from_a_snapshot(traded: Path) -> None:
    """As after a repair that moved the beginning aside."""
    segments = segment_files(traded)
    assert len(segments) > 1
    segments[0][1].unlink()

    told = data(journal_command("replay", "--json"))

    assert told["from_snapshot"] > 0
    assert told["agrees"]
    assert journal_command("replay").exit_code == 0


def test_records_are_exported_as_lines() -> None:
    """Filtered by kind, number and time; the same keys as `show`."""
    lines = [json.loads(line) for line in journal_command("export").stdout.splitlines()]
    fills = journal_command("export", "--kind", "order_filled").stdout.splitlines()
    few = journal_command("export", "--from", "3", "--until", "9", "--limit", "2").stdout
    none = journal_command("export", "--since", "1s").stdout
    early = journal_command("export", "--to", "2000-01-01").stdout

    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    assert set(lines[0]) == {"sequence", "ts_ns", "kind", "data"}
    assert fills
    assert {json.loads(line)["kind"] for line in fills} == {"ORDER_FILLED"}
    assert [json.loads(line)["sequence"] for line in few.splitlines()] == [3, 4]
    assert none == early == ""


def test_records_are_exported_to_a_file() -> None:
    """As CSV; --json prints the sum."""
    result = journal_command("export", "--format", "csv", "--out", "all.csv", "--json")
    told = data(result)
    words = journal_command("export", "--out", "all.jsonl")
    rows = list(csv.DictReader(Path("all.csv").read_text().splitlines()))

    assert told == {"out": "all.csv", "format": "csv", "records": len(rows)}
    assert json.loads(rows[0]["data"])
    assert f"{len(rows):,} records written" in words.stderr
    assert journal_command("export", "--format", "xml").exit_code == 2


def test_a_record_of_another_version_is_exported_as_it_is(traded: Path) -> None:
    """It may be the reason for looking."""
    _, path = segment_files(traded)[0]
    content = path.read_bytes()
    record, after = read_one(content, 0, "")
    payload = b"\x81\xa1x\x01" + b"\xc0" * (len(record.payload) - 4)
    body = content[8:after].replace(record.payload, payload)
    path.write_bytes(content[:4] + zlib.crc32(body).to_bytes(4, "little") + body + content[after:])

    result = journal_command("export", "--limit", "1")
    verified = journal_command("verify")

    assert result.exit_code in {0, 1}
    assert verified.exit_code == 1


def test_a_torn_tail_is_verified_as_such(traded: Path) -> None:
    """Beside a running node it is a record on its way."""
    _, path = segment_files(traded)[-1]
    path.write_bytes(path.read_bytes()[:-3])
    alone = data(journal_command("verify", "--json"))
    words = journal_command("verify")
    held = RunFile(STATE, RunInfo(os.getpid(), "paper", "1", 1))
    beside = data(journal_command("verify", "--json"))
    held.close()

    assert alone["intact"]
    assert alone["torn_bytes"] > 0
    assert "cuts off" in words.stdout
    assert beside["torn_bytes"] == 0


def test_a_long_work_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every two seconds, on standard error."""
    now = [0.0]
    monkeypatch.setattr("perpbot.cli.progress.time.monotonic", lambda: now[0])
    progress = Progress("folding")
    for _ in range(5_000):
        progress.tick()
    assert capsys.readouterr().err == ""
    now[0] = 4.0
    for _ in range(5_000):
        progress.tick()

    assert capsys.readouterr().err == "folding: 10,000 records, 2,500 a second\n"
    assert progress.rate == 2_500
