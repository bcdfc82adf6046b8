"""Credentials: who reads them, from where, and what half a set means."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.settings import (
    VENUE_CREDENTIALS,
    CredentialField,
    Environment,
    Mode,
    SettingsError,
    load_credentials,
)

OKX = {"OKX_API_KEY": "key-1", "OKX_API_SECRET": " secret-1 ", "OKX_PASSPHRASE": "pass-1"}


class ForbiddenEnvironment(Environment):
    """Fails the test when anybody looks."""

    def get(self, name: str) -> None:
        raise AssertionError(name)


@pytest.mark.parametrize("mode", [Mode.DEMO, Mode.PAPER, Mode.REPLAY])
@pytest.mark.parametrize("venue", sorted(VENUE_CREDENTIALS))
def test_modes_that_send_nothing_out_never_look(mode: Mode, venue: str) -> None:
    """Demo, paper and replay do not even read the variables."""
    assert dict(load_credentials(venue, mode, ForbiddenEnvironment())) == {}


@pytest.mark.parametrize("mode", [Mode.TESTNET, Mode.LIVE])
def test_a_full_set_is_read(mode: Mode) -> None:
    """Values come by field name, without the blanks around them."""
    found = load_credentials("okx", mode, Environment(OKX))

    assert {name: secret.reveal() for name, secret in found.items()} == {
        "api_key": "key-1",
        "api_secret": "secret-1",
        "passphrase": "pass-1",
    }
    assert len(found) == 3
    assert "key-1" not in repr(found)


def test_an_alias_and_an_optional_field_are_read() -> None:
    """The other bots' names work too."""
    found = load_credentials(
        "hyperliquid",
        Mode.LIVE,
        Environment(
            {
                "HYPERLIQUID_PRIVATE_KEY": "0xkey",
                "HYPERLIQUID_ACCOUNT_ADDRESS": "0xmaster",
                "HYPERLIQUID_VAULT_ADDRESS": "0xvault",
            }
        ),
    )

    assert sorted(found) == ["account_address", "private_key", "vault_address"]


def test_no_credentials_at_all_mean_read_only() -> None:
    """Public data needs no keys."""
    assert len(load_credentials("binance", Mode.LIVE, Environment())) == 0


def test_every_missing_part_of_a_set_is_named() -> None:
    """Half a set is a mistake, never read-only."""
    with pytest.raises(SettingsError) as caught:
        load_credentials("okx", Mode.LIVE, Environment({"OKX_API_KEY": "key-1"}))

    assert [problem.key for problem in caught.value.problems] == [
        "OKX_API_SECRET",
        "OKX_PASSPHRASE",
    ]
    assert "key-1" not in str(caught.value)


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    """Docker and systemd give secrets as files."""
    path = tmp_path / "secret"
    path.write_text("from-file\n")
    environment = Environment(
        {"OKX_API_KEY": "k", "OKX_API_SECRET_FILE": str(path), "OKX_PASSPHRASE": "p"}
    )

    assert load_credentials("okx", Mode.LIVE, environment)["api_secret"].reveal() == "from-file"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\xff", "is not text"),
        (b"x" * 65_537, "larger"),
    ],
    ids=["missing", "empty", "binary", "huge"],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """The message names variable and path, never the content."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    environment = Environment(OKX | {"OKX_API_SECRET": "", "OKX_API_SECRET_FILE": str(path)})

    with pytest.raises(SettingsError, match=problem) as caught:
        load_credentials("okx", Mode.LIVE, environment)

    assert "OKX_API_SECRET_FILE" in str(caught.value)


@pytest.mark.parametrize("second", ["OKX_PASSPHRASE_FILE", "OKX_API_PASSPHRASE"])
def test_a_value_given_twice_is_refused(second: str) -> None:
    """Nobody should have to guess which one holds."""
    with pytest.raises(SettingsError, match="given more than once"):
        load_credentials("okx", Mode.LIVE, Environment(OKX | {second: "other"}))


def test_a_second_account_has_its_own_variables() -> None:
    """`credentials: sub1` reads OKX__SUB1__*."""
    environment = Environment(
        OKX
        | {
            "OKX__SUB1__API_KEY": "key-2",
            "OKX__SUB1__API_SECRET": "secret-2",
            "OKX__SUB1__API_PASSPHRASE": "pass-2",
        }
    )
    found = load_credentials("okx", Mode.LIVE, environment, account="sub1")

    assert [secret.reveal() for secret in found.values()] == ["key-2", "secret-2", "pass-2"]


def test_a_venue_of_an_extension_brings_its_fields() -> None:
    """The table is a default, not a wall."""
    fields = (CredentialField("token", "MYVENUE_TOKEN", "token"),)
    found = load_credentials("myvenue", Mode.LIVE, Environment({"MYVENUE_TOKEN": "t"}), fields)

    assert found["token"].reveal() == "t"
