"""The guardian's own journal."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpbot.domain.sides import Side
from perpbot.guardian.record import FILE_NAME, GuardianRecord, read_record


def test_facts_are_numbered_kept_and_told(tmp_path: Path) -> None:
    """Over several lives of a guardian."""
    told: list[dict[str, Any]] = []
    first = GuardianRecord(tmp_path, lambda: 5, told.append)
    first.write("epoch", number=2)
    first.close()
    second = GuardianRecord(tmp_path, lambda: 6)
    second.write("submit", side=Side.SELL, quantity=Decimal("0.10"))
    second.close()

    facts = list(read_record(tmp_path / FILE_NAME))
    assert told == [{"n": 1, "ts_ns": 5, "kind": "epoch", "number": 2}]
    assert second.earlier == tuple(told)
    assert facts == [
        *told,
        {"n": 2, "ts_ns": 6, "kind": "submit", "side": "sell", "quantity": "0.10"},
    ]


def test_a_torn_line_costs_that_line_only(tmp_path: Path) -> None:
    """What follows it stands on its own line."""
    record = GuardianRecord(tmp_path, lambda: 5)
    record.write("epoch", number=2)
    record.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes() + b'{"n":2,"kin')

    record = GuardianRecord(tmp_path, lambda: 6)
    record.write("level")
    record.close()

    kinds = [fact["kind"] for fact in read_record(path)]
    assert kinds == ["epoch", "damaged", "level"]


def test_a_full_disk_is_told_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To act matters more than to write it down."""
    told: list[dict[str, Any]] = []
    record = GuardianRecord(tmp_path, lambda: 5, told.append)
    monkeypatch.setattr(os, "write", lambda _descriptor, line: len(line) - 1)
    record.write("cancel", order="1")
    monkeypatch.undo()

    assert "short write" in record.trouble
    assert told[0]["kind"] == "cancel"
    record.write("cancel", order="2")
    assert record.trouble == ""
    record.close()


def test_nothing_yet(tmp_path: Path) -> None:
    """No file, no facts."""
    assert list(read_record(tmp_path / FILE_NAME)) == []


def test_secrets_do_not_reach_the_record(tmp_path: Path) -> None:
    """Neither what a venue quotes back nor what is told."""
    told: list[dict[str, Any]] = []

    def redact(fact: dict[str, Any]) -> dict[str, Any]:
        return {**fact, "error": fact["error"].replace("hunter2", "***")}

    record = GuardianRecord(tmp_path, lambda: 5, told.append, redact)
    record.write("cancel_failed", error="bad key hunter2")
    record.close()

    assert b"hunter2" not in (tmp_path / FILE_NAME).read_bytes()
    assert told[0]["error"] == "bad key ***"
