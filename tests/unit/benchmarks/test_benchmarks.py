"""The benchmark suite runs and prints what it promises; no time is judged here."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, main

QUICK = ["--json", "--rounds", "1", "--scale", "0.001"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_prints_its_rows_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One list of rows, each with a ratio, its limit and whether it holds."""
    code = main([*QUICK, "--only", name])
    rows = json.loads(capsys.readouterr().out)
    assert rows
    for row in rows:
        assert set(row) == {"name", "ours", "contender", "ratio", "limit", "holds", "unit"}
        assert row["ratio"] >= 0
    assert code == (0 if all(row["holds"] for row in rows) else 1)


def test_table_names_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What people see without --json."""
    main(["--rounds", "1", "--scale", "0.001", "--only", "book"])
    assert "book" in capsys.readouterr().out
