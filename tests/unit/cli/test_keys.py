"""`perpbot keys` in process: what it keeps, what it shows, what it refuses."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.cli import keyinput, keytest
from perpbot.cli import keys as keys_module
from perpbot.cli.main import app
from perpbot.settings import Secret, StoredKey, change_keys, read_keys
from perpbot.settings.sealing import Cost

WORDS = "several words of mine"
CANARIES = {
    "api_key": "canary-key-0123456789",
    "api_secret": "canary-secret-0123456789",
    "passphrase": "canary-phrase 0123456789",
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, a data directory and a passphrase; nobody at a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PERPBOT_KEYSTORE_PASSPHRASE_FILE", str(private(tmp_path / "words", WORDS)))
    monkeypatch.setattr("perpbot.settings.sealing.STANDARD", Cost(log2_n=14))
    monkeypatch.setattr(keyinput, "has_terminal", lambda: False)
    return tmp_path


@pytest.fixture
def store(place: Path) -> Path:
    """Where the keystore is."""
    return place / "data" / "perpbot" / "keystore"


def private(path: Path, text: str) -> Path:
    """Write a private file."""
    path.write_text(text)
    path.chmod(0o600)
    return path


def perpbot_keys(*arguments: str, given: object = None) -> Result:
    """Run `perpbot keys`; `given` comes as JSON on standard input."""
    text = given if isinstance(given, str) else json.dumps(given)
    result = CliRunner().invoke(app, ["keys", *arguments], input=text)
    assert "canary" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def data(result: Result) -> Any:
    """Return what was printed as JSON."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def add(venue: str = "okx", *more: str, given: object = None) -> Any:
    """Add a key."""
    return data(perpbot_keys("add", venue, "--stdin", "--json", *more, given=given or CANARIES))


def test_a_key_goes_in_is_listed_and_goes_out(store: Path) -> None:
    """With fingerprint and date, without a secret."""
    added = add()
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert b"canary" not in store.read_bytes()
    assert (
        read_keys(store, Secret(WORDS))["okx", ""].fields["api_key"].reveal()
        == (CANARIES["api_key"])
    )

    listed = data(perpbot_keys("list", "--json"))
    assert listed["keystore"] == str(store)
    assert listed["keys"] == [added["key"]]
    assert set(added["key"]) == {"venue", "account", "fingerprint", "created", "fields"}
    text = perpbot_keys("list").stdout
    assert added["key"]["fingerprint"] in text
    assert added["key"]["created"] in text

    removed = data(perpbot_keys("remove", "okx", "--yes", "--json"))
    assert removed["did"] == "removed"
    assert "holds no keys" in perpbot_keys("list").stdout


def test_two_accounts_of_one_venue_live_side_by_side() -> None:
    """Each under its label."""
    add()
    add("okx", "--account", "sub1")

    rows = data(perpbot_keys("list", "--json"))["keys"]

    assert [(row["venue"], row["account"]) for row in rows] == [("okx", ""), ("okx", "sub1")]
    assert rows[0]["fingerprint"] != rows[1]["fingerprint"]
    assert "account sub1" in perpbot_keys("remove", "okx", "--account", "sub1", "--yes").stdout


def test_a_key_is_not_overwritten_by_adding(store: Path) -> None:
    """Rotating does that."""
    add()
    before = store.read_bytes()

    result = perpbot_keys("add", "okx", "--stdin", given=CANARIES)

    assert result.exit_code == 4
    assert "perpbot keys rotate okx" in result.stderr
    assert store.read_bytes() == before


def test_rotating_a_venue_replaces_its_key() -> None:
    """The old fingerprint is named: at the venue that key lives on."""
    old = add()["key"]["fingerprint"]
    fresh = {**CANARIES, "api_secret": "canary-other-0123456789"}

    result = perpbot_keys("rotate", "okx", "--stdin", given=fresh)

    assert result.exit_code == 0
    assert f"delete the old key {old} at okx" in result.stderr
    assert data(perpbot_keys("list", "--json"))["keys"][0]["fingerprint"] != old
    same = perpbot_keys("rotate", "okx", "--stdin", given=fresh)
    assert same.exit_code == 4
    assert "nothing was changed" in same.stderr


def test_rotating_the_passphrase_seals_everything_anew(place: Path, store: Path) -> None:
    """The old one opens nothing any more."""
    add()
    fresh = str(private(place / "fresh", "entirely other words"))

    rotated = data(perpbot_keys("rotate", "--new-passphrase-file", fresh, "--json"))

    assert rotated == {"keystore": str(store), "did": "sealed anew", "keys": 1}
    old = perpbot_keys("list")
    assert old.exit_code == 4
    assert "the passphrase is wrong" in old.stderr
    assert data(perpbot_keys("list", "--passphrase-file", fresh, "--json"))["keys"]
    again = perpbot_keys("rotate", "--passphrase-file", fresh, "--new-passphrase-file", fresh)
    assert again.exit_code == 4
    assert "is the old one" in again.stderr
    text = perpbot_keys(
        "rotate", "--passphrase-file", fresh, "--new-passphrase-file", str(place / "words")
    )
    assert "old copies" in text.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("not json", "what came was none"),
        ([], "what came was none"),
        ("x" * 70_000, "what came was none"),
        ({**CANARIES, "more": "x"}, "another name"),
        ({**CANARIES, "api_key": 5}, "api_key was no text"),
        ({**CANARIES, "api_key": " "}, "api_key was no text"),
        ({**CANARIES, "api_key": "canary key"}, "api_key has a space"),
        ({**CANARIES, "api_secret": "canary\x00"}, "api_secret has a space or a control"),
        ({"api_key": "canary"}, "okx api_secret is missing"),
    ],
    ids=["text", "list", "huge", "unknown", "number", "blank", "space", "control", "missing"],
)
def test_bad_input_is_refused_without_being_repeated(
    store: Path, given: object, said: str
) -> None:
    """And no keystore is made."""
    result = perpbot_keys("add", "okx", "--stdin", given=given)

    assert result.exit_code == 4
    assert said in result.stderr
    assert not store.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "nasdaq", "--stdin"), 2, "one of binance"),
        (("add", "okx", "--account", "a b", "--stdin"), 2, "letters, digits"),
        (("list",), 4, "perpbot keys add"),
        (("remove", "okx", "--yes"), 4, "no keystore"),
        (("rotate", "--stdin"), 4, "no keystore"),
        (("list", "--passphrase-file", "nowhere"), 4, "cannot be read"),
    ],
    ids=["venue", "account", "list", "remove", "rotate", "passphrase file"],
)
def test_wrong_arguments_say_what_would_be_right(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    """With the exit code of their kind."""
    result = perpbot_keys(*arguments, given=CANARIES)

    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("remove", "binance", "--yes"), 2, "no key of binance"),
        (("rotate", "binance", "--stdin"), 2, "no key of binance"),
        (("remove", "okx"), 2, "Say so with --yes"),
        (("rotate", "--stdin"), 2, "name its VENUE"),
        (("rotate", "okx", "--new-passphrase-file", "words"), 2, "goes without a VENUE"),
        (("rotate",), 4, "nobody is there"),
        (("rotate", "okx"), 4, "api_key is missing"),
    ],
    ids=["remove", "rotate", "unconfirmed", "stdin", "both", "no new words", "nobody to ask"],
)
def test_a_keystore_is_not_changed_by_mistake(
    store: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """Byte for byte."""
    add()
    before = store.read_bytes()

    result = perpbot_keys(*arguments, given=CANARIES)

    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert store.read_bytes() == before


def test_a_keystore_may_be_elsewhere_or_off(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By flag, by variable; `off` needs the flag."""
    elsewhere = place / "more" / "keys"
    add("okx", "--keystore", str(elsewhere))
    assert elsewhere.exists()
    monkeypatch.setenv("PERPBOT_KEYSTORE", "off")
    off = perpbot_keys("list")
    assert off.exit_code == 4
    assert "--keystore" in off.stderr
    assert data(perpbot_keys("list", "--keystore", str(elsewhere), "--json"))["keys"]


class Person:
    """Somebody at a terminal who answers what is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hidden: str, shown: str = "") -> None:
        self.asked: list[str] = []
        self._hidden: Iterator[str] = iter(hidden)
        monkeypatch.setattr(keyinput, "has_terminal", lambda: True)
        monkeypatch.setattr("getpass.getpass", self.ask)
        monkeypatch.delenv("PERPBOT_KEYSTORE_PASSPHRASE_FILE")
        if shown:
            monkeypatch.setattr(keyinput, "ask_openly", lambda _: shown)

    def ask(self, question: str, stream: object = None) -> str:
        """Answer without echo."""
        self.asked.append(question)
        return next(self._hidden)


def test_a_person_is_asked_for_everything(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """A new passphrase twice, each secret once, without echo."""
    person = Person(monkeypatch, WORDS, WORDS, *CANARIES.values())

    assert perpbot_keys("add", "okx").exit_code == 0

    assert len(person.asked) == 5
    assert (
        read_keys(store, Secret(WORDS))["okx", ""].fields["passphrase"].reveal()
        == (CANARIES["passphrase"])
    )


def test_an_address_is_typed_in_the_open(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """It is no secret, and a person wants to see it."""
    Person(monkeypatch, WORDS, WORDS, "canary0123", shown="0xaddress\n")

    assert perpbot_keys("add", "hyperliquid").exit_code == 0

    found = read_keys(store, Secret(WORDS))["hyperliquid", ""].fields
    assert found["account_address"].reveal() == "0xaddress"


def test_two_passphrases_that_differ_make_nothing(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    """A slip of the finger would lock everything away."""
    Person(monkeypatch, WORDS, WORDS + "x")

    result = perpbot_keys("add", "okx")

    assert result.exit_code == 4
    assert "differ" in result.stderr
    assert not store.exists()


def test_a_new_passphrase_may_be_typed(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """Twice as well."""
    add()
    fresh = "entirely other words"
    Person(monkeypatch, WORDS, fresh, fresh)

    assert perpbot_keys("rotate").exit_code == 0
    assert read_keys(store, Secret(fresh))


def test_removing_is_confirmed_by_a_person(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """Anything but yes keeps the key."""
    add()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, left in (("no", 1), ("y", 0)):
        monkeypatch.setattr(keyinput, "ask_openly", lambda _, answer=answer: answer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("perpbot.cli.keys.confirm", confirm_as_on_a_terminal(patch))
            result = perpbot_keys("remove", "okx")
        assert result.exit_code == left
        assert len(read_keys(store, Secret(WORDS))) == left


def confirm_as_on_a_terminal(patch: pytest.MonkeyPatch) -> Any:
    """Return the real confirmation, with standard input a terminal."""
    real = keyinput.confirm

    def confirm(question: str) -> None:
        patch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        real(question)

    return confirm


def test_a_terminal_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its device, since standard input may be a pipe."""
    monkeypatch.undo()

    def refuse(path: str, flags: int) -> int:
        raise OSError(6, "No such device")

    monkeypatch.setattr(os, "open", refuse)
    assert not keyinput.has_terminal()
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(os, "open", lambda *_: writing)
    assert keyinput.has_terminal()


class Typed(io.StringIO):
    """A terminal at which something was typed."""

    def isatty(self) -> bool:
        return True


def test_what_is_typed_in_the_open_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The question goes to standard error: standard output is for data."""
    monkeypatch.setattr("sys.stdin", Typed("0xabc\n"))

    assert keyinput.ask_openly("address: ") == "0xabc\n"
    assert capsys.readouterr() == ("", "address: ")


def test_a_broken_dotenv_is_told(place: Path) -> None:
    """It may name another keystore: nothing is guessed."""
    (place / ".env").write_text("PERPBOT_KEYSTORE\n")

    result = perpbot_keys("list")

    assert result.exit_code == 4
    assert ".env:1" in result.stderr


def test_a_venue_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    """Within the limit, with the exit code of venues."""
    add()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        (place / "config.yaml").write_text(f"venues: {{okx: {{rest_url: '{address}'}}}}\n")
        monkeypatch.setattr(keytest, "TEST_LIMIT_S", 0.05)
        monkeypatch.setattr("perpbot.app.keycheck.LIMIT_S", 0.05)
        result = perpbot_keys("test", "okx", "--json")

    assert result.exit_code == 7
    answer = json.loads(result.stdout)
    assert answer["problem"] == "no answer in 0.05 s"
    assert answer["permissions"] is None
    assert "unknown" in answer["warnings"][0]


def test_a_variable_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the stored key is never used, and nobody knows why."""
    monkeypatch.setenv("OKX_API_KEY", "canary-of-the-shell")

    result = perpbot_keys("add", "okx", "--stdin", given=CANARIES)

    assert result.exit_code == 0
    assert "OKX_API_KEY is set as well: variables win" in result.stderr
    other = perpbot_keys("add", "okx", "--account", "sub1", "--stdin", given=CANARIES)
    assert "variables win" not in other.stderr


def test_a_key_that_somebody_removes_meanwhile_is_gone(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    """Between the question and the answer, and while a new one is being typed."""

    def meanwhile(*_: object, **__: object) -> StoredKey:
        change_keys(store, Secret(WORDS), lambda ring: ring.without(("okx", "")))
        return StoredKey("okx", "", 1, {"api_key": Secret("canary-another")})

    add()
    monkeypatch.setattr(keys_module, "confirm", meanwhile)
    removed = perpbot_keys("remove", "okx")
    add()
    monkeypatch.setattr(keys_module, "read_key", meanwhile)
    rotated = perpbot_keys("rotate", "okx", "--stdin")

    for result in (removed, rotated):
        assert result.exit_code == 2
        assert "there is no key of okx" in result.output
    assert len(read_keys(store, Secret(WORDS))) == 0
