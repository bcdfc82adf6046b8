"""The keystore: the keys of all venues in one encrypted file.

A file of mode 0600 in a directory of mode 0700, outside any working copy. `read_keys` and
`write_keys` are the only ways in and out. What it protects: keys at rest, in backups and on lost
disks. What it does not: a machine that somebody else controls while a node runs on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from perpbot.domain.errors import ConfigError
from perpbot.settings.private_files import (
    private_directory,
    read_private,
    sole_writer,
    write_private,
)
from perpbot.settings.sealing import Cost, SealBroken, WrongPassphrase, seal, unseal
from perpbot.settings.secret import Secret

KEYSTORE_BYTES_MAX = 1 << 20
PASSPHRASE_LENGTH_MIN = 12
FINGERPRINT_DIGITS = 16

Name = tuple[str, str]
"""Venue and account; the account "" is the one that needs no name."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The credentials of one account of one venue, by the names of their fields."""

    venue: str
    account: str
    created_ns: int
    fields: Mapping[str, Secret] = field(repr=False)

    @property
    def name(self) -> Name:
        """What it is found by."""
        return self.venue, self.account

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart and gives none away: a hash over everything in it."""
        parts = [self.venue, self.account]
        for name in sorted(self.fields):
            parts += [name, self.fields[name].reveal()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:FINGERPRINT_DIGITS]


class KeyRing(Mapping[Name, StoredKey]):
    """All keys of one keystore. Never changed: `including` and `without` return another."""

    def __init__(self, keys: Mapping[Name, StoredKey] | None = None) -> None:
        self._keys = dict(sorted((keys or {}).items()))

    def __getitem__(self, name: Name) -> StoredKey:
        return self._keys[name]

    def __iter__(self) -> Iterator[Name]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({list(self._keys)})"

    def including(self, key: StoredKey) -> KeyRing:
        """Return the ring with `key`, in place of one of the same name."""
        return KeyRing({**self._keys, key.name: key})

    def without(self, name: Name) -> KeyRing:
        """Return the ring without a key. Raises KeyError."""
        rest = dict(self._keys)
        del rest[name]
        return KeyRing(rest)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    venue: str
    account: str
    created_ns: int
    fields: dict[str, str]

    __repr__ = object.__repr__


def read_keys(path: Path, passphrase: Secret) -> KeyRing:
    """Open a keystore.

    Raises `ConfigError`: none there, not private, wrong passphrase, changed; the text says what to
    do.
    """
    private_directory(path.parent)
    try:
        data = read_private(path, limit=KEYSTORE_BYTES_MAX)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no keystore at {path}: perpbot keys add VENUE makes one"
        ) from None
    try:
        entries = msgspec.json.decode(unseal(data, passphrase), type=list[_Entry])
    except (SealBroken, WrongPassphrase) as error:
        raise type(error)(f"keystore {path}: {error}") from None
    except msgspec.DecodeError:
        raise SealBroken(f"keystore {path}: its content is of another version") from None
    keys = (
        StoredKey(
            entry.venue,
            entry.account,
            entry.created_ns,
            {name: Secret(text) for name, text in entry.fields.items()},
        )
        for entry in entries
    )
    return KeyRing({key.name: key for key in keys})


def write_keys(path: Path, passphrase: Secret, ring: KeyRing, cost: Cost | None = None) -> None:
    """Put a keystore in place of the old one in one step. Raises `ConfigError`, OSError."""
    if len(passphrase.reveal()) < PASSPHRASE_LENGTH_MIN:
        raise ConfigError(
            f"the passphrase was shorter than {PASSPHRASE_LENGTH_MIN} characters: several words"
            " that belong to no text are easy to keep and hard to guess"
        )
    _demand_outside_of_repositories(path)
    private_directory(path.parent)
    entries = [
        _Entry(
            key.venue,
            key.account,
            key.created_ns,
            {name: secret.reveal() for name, secret in key.fields.items()},
        )
        for key in ring.values()
    ]
    write_private(path, seal(msgspec.json.encode(entries), passphrase, cost))


def change_keys(
    path: Path,
    passphrase: Secret,
    change: Callable[[KeyRing], KeyRing],
    *,
    new_passphrase: Secret | None = None,
    cost: Cost | None = None,
) -> KeyRing:
    """Read, change and write while nobody else does; an absent keystore counts as empty.

    Returns the ring as written. Raises as `read_keys`, `write_keys` and `change` do; then the file
    is what it was.
    """
    _demand_outside_of_repositories(path)
    private_directory(path.parent)
    with sole_writer(path):
        ring = change(read_keys(path, passphrase) if path.exists() else KeyRing())
        write_keys(path, new_passphrase or passphrase, ring, cost)
    return ring


def _demand_outside_of_repositories(path: Path) -> None:
    for directory in path.absolute().parents:
        if (directory / ".git").exists():
            raise ConfigError(
                f"{path} lies in the working copy {directory}: a keystore there is committed"
                " sooner or later; set PERPBOT_KEYSTORE to a place outside"
            )
