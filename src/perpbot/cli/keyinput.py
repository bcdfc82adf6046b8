"""Keys and passphrases as people give them: typed without echo, or on standard input."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

from perpbot.cli.output import Exit, fail
from perpbot.domain.errors import ConfigError
from perpbot.settings import (
    VENUE_CREDENTIALS,
    CredentialField,
    Secret,
    StoredKey,
    looks_secret,
)

INPUT_BYTES_MAX = 65_536


def read_key(venue: str, account: str, *, from_stdin: bool) -> StoredKey:
    """Read one key. Raises `ConfigError`; what was typed is never repeated."""
    fields = VENUE_CREDENTIALS[venue]
    given = _from_stdin(fields) if from_stdin else _from_prompts(venue, fields)
    for field in fields:
        if field.required and field.name not in given:
            raise ConfigError(f"{venue} {field.name} is missing: {field.description}")
    return StoredKey(venue, account, time.time_ns(), given)


def _from_prompts(venue: str, fields: tuple[CredentialField, ...]) -> dict[str, Secret]:
    given = {}
    for field in fields:
        optional = "" if field.required else " (optional, Enter leaves it out)"
        question = f"{venue} {field.name}, {field.description}{optional}: "
        text = (ask(question) or "") if _hidden(field) else ask_openly(question)
        if text.strip():
            given[field.name] = _clean(field.name, text)
    return given


def _hidden(field: CredentialField) -> bool:
    return looks_secret(field.name)


def _from_stdin(fields: tuple[CredentialField, ...]) -> dict[str, Secret]:
    names = [field.name for field in fields]
    wanted = f"one JSON object with {', '.join(names)} was expected on standard input"
    text = sys.stdin.read(INPUT_BYTES_MAX + 1)
    try:
        data = json.loads(text) if len(text) <= INPUT_BYTES_MAX else None
    except ValueError:
        data = None
    if not isinstance(data, Mapping):
        raise ConfigError(f"{wanted}; what came was none")
    for name, value in data.items():
        if name not in names:
            raise ConfigError(f"{wanted}; it had another name as well")
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{name} was no text or empty: leave it out or fill it")
    return {name: _clean(name, value) for name, value in data.items()}


def _clean(name: str, text: str) -> Secret:
    text = text.strip()
    if not text.isprintable() or (" " in text and name != "passphrase"):
        raise ConfigError(f"{name} has a space or a control character in it: paste it again")
    return Secret(text)


def ask(question: str) -> str | None:
    """Ask without echo; None where no terminal is there."""
    if not (sys.stdin.isatty() or has_terminal()):
        return None
    return getpass.getpass(question, stream=sys.stderr)


def has_terminal() -> bool:
    """Tell whether somebody sits there even though standard input is a pipe."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask_twice(question: str) -> str | None:
    """Ask for something new; raise `ConfigError` when the two answers differ."""
    first = ask(question)
    if first is not None and first != ask("The same again: "):
        raise ConfigError("the two passphrases differ: nothing was changed")
    return first


def ask_openly(question: str) -> str:
    """Ask with echo; "" where no terminal is there."""
    if not sys.stdin.isatty():
        return ""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline()


def nobody(what: str) -> NoReturn:
    """Refuse what only a person could answer."""
    raise ConfigError(f"a {what} is needed and nobody is there to ask: give it in a file")


def confirm(question: str) -> None:
    """End unless a person says yes."""
    if not sys.stdin.isatty():
        fail(f"{question} Say so with --yes", Exit.USAGE)
    if ask_openly(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        fail("nothing was changed")
