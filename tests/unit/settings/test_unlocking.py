"""Where the keystore is and what opens it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.errors import ConfigError
from perpbot.settings import Environment, Secret
from perpbot.settings.keystore import KeyRing, StoredKey, write_keys
from perpbot.settings.sealing import Cost
from perpbot.settings.unlocking import (
    LazyKeystore,
    ask_on_terminal,
    find_passphrase,
    keystore_path,
    passphrase_of_file,
)


def private(path: Path, text: str) -> Path:
    """Write a private file."""
    path.write_text(text)
    path.chmod(0o600)
    return path


def nobody(question: str) -> None:
    """No terminal is there."""


@pytest.mark.parametrize(
    ("variables", "data_home", "expected"),
    [
        ({}, None, "/home/me/.local/share/perpbot/keystore"),
        ({}, "/data", "/data/perpbot/keystore"),
        ({}, "relative", "/home/me/.local/share/perpbot/keystore"),
        ({"PERPBOT_KEYSTORE": "/elsewhere/keys"}, "/data", "/elsewhere/keys"),
        ({"PERPBOT_KEYSTORE": "off"}, None, None),
    ],
    ids=["home", "data directory", "a relative one counts for nothing", "named", "off"],
)
def test_the_place_of_the_keystore(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    data_home: str | None,
    expected: str | None,
) -> None:
    """As the XDG standard says, or as named."""
    if data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data_home)

    path = keystore_path(Environment(variables), Path("/home/me"))

    assert path == (None if expected is None else Path(expected))


def test_the_passphrase_comes_from_the_first_that_has_one(tmp_path: Path) -> None:
    """The named file, the variable's, systemd's, a person."""
    file = private(tmp_path / "file", "of the flag\nsecond line\n")
    named = private(tmp_path / "named", "of the variable")
    private(tmp_path / "perpbot-keystore", "of systemd")
    variables = Environment({"PERPBOT_KEYSTORE_PASSPHRASE_FILE": str(named)})
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    def find(file: Path | None, variables: Environment, process: dict[str, str]) -> str:
        return find_passphrase(
            variables, file=file, process=process, ask=lambda _: "of a person"
        ).reveal()

    assert find(file, variables, systemd) == "of the flag"
    assert find(None, variables, systemd) == "of the variable"
    assert find(None, Environment(), systemd) == "of systemd"
    assert find(None, Environment(), {"CREDENTIALS_DIRECTORY": "/nowhere"}) == "of a person"


def test_without_any_the_message_has_all_ways() -> None:
    """Variable, flag and systemd."""
    with pytest.raises(ConfigError, match=r"--passphrase-file.*systemd"):
        find_passphrase(Environment(), process={}, ask=nobody)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o600, "cannot be read"),
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"\xff", 0o600, "is not text"),
        (b"words", 0o644, "chmod 600"),
    ],
    ids=["missing", "empty", "an empty line", "binary", "shared"],
)
def test_a_bad_passphrase_file_is_refused(
    tmp_path: Path, content: bytes | None, mode: int, said: str
) -> None:
    """With the reason."""
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)

    with pytest.raises(ConfigError, match=said):
        passphrase_of_file(path)


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service must not hang on a question; on a terminal the answer is not shown."""

    class Terminal:
        def __init__(self, there: bool) -> None:
            self.isatty = lambda: there

    monkeypatch.setattr("getpass.getpass", lambda *_, **__: "typed")
    for there, answer in ((False, None), (True, "typed")):
        monkeypatch.setattr("sys.stdin", Terminal(there))
        monkeypatch.setattr("sys.stderr", Terminal(there))
        assert ask_on_terminal("?") == answer


def test_a_keystore_is_opened_once(tmp_path: Path) -> None:
    """And a person is asked once, whether the answer was right or not."""
    tmp_path.chmod(0o700)
    path = tmp_path / "keystore"
    key = StoredKey("okx", "", 1, {"api_key": Secret("k")})
    write_keys(path, Secret("several words of mine"), KeyRing({key.name: key}), Cost(log2_n=14))
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    variables = Environment({"PERPBOT_KEYSTORE": str(path)})
    answer = "several words of mine"
    store = LazyKeystore(variables, ask)
    assert asked == []
    assert store.find("okx", "") is not None
    assert store.find("binance", "") is None
    assert len(asked) == 1

    answer = "wrong"
    store = LazyKeystore(variables, ask)
    for _ in range(2):
        with pytest.raises(ConfigError, match="passphrase is wrong"):
            store.find("okx", "")
    assert len(asked) == 2
