"""`perpbot guardian`: what it refuses, and how it tells what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.app.guarding import guarded_venues, scope_in, shared_keys
from perpbot.cli.guardian import words
from perpbot.cli.main import app
from perpbot.configuration import load_configuration
from perpbot.guardian.settings import Flatten
from perpbot.guardian.status import GuardianLock
from perpbot.settings import Flag

KEY = {"OKX_API_KEY": "kkkkkkkk", "OKX_API_SECRET": "ssssssss", "OKX_PASSPHRASE": "pppppppp"}


def of_guardian(values: dict[str, str], **changed: str) -> dict[str, str]:
    """The same variables, of the guardian's set."""
    named = {name.replace("OKX_", "OKX__GUARDIAN__"): text for name, text in values.items()}
    return {**named, **{f"OKX__GUARDIAN__{name}": text for name, text in changed.items()}}


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands look at the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def perpbot(*arguments: str, environ: dict[str, str] | None = None) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments), env=environ or {})


@pytest.mark.parametrize(
    ("arguments", "environ", "text", "code"),
    [
        ((), {}, "mode was paper: testnet or live was expected", 4),
        (("--testnet",), {}, "OKX__GUARDIAN__API_KEY", 4),
        (("--testnet",), KEY, "OKX__GUARDIAN__API_KEY", 4),
        (("--testnet",), {"OKX__GUARDIAN__API_KEY": "k"}, "OKX__GUARDIAN__API_SECRET", 4),
        (("--live",), of_guardian(KEY), "live needs", 4),
        (("--live", "--testnet"), {}, "exclude each other", 2),
    ],
    ids=["paper", "no key", "only the node's key", "half a key", "live locks", "two modes"],
)
def test_what_it_refuses(
    arguments: tuple[str, ...], environ: dict[str, str], text: str, code: int
) -> None:
    """It says what is missing; it never takes the node's key for its own."""
    result = perpbot("guardian", *arguments, environ=environ)
    assert result.exit_code == code, result.stderr
    assert text in result.stderr


def test_two_guardians_exclude_each_other(working_directory: Path) -> None:
    """And a key that is the node's own is told of."""
    lock = GuardianLock(working_directory / "state" / "testnet")
    result = perpbot("guardian", "--testnet", environ={**KEY, **of_guardian(KEY)})
    lock.close()

    assert result.exit_code == 1
    assert "has a guardian already" in result.stderr
    assert "okx: the guardian uses the node's own key" in result.stderr


def test_the_scope_follows_from_keys_and_accounts() -> None:
    """A venue where the node trades and the guardian has no key keeps it from levelling."""

    def configuration(environ: dict[str, str], **flags: object) -> Any:
        return load_configuration(
            environ=environ,
            flags=(
                Flag("mode", "--testnet", "testnet"),
                *(Flag(name.replace("__", "."), "test", value) for name, value in flags.items()),
            ),
        )

    both = {**KEY, **of_guardian(KEY, API_KEY="kkkkkkk2")}
    dedicated = configuration(both, venues__okx__account_dedicated=True)
    assert scope_in(dedicated).flatten is Flatten.UNHEDGED
    assert scope_in(dedicated).venues == ("okx",)
    assert shared_keys(dedicated) == []
    assert scope_in(configuration(both)).flatten is Flatten.NONE
    blind = configuration(KEY, venues__okx__account_dedicated=True)
    assert scope_in(blind).venues == ()
    trades = {venue.name: venue.node_trades for venue in guarded_venues(blind)}
    assert trades["okx"]
    assert not trades["binance"]


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        ({"kind": "epoch", "number": 2}, "00:00:05 guardian epoch number=2"),
        (
            {
                "kind": "submit",
                "venue": "okx",
                "order": {"side": "sell", "quantity": "1", "symbol": "BTC", "price": "99"},
            },
            "00:00:05 guardian submit venue=okx order=sell 1 BTC at 99",
        ),
        ({"kind": "ended"}, "00:00:05 guardian ended"),
    ],
    ids=["plain", "order", "bare"],
)
def test_facts_for_people(fact: dict[str, Any], line: str) -> None:
    """One line each."""
    assert words({"n": 1, "ts_ns": 5_000_000_000, **fact}) == line


@pytest.mark.parametrize("dedicated", [True, False])
def test_doctor_says_who_protects_what(working_directory: Path, *, dedicated: bool) -> None:
    """From settings and the venue's own word, before anything runs."""
    (working_directory / "config.yaml").write_text(
        "mode: testnet\n"
        "venues:\n"
        "  binance: {enabled: false}\n"
        "  hyperliquid: {enabled: false}\n"
        f"  okx: {{account_dedicated: {str(dedicated).lower()},"
        " rest_url: 'http://127.0.0.1:9', ws_url: 'ws://127.0.0.1:9'}\n"
    )
    answer = json.loads(perpbot("doctor", "--json", environ=KEY).stdout)

    (row,) = answer["protection"]
    assert (row["venue"], row["trades"], row["resting"]) == ("okx", True, None)
    assert row["dead_man"]["armed"] is dedicated
    assert row["cancels"] == ("the venue, 60 s" if dedicated else "nobody")
    assert row["flattens"] == "nobody"
    assert not row["guardian"]["alive"]
    (check,) = [found for found in answer["checks"] if found["name"] == "protection"]
    assert check["grade"] == "warning"
