"""The epoch file: it only grows, survives a crash, and fails closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perpbot.domain.errors import StateConflict
from perpbot.guardian.epoch import FILE_NAME, Epoch, epoch_number, raise_epoch, read_epoch


def epoch(number: int, run_epoch: int = 1) -> Epoch:
    """A taking over."""
    return Epoch(number=number, run_epoch=run_epoch, at_ns=5, reason="silent for 10 s")


def test_what_is_raised_is_read(tmp_path: Path) -> None:
    """Without a file nobody has taken over."""
    assert read_epoch(tmp_path) is None
    assert epoch_number(tmp_path) == 0

    raise_epoch(tmp_path, epoch(2))

    assert read_epoch(tmp_path) == epoch(2)
    assert epoch_number(tmp_path) == 2


@pytest.mark.parametrize(("number", "run"), [(2, 1), (1, 0), (3, 3), (3, 7)])
def test_it_only_grows(tmp_path: Path, number: int, run: int) -> None:
    """Neither below what was raised before nor below the run that it fences."""
    raise_epoch(tmp_path, epoch(2))
    with pytest.raises(StateConflict, match="was expected"):
        raise_epoch(tmp_path, epoch(number, run))
    assert epoch_number(tmp_path) == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage #00000000\n"])
def test_a_damaged_file_lets_nobody_send(tmp_path: Path, content: bytes) -> None:
    """It is not known who may send, so the text says what a person has to do."""
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StateConflict, match="look at the venues, then remove the file"):
        read_epoch(tmp_path)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_death_at_any_step_keeps_the_old_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the rename the old file stands; nothing half written is ever read."""
    raise_epoch(tmp_path, epoch(2))

    def die(*_: object, **__: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(Path if step == "replace" else os, step, die)
        with pytest.raises(OSError, match="no space"):
            raise_epoch(tmp_path, epoch(3))

    assert epoch_number(tmp_path) == 2
    raise_epoch(tmp_path, epoch(4))
    assert epoch_number(tmp_path) == 4
    assert [found.name for found in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
