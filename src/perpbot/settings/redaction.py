"""Secrets out of logs: every registered value, and whatever has the look of a key.

A registered secret is replaced wherever it stands, inside longer texts and nested values too, and
in every form in which libraries write texts: quoted for addresses, escaped, in hexadecimal, in
base64. Patterns catch what nobody registered: signatures and keys in addresses, bearer tokens,
private keys in hexadecimal after a telling name.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

from perpbot.domain.masking import MASK, mask_by_look
from perpbot.settings.secret import Secret, looks_secret

LENGTH_MIN = 6
"""Shorter secrets are not searched for in text: they would mask ordinary words."""


def forms(text: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written; none shorter than `LENGTH_MIN`."""
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text))
    yield json.dumps(text)[1:-1]
    yield repr(text)[1:-1]
    yield from _of_bytes(text.encode())
    digits = text.removeprefix("0x")
    if re.fullmatch(r"(?:[0-9a-fA-F]{2}){16,}", digits):
        # A key in hexadecimal is also its bytes and its number.
        yield from (digits, digits.lower(), digits.upper(), str(int(digits, 16)))
        yield from _of_bytes(bytes.fromhex(digits))


def _of_bytes(data: bytes) -> Iterator[str]:
    yield from (data.hex(), data.hex().upper())
    # Inside a longer text, such as name:password, base64 starts at any of three places: the signs
    # at both ends depend on the neighbours and are left out.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        middle = encoded[(0, 2, 3)[before] : len(encoded) - 1]
        if len(middle) >= LENGTH_MIN:
            yield middle
            yield middle.replace("+", "-").replace("/", "_")


class Redactor:
    """Masks texts and nested values. Registering is additive; there is no way to take one back."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._texts: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.register(secrets)

    def register(self, secrets: Iterable[Secret]) -> None:
        """Mask these values from now on."""
        for secret in secrets:
            if len(secret.reveal()) >= LENGTH_MIN:
                self._texts.update(forms(secret.reveal()))
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        # Nearly no text has a secret in it: searching one by one is far quicker than the pattern.
        if self._pattern is not None and any(map(text.__contains__, self._texts)):
            text = self._pattern.sub(MASK, text)
        return mask_by_look(text)

    def value(self, value: object, name: str = "") -> object:
        """Return `value` without secrets, following mappings and sequences."""
        if isinstance(value, Secret):
            return MASK
        if name and value is not None and looks_secret(name) and not isinstance(value, bool):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode(errors="replace"))
        if isinstance(value, Mapping):
            return {self._key(key): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item) for item in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        # Anything else is written as its text: it may be an error that quotes a request.
        return self.text(str(value))

    def _key(self, key: object) -> str:
        return self.text(str(key))
