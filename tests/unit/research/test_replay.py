"""A replay of small tapes: what it takes, what it refuses, and that it is always the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from perpbot.configuration import load_configuration
from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.kernel.clock import SECOND
from perpbot.research.replay import ReplayTerms, parse_map, replay
from perpbot.research.world import WIND_DOWN_NS, _look_ahead
from perpbot.settings import Flag
from perpbot.simulation.tape import TapeRow
from tests.unit.execution.stand import d

HEADER = "recv_ts,venue,symbol,bid,bid_size,ask,ask_size\n"
KNOWN = ("binance", "hyperliquid", "okx")


def lines(seconds: int = 90) -> str:
    """Two venues that agree but for a second of every ten, after a warm-up."""
    rows = []
    for tenth in range(seconds * 10):
        now = 1_700_000_000 + tenth / 10
        gap = 30.0 if tenth > 400 and tenth % 100 < 10 else 0.0
        rows.append(f"{now:.1f},one,BTC-USDT-PERP,60000,5,60001,5\n")
        rows.append(f"{now + 0.05:.2f},two,BTC-USDT-PERP,{60000 + gap},5,{60001 + gap},5\n")
    return HEADER + "".join(rows)


def run(
    path: Path, *, seed: int = 1, progress: Any = None, complain: Any = None
) -> dict[str, Any]:
    """Replay a tape of `one` and `two` at no fees."""
    flags = (Flag("mode", "test", "replay"), Flag("market.symbols", "test", ["BTC-PERP"]))
    settings = load_configuration(environ={}, flags=flags).settings
    return replay(
        path,
        {"one": "binance", "two": "okx"},
        settings,
        ReplayTerms(maker_bps=d(0), taker_bps=d(0)),
        version="test",
        seed=seed,
        progress=progress,
        complain=complain,
    )


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tape as csv, and next to it as csv.gz."""
    path = tmp_path_factory.mktemp("tape") / "small.csv"
    path.write_text(lines())
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    return path


def test_replay_is_deterministic(tape: Path) -> None:
    """The same bytes twice, from csv and from csv.gz; pairs open, all ends flat."""
    first = run(tape)
    assert first["pairs_opened"] >= 1
    assert first["positions"] == first["violations"] == []
    assert first["reserved"] == "0"
    for again in (run(tape), run(tape.with_suffix(".csv.gz"))):
        assert json.dumps(again) == json.dumps(first)


def test_rows_that_cannot_be_used_are_counted_and_named(tape: Path) -> None:
    """By reason beside the other refusals, the first of them with file and line."""
    rows = tape.read_text().splitlines()
    rows[2:2] = ["broken", "1700000000.01,one,BTC-USDT-PERP,nan,5,60001,5"]
    broken = tape.with_name("broken.csv")
    broken.write_text("\n".join(rows) + "\n")
    said: list[str] = []

    first, second = run(tape), run(broken, complain=said.append)

    assert said == [
        f"{broken}:3: column_count: 1 columns, 7 expected",
        f"{broken}:4: not_finite: {rows[3]}",
    ]
    assert second.pop("refused") == {
        **first.pop("refused"),
        "tape_column_count": 1,
        "tape_not_finite": 1,
    }
    assert second == first


def test_progress_is_told(tape: Path) -> None:
    """Virtual seconds, growing."""
    told: list[int] = []
    run(tape, progress=told.append)
    assert told == sorted(told)
    assert len(told) >= 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header was ''"),
        ("time,price\n1,2\n", "recv_ts"),
        (HEADER, "small.csv"),
        (HEADER + "1.0,elsewhere,BTC-USDT-PERP,1,1,2,1\n", "unmapped venue 1.*one, two"),
        (HEADER + "x,one,BTC-USDT-PERP,1,1,2,1\n", "small.csv"),
    ],
    ids=["empty", "header", "no_rows", "other_venues", "no_usable_row"],
)
def test_useless_tape_says_why(tmp_path: Path, text: str, message: str) -> None:
    """A tape without a usable row is named, with its reason."""
    path = tmp_path / "small.csv"
    path.write_text(text)
    with pytest.raises(InvalidValue, match=message):
        run(path)


def test_broken_gzip_says_so(tmp_path: Path) -> None:
    """A file that only looks like gzip."""
    path = tmp_path / "small.csv.gz"
    path.write_bytes(gzip.compress(lines().encode())[:200])
    with pytest.raises(InvalidValue, match=r"small\.csv\.gz"):
        run(path)


def test_map() -> None:
    """Tape venue to venue, blanks allowed."""
    found = parse_map(" a=binance, b = okx ", KNOWN)
    assert found == {"a": "binance", "b": "okx"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tape_venue=venue was expected"),
        ("a", "tape_venue=venue was expected"),
        ("a=", "tape_venue=venue was expected"),
        ("=okx", "tape_venue=venue was expected"),
        ("a=okx,b=kraken", "'kraken', one of binance, hyperliquid, okx"),
        ("a=okx,a=binance", "names 'a' twice"),
        ("a=okx,b=okx", "at least two different ones"),
        ("a=okx", "at least two different ones"),
    ],
    ids=["empty", "no_sign", "no_venue", "no_tape", "unknown", "twice", "same", "one"],
)
def test_map_errors(text: str, message: str) -> None:
    """What is wrong is named."""
    with pytest.raises(ConfigError, match=message):
        parse_map(text, KNOWN)


def row(second: float) -> TapeRow:
    """A row at a time."""
    return TapeRow(int(second * SECOND), "okx", "BTC-PERP", 1.0, 1.0, 2.0, 1.0, 0)


@pytest.mark.parametrize(
    ("seconds", "soon"),
    [
        ([], []),
        ([0], [True]),
        ([0, 10, 15.5, 20, 40], [False, False, False, False, True]),
        ([0, 10, 15.5, 20, 30], [False, False, True, True, True]),
        ([0, 1, 2], [True, True, True]),
    ],
    ids=["none", "one", "gap", "end", "short"],
)
def test_look_ahead(seconds: list[float], soon: list[bool]) -> None:
    """Every row comes once, in order, with whether the data ends within the span of it."""
    rows = [row(second) for second in seconds]
    found = list(_look_ahead(iter(rows), WIND_DOWN_NS))
    assert [one for one, _ in found] == rows
    assert [ends for _, ends in found] == soon
