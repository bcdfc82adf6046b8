"""`python -m perpbot`."""

from __future__ import annotations

import runpy
import sys

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
