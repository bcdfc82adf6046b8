"""Values that nobody may read by accident: keys, passphrases, tokens.

A `Secret` shows a mask wherever a value usually leaks: `repr`, `str`, f-strings, tracebacks,
pickle, copies into JSON. Only `reveal()` gives the text, so that every use can be found by name.
`looks_secret` and `mask_value` guard the messages about values that we never asked for, such as a
private key pasted under a misspelt name.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from perpbot.domain.masking import MASK, mask_by_look

_SECRET_NAME = re.compile(
    r"secret|token|passphrase|password|private|api_?key|(^|[_.])pk($|[_.])|webhook|mnemonic"
    r"|credential",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(r"(0x)?[A-Za-z0-9+/=_-]{32,}")


class Secret:
    """One secret text. Two secrets compare in constant time; a secret is not hashable."""

    __slots__ = ("_text",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself. Give it to a signer or a header, to nothing else."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; read it again where it is needed")

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Let a settings model take a text and give a mask back in every dump."""
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(cls), from_text]
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def looks_secret(name: str) -> bool:
    """Tell whether a key or variable of this name probably holds a secret."""
    return _SECRET_NAME.search(name) is not None


def mask_value(name: str, value: object) -> str:
    """Return `value` as text for a message, masked if its name or its shape says secret."""
    text = str(value)
    if looks_secret(name) or _SECRET_SHAPE.fullmatch(text.strip()):
        return MASK
    text = mask_by_look(text)
    return text if len(text) <= 80 else text[:77] + "..."
