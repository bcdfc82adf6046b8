"""`perpbot keys`: the venues' keys in one encrypted file.

Secrets come from a prompt without echo or from standard input, never from arguments: those stand
in the list of processes and in the history of the shell.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from perpbot.cli.keyinput import ask, ask_twice, confirm, nobody, read_key
from perpbot.cli.output import Exit, emit, fail, say, show
from perpbot.cli.place import dotenv
from perpbot.domain.errors import ConfigError
from perpbot.settings import (
    VENUE_CREDENTIALS,
    Environment,
    KeyRing,
    Secret,
    SettingsError,
    StoredKey,
    change_keys,
    fields_of,
    find_passphrase,
    given_variables,
    keystore_path,
    passphrase_of_file,
    read_environment,
    read_keys,
)

_LABELS = "letters, digits, - and _"


@dataclass(frozen=True, slots=True)
class Opener:
    """Which keystore, and what opens it."""

    keystore: Path | None = None
    passphrase_file: Path | None = None

    @property
    def environment(self) -> Environment:
        """The variables of the process and of `.env`."""
        environment, problems = read_environment(os.environ, dotenv())
        if problems:
            raise SettingsError(problems)
        return environment

    @property
    def path(self) -> Path:
        """Where the keystore is or would be. Raises `ConfigError` where it is turned off."""
        path = self.keystore or keystore_path(self.environment)
        if path is None:
            raise ConfigError("PERPBOT_KEYSTORE is off: unset it, or give --keystore")
        return path

    def passphrase(self, *, new: bool = False) -> Secret:
        """Return what opens it; a new one is asked for twice."""
        return find_passphrase(
            self.environment,
            file=self.passphrase_file,
            question="New passphrase of the keystore: " if new else "Passphrase of the keystore: ",
            ask=ask_twice if new else ask,
        )


def run_add(venue: str, account: str, opener: Opener, *, from_stdin: bool, as_json: bool) -> int:
    """Add a key; refuse one that is there already."""
    check_name(venue, account)
    path = opener.path
    passphrase = opener.passphrase(new=not path.exists())
    if path.exists() and (venue, account) in read_keys(path, passphrase):
        _there_already(venue, account)
    key = read_key(venue, account, from_stdin=from_stdin)

    def change(ring: KeyRing) -> KeyRing:
        if key.name in ring:
            _there_already(venue, account)
        return ring.including(key)

    change_keys(path, passphrase, change)
    for variable in _in_the_way(opener.environment, venue, account):
        say(f"{variable} is set as well: variables win over the keystore")
    return _done("added", key, path, as_json=as_json)


def run_list(opener: Opener, *, as_json: bool) -> int:
    """List the keys: what they are for, fingerprint and age, no secret."""
    path = opener.path
    ring = read_keys(path, opener.passphrase())
    rows = [_row(key) for key in ring.values()]
    if as_json:
        emit({"keystore": str(path), "keys": rows})
    elif not rows:
        show(f"{path} holds no keys")
    else:
        show(f"{'venue':<12} {'account':<12} {'fingerprint':<16} created")
        for row in rows:
            show(
                f"{row['venue']:<12} {row['account'] or '-':<12} {row['fingerprint']:<16}"
                f" {row['created']}"
            )
    return Exit.OK


def run_remove(venue: str, account: str, opener: Opener, *, yes: bool, as_json: bool) -> int:
    """Take a key out of the keystore."""
    path = opener.path
    passphrase = opener.passphrase()
    key = _demand(read_keys(path, passphrase), venue, account)
    if not yes:
        confirm(f"Remove the key {key.fingerprint} of {label(venue, account)}?")

    def change(ring: KeyRing) -> KeyRing:
        return ring.without(_demand(ring, venue, account).name)  # it may be gone meanwhile

    change_keys(path, passphrase, change)
    return _done("removed", key, path, as_json=as_json)


def run_rotate(
    venue: str | None,
    account: str,
    opener: Opener,
    *,
    new_passphrase_file: Path | None,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """Replace the key of a venue, or, without a venue, the passphrase of everything."""
    path = opener.path
    passphrase = opener.passphrase()
    ring = read_keys(path, passphrase)
    if venue is None:
        if from_stdin:
            fail("--stdin takes a key: name its VENUE", Exit.USAGE)
        fresh = (
            passphrase_of_file(new_passphrase_file)
            if new_passphrase_file
            else Secret(ask_twice("New passphrase of the keystore: ") or nobody("passphrase"))
        )
        if fresh == passphrase:
            raise ConfigError("the new passphrase is the old one: nothing was changed")
        change_keys(path, passphrase, lambda ring: ring, new_passphrase=fresh)
        if as_json:
            emit({"keystore": str(path), "did": "sealed anew", "keys": len(ring)})
        else:
            show(f"{path}: {len(ring)} keys sealed with the new passphrase; the old one still"
                 " opens old copies of the file")  # fmt: skip
        return Exit.OK
    if new_passphrase_file is not None:
        fail("--new-passphrase-file goes without a VENUE", Exit.USAGE)
    old = _demand(ring, venue, account)
    key = read_key(venue, account, from_stdin=from_stdin)
    if key.fingerprint == old.fingerprint:
        raise ConfigError("the new key is the old one: nothing was changed")

    def change(ring: KeyRing) -> KeyRing:
        _demand(ring, venue, account)  # what was removed meanwhile stays so
        return ring.including(key)

    change_keys(path, passphrase, change)
    if not as_json:
        say(f"delete the old key {old.fingerprint} at {venue}: it works there until you do")
    return _done("replaced", key, path, as_json=as_json)


def _in_the_way(environment: Environment, venue: str, account: str) -> list[str]:
    """Return the variables that keep a stored key from being used."""
    return [
        variable.name
        for field in fields_of(venue, account)
        for variable in given_variables(field, environment)
    ]


# --- names and answers ---


def check_name(venue: str, account: str) -> None:
    """End for a venue that does not exist or a label that cannot be one."""
    if venue not in VENUE_CREDENTIALS:
        known = ", ".join(VENUE_CREDENTIALS)
        fail(f"venue was {venue[:40]!r}, one of {known} was expected", Exit.USAGE)
    if account and not account.replace("-", "").replace("_", "").isalnum():
        fail(f"--account was {account[:40]!r}: {_LABELS} were expected", Exit.USAGE)


def _demand(ring: KeyRing, venue: str, account: str) -> StoredKey:
    check_name(venue, account)
    key = ring.get((venue, account))
    if key is None:
        fail(f"there is no key of {label(venue, account)}: see perpbot keys list", Exit.USAGE)
    return key


def _there_already(venue: str, account: str) -> NoReturn:
    raise ConfigError(
        f"there is a key of {label(venue, account)} already: perpbot keys rotate {venue} puts"
        " another in its place"
    )


def label(venue: str, account: str) -> str:
    """Return venue and account as people say them."""
    return f"{venue}, account {account}" if account else venue


def _row(key: StoredKey) -> dict[str, Any]:
    created = datetime.fromtimestamp(key.created_ns // 1_000_000_000, UTC)
    return {
        "venue": key.venue,
        "account": key.account,
        "fingerprint": key.fingerprint,
        "created": created.isoformat().replace("+00:00", "Z"),
        "fields": sorted(key.fields),
    }


def _done(did: str, key: StoredKey, path: Path, *, as_json: bool) -> int:
    if as_json:
        emit({"keystore": str(path), "did": did, "key": _row(key)})
    else:
        show(f"{did} key {key.fingerprint} of {label(key.venue, key.account)} in {path}")
    return Exit.OK
