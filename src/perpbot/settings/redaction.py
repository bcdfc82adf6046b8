"""Secrets out of logs: every registered value, and whatever has the look of a key.

A registered secret is replaced wherever it stands, inside longer texts and nested values too.
Patterns catch what nobody registered: signatures and keys in addresses, bearer tokens, private
keys in hexadecimal after a telling name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from perpbot.settings.secret import MASK, Secret, looks_secret

LENGTH_MIN = 6
"""Shorter secrets are not searched for in text: they would mask ordinary words."""

_NAMES = (
    r"signature|sign|api[_-]?key|api[_-]?secret|secret|passphrase|password|token|listen[_-]?key"
    r"|private[_-]?key|x-mbx-apikey|ok-access-(?:key|sign|passphrase)|pk"
)
_IN_TEXT = re.compile(rf"(?i)(?<![A-Za-z0-9_])({_NAMES})(['\"]?\s*[=:]\s*['\"]?)([^\s&'\",;}})]+)")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")


class Redactor:
    """Masks texts and nested values. Registering is additive; there is no way to take one back."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._texts: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.register(secrets)

    def register(self, secrets: Iterable[Secret]) -> None:
        """Mask these values from now on."""
        self._texts |= {s.reveal() for s in secrets if len(s.reveal()) >= LENGTH_MIN}
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        text = _BEARER.sub(rf"\g<1>{MASK}", text)
        return _IN_TEXT.sub(rf"\g<1>\g<2>{MASK}", text)

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
