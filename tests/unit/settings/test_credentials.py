"""Credentials: who reads them, from where, and what half a set means."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.settings import (
    VENUE_CREDENTIALS,
    CredentialField,
    Environment,
    KeyRing,
    Mode,
    Secret,
    SettingsError,
    StoredKey,
    change_keys,
    load_credentials,
)
from perpbot.settings.sealing import Cost

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
    path.chmod(0o600)
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
        path.chmod(0o600)
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


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    path = tmp_path / "secret"
    path.write_text("from-file")
    path.chmod(0o640)
    environment = Environment(OKX | {"OKX_API_SECRET": "", "OKX_API_SECRET_FILE": str(path)})

    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        load_credentials("okx", Mode.LIVE, environment)


def test_every_source_is_named(tmp_path: Path) -> None:
    """Where each part came from, and nothing of what it is."""
    path = tmp_path / "secret"
    path.write_text("from-file")
    path.chmod(0o600)
    environment = Environment(OKX | {"OKX_API_SECRET": "", "OKX_API_SECRET_FILE": str(path)})

    source = load_credentials("okx", Mode.LIVE, environment).source

    assert source == (
        "environment OKX_API_KEY, environment OKX_API_SECRET_FILE, environment OKX_PASSPHRASE"
    )


@pytest.fixture
def keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables that name a keystore with keys of OKX and a half of one of Binance."""
    monkeypatch.setattr("perpbot.settings.sealing.STANDARD", Cost(log2_n=14))
    tmp_path.chmod(0o700)
    (tmp_path / "passphrase").write_text("several words of mine\n")
    (tmp_path / "passphrase").chmod(0o600)
    ring = KeyRing()
    for venue, account, names in (
        ("okx", "", ("api_key", "api_secret", "passphrase")),
        ("okx", "sub1", ("api_key", "api_secret", "passphrase")),
        ("binance", "", ("api_key", "colour")),
    ):
        fields = {name: Secret(f"{venue}{account}-{name}") for name in names}
        ring = ring.including(StoredKey(venue, account, 1, fields))
    change_keys(tmp_path / "keystore", Secret("several words of mine"), lambda _: ring)
    return {
        "PERPBOT_KEYSTORE": str(tmp_path / "keystore"),
        "PERPBOT_KEYSTORE_PASSPHRASE_FILE": str(tmp_path / "passphrase"),
    }


@pytest.mark.parametrize(("account", "key"), [("", "okx-api_key"), ("sub1", "okxsub1-api_key")])
def test_what_no_variable_gives_comes_from_the_keystore(
    keystore: dict[str, str], account: str, key: str
) -> None:
    """The account's own key; the source says which."""
    found = load_credentials("okx", Mode.TESTNET, Environment(keystore), account=account)

    assert found["api_key"].reveal() == key
    assert found.source.startswith(f"keystore {keystore['PERPBOT_KEYSTORE']} (key ")


def test_variables_win_as_a_whole(keystore: dict[str, str]) -> None:
    """The keystore is not even opened, and never fills a gap of theirs."""
    locked = {**keystore, "PERPBOT_KEYSTORE_PASSPHRASE_FILE": "/nowhere"}

    assert (
        load_credentials("okx", Mode.LIVE, Environment(OKX | locked))["api_key"].reveal()
        == (OKX["OKX_API_KEY"])
    )
    with pytest.raises(SettingsError, match="OKX_PASSPHRASE"):
        load_credentials("okx", Mode.LIVE, Environment(OKX | keystore | {"OKX_PASSPHRASE": ""}))


def test_paper_leaves_the_keystore_shut(keystore: dict[str, str]) -> None:
    """As it leaves the variables unread."""
    environment = Environment({**keystore, "PERPBOT_KEYSTORE_PASSPHRASE_FILE": "/nowhere"})

    assert not load_credentials("okx", Mode.PAPER, environment)


@pytest.mark.parametrize(
    ("venue", "changes", "said"),
    [
        ("binance", {}, "lacks api_secret and has unknown colour: perpbot keys rotate binance"),
        ("okx", {"PERPBOT_KEYSTORE_PASSPHRASE_FILE": "/nowhere"}, "/nowhere cannot be read"),
        ("okx", {"PERPBOT_KEYSTORE_PASSPHRASE_FILE": ""}, "nobody is there to ask"),
    ],
    ids=["other fields", "no passphrase file", "nobody there"],
)
def test_a_keystore_that_does_not_serve_says_why(
    keystore: dict[str, str], venue: str, changes: dict[str, str], said: str
) -> None:
    """And what to do; a venue is not silently read-only for it."""
    environment = Environment(keystore | changes)

    for _ in range(2):
        with pytest.raises(SettingsError, match=said):
            load_credentials(venue, Mode.LIVE, environment)


@pytest.mark.parametrize("place", ["off", "/nowhere/keystore"])
def test_without_a_keystore_a_venue_is_read_only(place: str) -> None:
    """Nobody is asked for a passphrase of nothing."""
    assert not load_credentials("okx", Mode.LIVE, Environment({"PERPBOT_KEYSTORE": place}))
