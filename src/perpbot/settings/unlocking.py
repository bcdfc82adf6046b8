"""Where the keystore is, what opens it, and when it is opened: once, and only if it is needed."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from perpbot.domain.errors import ConfigError
from perpbot.settings.keystore import KeyRing, StoredKey, read_keys
from perpbot.settings.private_files import read_private
from perpbot.settings.secret import Secret

KEYSTORE_VARIABLE = "PERPBOT_KEYSTORE"
PASSPHRASE_FILE_VARIABLE = "PERPBOT_KEYSTORE_PASSPHRASE_FILE"  # noqa: S105  # nosec B105
SYSTEMD_CREDENTIAL = "perpbot-keystore"
"""Name of the credential in a unit: `LoadCredentialEncrypted=perpbot-keystore:...`."""
OFF = "off"

Ask = Callable[[str], str | None]
"""Asks a person; None where nobody is there."""


class _Text(Protocol):
    @property
    def text(self) -> str: ...


class Lookup(Protocol):
    """Variables by name."""

    def get(self, name: str, /) -> _Text | None:
        """Return the variable, or None."""


def keystore_path(variables: Lookup, home: Path | None = None) -> Path | None:
    """Return where the keystore is or would be; None where it is turned off."""
    named = variables.get(KEYSTORE_VARIABLE)
    if named is not None:
        text = named.text.strip()
        return None if text.lower() == OFF else Path(text).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # The standard says that a relative path there counts for nothing.
    base = Path(data) if Path(data).is_absolute() else (home or Path.home()) / ".local" / "share"
    return base / "perpbot" / "keystore"


def ask_on_terminal(question: str) -> str | None:
    """Ask without echo; None where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return getpass.getpass(question, stream=sys.stderr)


def passphrase_of_file(path: Path) -> Secret:
    """Return the first line of a private file. Raises `ConfigError`."""
    try:
        text = read_private(path, follow=True, own=False).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"passphrase file {path} cannot be read: {reason}") from None
    line = text.splitlines()[0] if text else ""
    if not line:
        raise ConfigError(f"passphrase file {path} is empty")
    return Secret(line)


def find_passphrase(
    variables: Lookup,
    *,
    file: Path | None = None,
    process: Mapping[str, str] = os.environ,
    ask: Ask = ask_on_terminal,
    question: str = "Passphrase of the keystore: ",
) -> Secret:
    """Return the passphrase: of `file`, the variable's file, systemd, or from a person.

    Raises `ConfigError` with all three ways where there is none.
    """
    named = variables.get(PASSPHRASE_FILE_VARIABLE)
    if file is None and named is not None:
        file = Path(named.text.strip()).expanduser()
    handed_in = process.get("CREDENTIALS_DIRECTORY", "")
    if file is None and handed_in and (Path(handed_in) / SYSTEMD_CREDENTIAL).exists():
        file = Path(handed_in) / SYSTEMD_CREDENTIAL
    if file is not None:
        return passphrase_of_file(file)
    typed = ask(question)
    if not typed:
        raise ConfigError(
            "the keystore is locked and nobody is there to ask: name a private file that holds the"
            f" passphrase in {PASSPHRASE_FILE_VARIABLE} (or --passphrase-file), or give systemd"
            f" the credential {SYSTEMD_CREDENTIAL}"
        )
    return Secret(typed)


class LazyKeystore:
    """A keystore that is opened when the first key is asked for, and then never again."""

    def __init__(
        self,
        variables: Lookup,
        ask: Ask = ask_on_terminal,
        *,
        path: Path | None = None,
        passphrase_file: Path | None = None,
    ) -> None:
        """`path` and `passphrase_file` win over what the variables say."""
        self._variables = variables
        self._ask = ask
        self._named = path
        self._passphrase_file = passphrase_file
        self._ring: KeyRing | None = None
        self._refusal: ConfigError | None = None

    def _passphrase(self) -> Secret:
        return find_passphrase(self._variables, file=self._passphrase_file, ask=self._ask)

    @property
    def path(self) -> Path | None:
        """Where it is; None where it is turned off."""
        return self._named or keystore_path(self._variables)

    def find(self, venue: str, account: str) -> StoredKey | None:
        """Return a key, or None. Raises `ConfigError` where the keystore does not open."""
        path = self.path
        if path is None or not os.path.lexists(path):
            return None
        if self._refusal is not None:
            raise self._refusal  # nobody is asked again for each venue
        if self._ring is None:
            try:
                self._ring = read_keys(path, self._passphrase())
            except ConfigError as error:
                self._refusal = error
                raise
        return self._ring.get((venue, account))
