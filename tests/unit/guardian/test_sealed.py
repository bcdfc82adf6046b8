"""Sealed lines and files that are replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.guardian.sealed import replace_durably, seal, unseal


@given(st.from_regex(rb"\{[ -~]*\}", fullmatch=True))
def test_what_is_sealed_can_be_read(content: bytes) -> None:
    """A line gives back its content, padding or not."""
    assert unseal(seal(content)) == content
    assert unseal(seal(content).ljust(256)) == content


@given(st.data())
def test_every_flipped_bit_and_every_cut_shows(data: st.DataObject) -> None:
    """No damaged line is taken for a whole one."""
    line = seal(b'{"epoch":3,"at_ns":123456789}')
    place = data.draw(st.integers(0, len(line) - 2))
    flipped = bytearray(line)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(flipped), line[:place]):
        with pytest.raises(InvalidValue, match="checksum"):
            unseal(damaged)


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """What was there is whole until what comes is whole; nothing else stays behind."""
    path = tmp_path / "file"
    replace_durably(path, b"old")
    replace_durably(path, b"new")

    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_death_at_any_step_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the rename the old file stands, whatever the scratch file holds."""
    path = tmp_path / "file"
    replace_durably(path, b"old")

    def die(*_: object) -> None:
        raise OSError("no space")

    if step == "replace":
        monkeypatch.setattr(Path, step, die)
    else:
        monkeypatch.setattr(os, step, die)
    with pytest.raises(OSError, match="no space"):
        replace_durably(path, b"new")
    monkeypatch.undo()

    assert path.read_bytes() == b"old"
    replace_durably(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_short_write_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes only a part of the line does not make a new file."""
    monkeypatch.setattr(os, "write", lambda _descriptor, data: len(data) - 1)
    with pytest.raises(OSError, match="of 3 bytes"):
        replace_durably(tmp_path / "file", b"new")
    assert not (tmp_path / "file").exists()
