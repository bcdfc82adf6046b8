"""The audits of `make check` find what they look for, and say when they could not look."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.audits import advisories, secret_scan

HEX = "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d"
MIXED = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bot.py", f'KEY = "0x{HEX}"\n'),
        ("bot.py", f'client("{MIXED}")\n'),
        ("config.yaml", f"okx:\n  api_secret: {MIXED}\n"),
        (".env", f"HYPERLIQUID_PK={HEX}\n"),
        ("notes.md", "-----BEGIN EC " + "PRIVATE KEY-----\n"),
        ("run.sh", f"export BINANCE_API_SECRET='{MIXED}'\n"),
        ("bot.py", 'token = "123456789:AAF' + "x" * 8 + "K3dM1c9QwErTyUiOpAsDfGhJ" + '"\n'),
    ],
    ids=["private key", "api secret", "yaml", "env", "pem", "shell", "telegram"],
)
def test_a_planted_key_is_found(tmp_path: Path, name: str, text: str) -> None:
    """Of the kinds that a trader has."""
    (tmp_path / name).write_text(text)

    assert secret_scan.scan(tmp_path, [name])


def test_ordinary_code_is_left_alone(tmp_path: Path) -> None:
    """Names, prices, reading of a variable."""
    (tmp_path / "bot.py").write_text(
        'api_key = os.environ["OKX_API_KEY"]\nprice = "65000.10"\nurl = "https://www.okx.com"\n'
    )

    assert not secret_scan.scan(tmp_path, ["bot.py"])


def test_what_was_accepted_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever its line has moved; a second key is news again."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)  # noqa: S607
    monkeypatch.setattr(secret_scan, "REPOSITORY", tmp_path)
    monkeypatch.setattr(secret_scan, "KNOWN", tmp_path / "known")
    monkeypatch.setattr(secret_scan.known, "__defaults__", (tmp_path / "known",))
    (tmp_path / "bot.py").write_text(f'KEY = "{HEX}"\n')
    (tmp_path / "known").write_text("")

    assert secret_scan.main([]) == 1
    assert "bot.py:1: Hex High Entropy String" in capsys.readouterr().err
    assert secret_scan.main(["--accept"]) == 0
    (tmp_path / "bot.py").write_text(f'\n\nKEY = "{HEX}"\n')
    assert secret_scan.main([]) == 0
    (tmp_path / "bot.py").write_text(f'KEY = "{HEX}"\nOTHER = "{HEX[::-1]}"\n')
    assert secret_scan.main([]) == 1
    assert HEX[::-1] not in capsys.readouterr().err


def test_without_git_the_scan_says_that_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source archive has no list of files."""
    monkeypatch.setattr(secret_scan, "REPOSITORY", tmp_path)

    assert secret_scan.main([]) == 0
    assert "skipped" in capsys.readouterr().err


def answer(*packages: Mapping[str, object]) -> str:
    """Return what pip-audit prints."""
    return json.dumps({"dependencies": packages, "fixes": []})


WEAK = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
SOUND = {"name": "b", "version": "1", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [
        (answer(SOUND), 0, ""),
        (answer(SOUND, WEAK), 1, "a 1: PYSEC-1, mended in 2"),
        (answer(UNKNOWN), 0, "skipped: the advisory database cannot be reached for 1 of 1"),
        (answer(UNKNOWN, WEAK), 1, "PYSEC-1"),
        ("", 0, "skipped: the advisory database cannot be reached (connection lost)"),
    ],
    ids=["sound", "weak", "unanswered", "both", "broken off"],
)
def test_a_weakness_fails_and_silence_is_said(
    capsys: pytest.CaptureFixture[str], out: str, code: int, said: str
) -> None:
    """No answer is never a good answer."""
    assert advisories.main(lambda: True, lambda _: (out, "x\nconnection lost\n")) == code
    assert said in capsys.readouterr().err


def test_without_a_network_the_question_is_skipped_plainly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And so when the answer takes too long."""

    def slow(command: list[str]) -> tuple[str, str]:
        raise subprocess.TimeoutExpired(command, 1)

    assert advisories.main(lambda: False) == 0
    assert "cannot be reached" in capsys.readouterr().err
    assert advisories.main(lambda: True, slow) == 0
    assert "no answer in" in capsys.readouterr().err
    assert not advisories.reachable("http://127.0.0.1:9/")
