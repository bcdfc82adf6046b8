"""What a failed run says: the error, never the secrets that it quotes."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from perpbot.cli import run
from perpbot.cli.main import app
from perpbot.domain.errors import ConfigError, Unavailable

KEY = "canary-key-0123456789"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A testnet node of one venue with a key in its environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "mode: testnet\nvenues: {okx: {enabled: false}, hyperliquid: {enabled: false}}\n"
    )
    monkeypatch.setenv("BINANCE_API_KEY", KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", f"{KEY}-secret")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
    return tmp_path


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(f"bad {KEY}"), 4, "perpbot: bad ********"),
        (Unavailable("binance", f"GET /x?k={KEY} failed"), 7, "GET /x?k=******** failed"),
        (OSError(5, f"cannot read {KEY}"), 1, "cannot read ********"),
        (RuntimeError(f"https://x/?signature=abc&k={KEY}"), 1, "ended by an error of perpbot"),
    ],
    ids=["settings", "venue", "system", "a bug"],
)
def test_an_error_is_told_without_its_secrets(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    """On the terminal and in the log, with the exit code of its kind."""

    async def broken(*_: Any) -> None:
        await asyncio.sleep(0)
        raise error

    monkeypatch.setattr(run, "_run", broken)

    result = CliRunner().invoke(app, ["run", "--testnet"])

    assert result.exit_code == code
    assert said in result.output
    log = (place / "logs" / "testnet" / "perpbot.log").read_text()
    assert KEY not in result.output + log
    assert "signature=abc" not in result.output + log
