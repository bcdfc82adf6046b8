"""`python -m perpbot`."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_module_runs_as_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command line under both names."""
    monkeypatch.setattr(sys, "argv", ["perpbot", "version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("perpbot", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("perpbot ")


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        (">&-", "config show", 0),
        ("<&- >&- 2>&-", "version", 0),
        ("2>&-", "config validate -c gone.yaml", 4),
    ],
)
def test_closed_standard_streams_change_nothing_else(
    tmp_path: Path, closed: str, arguments: str, code: int
) -> None:
    """What nobody can read is not written; the exit code tells what happened."""
    line = f"{sys.executable} -m perpbot {arguments} {closed}"
    ended = subprocess.run(
        ["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")
