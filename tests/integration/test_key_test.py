"""`perpbot keys test` and `doctor` against the exchanges that we serve."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.cli.main import app
from perpbot.settings.sealing import Cost
from tests.integration.test_run import LIMIT_S, PERPBOT

VENUES = ("binance", "hyperliquid", "okx")
WORDS = "several words of mine"


@pytest.fixture(scope="module")
def exchanges() -> Iterator[dict[str, dict[str, Any]]]:
    """Serve our exchanges; what a client needs by venue."""
    process = subprocess.Popen([*PERPBOT, "simulate", *VENUES], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [json.loads(process.stdout.readline()) for _ in VENUES]
        yield {line["venue"]: line for line in lines}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
        process.stdout.close()


@pytest.fixture(autouse=True)
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: dict[str, dict[str, Any]]
) -> Path:
    """A working directory that leads to the exchanges, and a keystore with all keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("perpbot.settings.sealing.STANDARD", Cost(log2_n=14))
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "words").chmod(0o600)
    monkeypatch.setenv("PERPBOT_KEYSTORE_PASSPHRASE_FILE", str(tmp_path / "words"))
    configure(tmp_path, "testnet", {name: found["rest_url"] for name, found in exchanges.items()})
    for name, found in exchanges.items():
        added = perpbot("keys", "add", name, "--stdin", given=json.dumps(found["credentials"]))
        assert added.exit_code == 0, added.output
    return tmp_path


def configure(place: Path, mode: str, addresses: dict[str, str]) -> None:
    """Write a configuration."""
    venues = "".join(
        f"  {name}: {{rest_url: '{rest}', ws_url: '{rest.replace('http', 'ws')}'}}\n"
        for name, rest in addresses.items()
    )
    (place / "config.yaml").write_text(f"mode: {mode}\nvenues:\n{venues}")


def perpbot(*arguments: str, given: str = "") -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments), input=given)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("mode", ["paper", "testnet"])
def test_a_key_is_tried_at_its_venue(
    place: Path, exchanges: dict[str, dict[str, Any]], venue: str, mode: str
) -> None:
    """It works, and its rights are told; nothing of it is shown."""
    rest = exchanges[venue]["rest_url"]
    configure(place, mode, {venue: rest})
    testnet = ("--testnet",) if mode == "testnet" or venue == "hyperliquid" else ()

    result = perpbot("keys", "test", venue, "--json", *testnet)

    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["works"]
    assert answer["address"] == rest
    assert answer["source"].startswith("keystore ")
    assert answer["permissions"]["trade"] is True
    assert answer["permissions"]["withdraw"] is False
    assert answer["objections"] == []
    secrets = [
        text for name, text in exchanges[venue]["credentials"].items() if "addr" not in name
    ]
    assert not any(secret in result.output for secret in secrets)
    text = perpbot("keys", "test", venue, *testnet).stdout
    assert "takes the key" in text
    assert "withdraw no" in text


def test_a_key_that_the_venue_refuses_fails(exchanges: dict[str, dict[str, Any]]) -> None:
    """With the exit code of venues, and without the key."""
    spoilt = {**exchanges["okx"]["credentials"], "passphrase": "canary-wrong-passphrase"}
    perpbot("keys", "add", "okx", "--account", "bad", "--stdin", given=json.dumps(spoilt))

    result = perpbot("keys", "test", "okx", "--account", "bad", "--testnet")

    assert result.exit_code == 7
    assert "refuses the key" in result.stdout
    assert "canary" not in result.output


def test_a_key_is_not_shown_to_strangers(place: Path) -> None:
    """Only to the venue's own address or to loopback."""
    configure(place, "paper", {"okx": "https://okx.example"})

    result = perpbot("keys", "test", "okx")

    assert result.exit_code == 4
    assert "loopback only" in result.stderr


def test_without_a_key_there_is_nothing_to_try() -> None:
    """And it says how to add one."""
    result = perpbot("keys", "test", "okx", "--account", "none")

    assert result.exit_code == 2
    assert "perpbot keys add okx" in result.stderr


def test_doctor_says_where_keys_come_from_and_what_they_may_do(
    exchanges: dict[str, dict[str, Any]],
) -> None:
    """By venue."""
    result = perpbot("doctor", "--json")

    checks = json.loads(result.stdout)["checks"]
    sources = [check["text"] for check in checks if check["name"] == "credentials"]
    assert len(sources) == 3
    assert all("from keystore" in text for text in sources)
    rights = [check["text"] for check in checks if check["name"] == "key"]
    for venue in VENUES:
        assert any(text.startswith(f"{venue}: trade yes, withdraw no") for text in rights)
        assert any(text == f"{venue}: it works from any address: bind it to yours"
                   for text in rights)  # fmt: skip
