"""The encrypted file of keys: what opens it, what does not, what it gives away."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpbot.domain.errors import ConfigError
from perpbot.settings import Secret, sealing
from perpbot.settings.keystore import KeyRing, StoredKey, change_keys, read_keys, write_keys
from perpbot.settings.private_files import NotPrivate
from perpbot.settings.sealing import Cost, SealBroken, WrongPassphrase, seal, unseal

CHEAP = Cost(log2_n=14)
PASSPHRASE = Secret("several words of mine")
KEY = StoredKey("okx", "", 1_790_000_000_000_000_000, {"api_key": Secret("canary-key-value")})
OTHER = StoredKey("binance", "sub1", 2, {"api_key": Secret("other-key")})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keystore with two keys."""
    place = tmp_path / "perpbot" / "keystore"
    ring = KeyRing().including(KEY).including(OTHER)
    change_keys(place, PASSPHRASE, lambda _: ring, cost=CHEAP)
    return place


def test_what_went_in_comes_out(path: Path) -> None:
    """By venue and account, in order."""
    ring = read_keys(path, PASSPHRASE)

    assert list(ring) == [("binance", "sub1"), ("okx", "")]
    assert ring["okx", ""].fields["api_key"].reveal() == "canary-key-value"
    assert ring["okx", ""].created_ns == KEY.created_ns


def test_file_and_directory_are_private(path: Path) -> None:
    """0600 in 0700, and nothing else lies about but the lock."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {entry.name for entry in path.parent.iterdir()} == {"keystore", "keystore.lock"}


def test_the_file_gives_nothing_away(path: Path) -> None:
    """Neither keys nor venues, only what it takes to open it."""
    data = path.read_bytes()

    assert b"canary" not in data
    assert b"okx" not in data
    assert set(json.loads(data.split(b"\n")[0])) == {
        "format", "version", "kdf", "cost", "salt", "cipher", "nonce",
    }  # fmt: skip


def test_the_default_cost_is_high() -> None:
    """128 MB for each guess."""
    standard = sealing.STANDARD
    assert (standard.log2_n, standard.r, standard.p) == (17, 8, 1)


def test_another_passphrase_does_not_open(path: Path) -> None:
    """And it is called what it is."""
    with pytest.raises(WrongPassphrase, match=f"keystore {path}: the passphrase is wrong"):
        read_keys(path, Secret("several words of yours"))


def test_one_passphrase_of_two_keyboards_opens() -> None:
    """A letter with an accent, written as one sign or as two."""
    sealed = seal(b"text", Secret("caf\u00e9 au lait"), CHEAP)

    assert unseal(sealed, Secret("cafe\u0301 au lait")) == b"text"


def test_every_changed_byte_is_noticed(path: Path) -> None:
    """In head, check and text: nothing of a changed file is believed."""
    data = path.read_bytes()
    # Every place of the head costs a derivation where it still parses: take some of each part.
    head = data.index(b"\n")
    places = [*range(0, head, 12), *range(head, head + 66, 9), *range(head + 66, len(data), 11)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises((SealBroken, WrongPassphrase)):
            read_keys(path, PASSPHRASE)


def test_a_changed_text_is_told_from_a_wrong_passphrase(path: Path) -> None:
    """The check is right, so the passphrase was: somebody changed the file."""
    line, check, text, _ = path.read_bytes().split(b"\n")
    other = b"B" if text.startswith(b"A") else b"A"
    path.write_bytes(b"\n".join([line, check, other + text[1:], b""]))

    with pytest.raises(SealBroken, match="trust nothing in it"):
        read_keys(path, PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kdf": "none"},
        {"cipher": "aes-128-ecb"},
        {"cost": {"log2_n": 1, "r": 8, "p": 1}},
        {"cost": {"log2_n": 40, "r": 8, "p": 1}},
        {"cost": {"log2_n": 14, "r": 1 << 20, "p": 1}},
        {"cost": {"log2_n": 14, "r": 8, "p": 1 << 20}},
        {"salt": ""},
        {"nonce": "zz"},
        {"more": 1},
    ],
    ids=["version", "kdf", "cipher", "cheap", "dear", "wide", "parallel", "salt", "nonce", "key"],
)
def test_a_head_with_other_parameters_is_refused(path: Path, change: dict[str, object]) -> None:
    """Before anything is computed with them."""
    line, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps(json.loads(line) | change).encode() + b"\n" + rest)

    with pytest.raises(SealBroken):
        read_keys(path, PASSPHRASE)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_rubbish_is_refused(data: bytes) -> None:
    """With our own error, whatever it is."""
    with pytest.raises((SealBroken, WrongPassphrase)):
        unseal(data, PASSPHRASE)


def test_salt_and_nonce_are_new_each_time() -> None:
    """One nonce twice under one key would give the text away."""
    heads = [json.loads(seal(b"x", PASSPHRASE, CHEAP).split(b"\n")[0]) for _ in range(3)]

    assert len({head["salt"] for head in heads}) == len({head["nonce"] for head in heads}) == 3


def test_content_of_another_version_is_refused(path: Path) -> None:
    """Even under the right seal."""
    path.write_bytes(seal(b'[{"venue": "okx"}]', PASSPHRASE, CHEAP))

    with pytest.raises(SealBroken, match="another version"):
        read_keys(path, PASSPHRASE)


@pytest.mark.parametrize(("of", "mode"), [("file", 0o644), ("directory", 0o755)])
def test_a_keystore_that_others_can_read_is_refused(path: Path, of: str, mode: int) -> None:
    """Sealed or not: somebody put it where it should not be."""
    (path if of == "file" else path.parent).chmod(mode)

    with pytest.raises(NotPrivate, match="chmod"):
        read_keys(path, PASSPHRASE)
    with pytest.raises(NotPrivate, match="chmod"):
        change_keys(path, PASSPHRASE, lambda ring: ring)


def test_a_link_is_refused(path: Path) -> None:
    """Neither read nor replaced through."""
    link = path.with_name("link")
    link.symlink_to(path)

    with pytest.raises(NotPrivate, match="symbolic link"):
        read_keys(link, PASSPHRASE)


def test_a_missing_keystore_says_how_to_make_one(tmp_path: Path) -> None:
    """By `perpbot keys add`."""
    with pytest.raises(ConfigError, match="perpbot keys add"):
        read_keys(tmp_path / "perpbot" / "none", PASSPHRASE)


def test_a_keystore_in_a_working_copy_is_refused(tmp_path: Path) -> None:
    """It would be committed sooner or later."""
    (tmp_path / ".git").mkdir()

    with pytest.raises(ConfigError, match="working copy"):
        change_keys(tmp_path / "deep" / "keystore", PASSPHRASE, lambda ring: ring)
    with pytest.raises(ConfigError, match="working copy"):
        write_keys(tmp_path / "deep" / "keystore", PASSPHRASE, KeyRing())
    assert not (tmp_path / "deep").exists()


def test_a_short_passphrase_is_refused(path: Path) -> None:
    """And the old keystore stays."""
    with pytest.raises(ConfigError, match="shorter than 12"):
        change_keys(path, PASSPHRASE, lambda ring: ring, new_passphrase=Secret("short"))

    assert len(read_keys(path, PASSPHRASE)) == 2


def test_a_failed_change_changes_nothing(path: Path) -> None:
    """Not a byte."""
    before = path.read_bytes()

    with pytest.raises(KeyError):
        change_keys(path, PASSPHRASE, lambda ring: ring.without(("okx", "none")))

    assert path.read_bytes() == before


def test_a_new_passphrase_shuts_the_old_one_out(path: Path) -> None:
    """Everything is sealed anew."""
    fresh = Secret("other words of mine")
    change_keys(path, PASSPHRASE, lambda ring: ring, new_passphrase=fresh, cost=CHEAP)

    assert len(read_keys(path, fresh)) == 2
    with pytest.raises(WrongPassphrase):
        read_keys(path, PASSPHRASE)


def test_fingerprints_tell_keys_apart_and_give_none_away() -> None:
    """Each part counts."""
    fields = {"api_key": Secret("canary-key-value")}
    prints = {
        KEY.fingerprint,
        StoredKey("okx", "a", 1, fields).fingerprint,
        StoredKey("binance", "", 1, fields).fingerprint,
        StoredKey("okx", "", 1, {"api_key": Secret("other")}).fingerprint,
        StoredKey("okx", "", 1, {"api_secret": fields["api_key"]}).fingerprint,
    }

    assert len(prints) == 5
    assert StoredKey("okx", "", 9, fields).fingerprint == KEY.fingerprint


def test_keys_do_not_show_themselves() -> None:
    """Neither ring nor key, in text or pickled."""
    ring = KeyRing().including(KEY)

    assert "canary" not in f"{ring!r}{ring}{KEY!r}{KEY.fields}"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
