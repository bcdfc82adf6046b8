from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.simulation.tape import Tape, TapeRow

HEADER = "recv_ts,venue,symbol,bid,bid_size,ask,ask_size,exch_ts"
GOOD = "1723161254.02462,binance_usdm,BTC-USDT-PERP,61837.6,3.5,61837.7,1.5,1723161255.3"
VENUES = {"binance_usdm": "binance", "binance_spot": "okx"}


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    """A tape of these rows; gzipped where the name says so."""
    text = "\n".join((header, *lines)) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["tape.csv", "tape.csv.gz"])
def test_rows_are_read_in_our_names_and_nanoseconds(tmp_path: Path, name: str) -> None:
    """Mapped venue, asset key, microseconds kept, the venue's own time."""
    (row,) = Tape(write(tmp_path / name, GOOD), VENUES)
    assert row == TapeRow(
        1_723_161_254_024_620_000,
        "binance",
        "BTC-PERP",
        61837.6,
        3.5,
        61837.7,
        1.5,
        1_723_161_255_300_000_000,
    )


@pytest.mark.parametrize("symbol", ["BTC-USD-PERP", "BTC-USDT", "BTC-USDT-PERP", "BTC-PERP"])
def test_every_spelling_is_the_perpetual_of_its_venue(tmp_path: Path, symbol: str) -> None:
    """The map says which venue a tape's market plays."""
    row = GOOD.replace("BTC-USDT-PERP", symbol)
    assert [found.asset for found in Tape(write(tmp_path / "t.csv", row), VENUES)] == ["BTC-PERP"]


def test_exchange_time_is_optional(tmp_path: Path) -> None:
    """An empty cell, or no column at all."""
    empty = GOOD.rsplit(",", 1)[0] + ","
    assert [row.exch_ns for row in Tape(write(tmp_path / "a.csv", empty), VENUES)] == [0]
    path = write(tmp_path / "b.csv", GOOD.rsplit(",", 1)[0], header=HEADER.rsplit(",", 1)[0])
    assert [row.exch_ns for row in Tape(path, VENUES)] == [0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,binance_usdm,BTC-USDT,1,1,2", "column_count"),
        ("1,binance_usdm,BTC-USDT,1,1,2,1,1,1", "column_count"),
        ("x,binance_usdm,BTC-USDT,1,1,2,1,", "not_a_number"),
        ("1,binance_usdm,BTC-USDT,,1,2,1,", "not_a_number"),
        ("1,binance_usdm,BTC-USDT,nan,1,2,1,", "not_finite"),
        ("1,binance_usdm,BTC-USDT,1,1,inf,1,", "not_finite"),
        ("1,binance_usdm,BTC-USDT,1,-1,2,1,", "negative"),
        ("1,binance_usdm,BTC-USDT,1,0,2,1,", "zero"),
        ("0,binance_usdm,BTC-USDT,1,1,2,1,", "zero"),
        ("1,binance_usdm,BTC-USDT,3,1,2,1,", "crossed"),
        ("1,binance_usdm,BTC-USDT,2,1,2,1,", "locked"),
        ("1,binance_usdm,B?C,1,1,2,1,", "symbol"),
    ],
)
def test_rows_that_cannot_be_used_are_counted_with_their_line(
    tmp_path: Path, row: str, reason: str
) -> None:
    """The rest of the tape is read all the same."""
    tape = Tape(write(tmp_path / "t.csv", row, GOOD), VENUES)
    assert len(list(tape)) == 1
    assert tape.refused == {reason: 1}
    assert tape.problems[0].startswith(f"{tmp_path / 't.csv'}:2: {reason}: ")


def test_rows_out_of_order_are_dropped_and_counted(tmp_path: Path) -> None:
    """Time never goes back; equal times are fine."""
    earlier = GOOD.replace("1723161254.02462", "1723161254.02461")
    tape = Tape(write(tmp_path / "t.csv", GOOD, earlier, GOOD), VENUES)
    assert len(list(tape)) == 2
    assert tape.refused == {"out_of_order": 1}


def test_other_venues_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """They are no errors."""
    other = GOOD.replace("binance_usdm", "kraken")
    tape = Tape(write(tmp_path / "t.csv", other, "", GOOD), VENUES)
    assert len(list(tape)) == 1
    assert (tape.unmapped, tape.refused) == (1, {})


def test_tape_can_be_read_twice(tmp_path: Path) -> None:
    """Counts start anew."""
    tape = Tape(write(tmp_path / "t.csv", GOOD, "junk"), VENUES)
    assert list(tape) == list(tape)
    assert (tape.rows, tape.refused) == (1, {"column_count": 1})


@pytest.mark.parametrize("header", ["", "time,venue,symbol,bid,bid_size,ask,ask_size", GOOD])
def test_wrong_header_is_refused(tmp_path: Path, header: str) -> None:
    """The first line says whether this is a tape at all."""
    with pytest.raises(InvalidValue, match=r"t\.csv:1: header was .* was expected"):
        list(Tape(write(tmp_path / "t.csv", GOOD, header=header), VENUES))


def test_tape_without_a_usable_row_is_refused_with_the_reasons(tmp_path: Path) -> None:
    """Nothing usable is an error that says why."""
    other = GOOD.replace("binance_usdm", "kraken")
    with pytest.raises(InvalidValue, match=r"no usable row .*column_count 1, unmapped venue 1"):
        list(Tape(write(tmp_path / "t.csv", other, "junk"), VENUES))
    with pytest.raises(InvalidValue, match=r"no usable row \(empty\)"):
        list(Tape(write(tmp_path / "e.csv"), VENUES))


def test_broken_gzip_is_refused(tmp_path: Path) -> None:
    """Cut off, or none at all."""
    path = write(tmp_path / "t.csv.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InvalidValue, match="broken gzip"):
        list(Tape(path, VENUES))
    path.write_text("plain")
    with pytest.raises(InvalidValue, match="broken gzip"):
        list(Tape(path, VENUES))


def test_empty_map_is_refused(tmp_path: Path) -> None:
    """A tape without venues says nothing."""
    with pytest.raises(InvalidValue, match="venue map was empty"):
        Tape(tmp_path / "t.csv", {})


def test_problems_are_kept_up_to_a_limit(tmp_path: Path) -> None:
    """A tape of garbage does not fill the memory; every row is counted."""
    tape = Tape(write(tmp_path / "t.csv", *["junk"] * 100, GOOD), VENUES)
    assert len(list(tape)) == 1
    assert tape.refused == {"column_count": 100}
    assert len(tape.problems) == 20


def test_real_tape_is_read_whole(shared: Path) -> None:
    """Three real markets on one clock, every row usable."""
    path = shared / "recordings/tape/xmarket_tick_binance_btc_eth_20240808.csv.gz"
    if not path.is_file():
        pytest.skip(f"needs the recorded tape {path.name}")
    venues = {"binance_usdm": "binance", "binance_spot": "okx", "binance_coinm": "hyperliquid"}
    tape = Tape(path, venues)
    keys = {(row.venue, row.asset) for row in tape}
    assert tape.rows == 207_146
    assert not tape.refused
    assert len(keys) == 6
