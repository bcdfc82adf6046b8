"""Requests as they arrive: parameters from query, body or both, and their signature.

The signature is HMAC-SHA256 over the query string followed by the body, without the pair that
carries it, hexadecimal; over sorted parameters on the websocket API.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.money import decimal_of
from perpbot.simulation.wire.binance.errors import Refused

DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000
"""A timestamp may be this far in the future."""


class Params:
    """Parameters by name, read by kind; a missing or malformed one is refused as Binance does."""

    def __init__(self, values: Mapping[str, str], until_ms: int = 0) -> None:
        self._values = dict(values)
        self.until_ms = until_ms
        """Until when a signed request counts; the matching engine checks it again."""

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it is mandatory."""
        value = self._values.get(name, "")
        if value:
            return value
        if default is None:
            raise Refused(
                -1102,
                f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
            )
        return default

    def number(self, name: str, default: Decimal | None = None) -> Decimal:
        """A decimal."""
        if name not in self and default is not None:
            return default
        text = self.text(name)
        try:
            return decimal_of(text, name)
        except InvalidValue:
            raise _malformed(name) from None

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        if name not in self and default is not None:
            return default
        text = self.text(name)
        try:
            return int(text)
        except ValueError:
            raise _malformed(name) from None

    def flag(self, name: str, default: bool | None = False) -> bool:  # noqa: FBT001, FBT002 - as read
        """A boolean, "true" or "false"; mandatory when the default is None."""
        if name not in self and default is not None:
            return default
        text = self.text(name).lower()
        if text not in {"true", "false"}:
            raise _malformed(name)
        return text == "true"

    def items(self, name: str) -> list[Any]:
        """A JSON list."""
        try:
            found = msgspec.json.decode(self.text(name))
        except msgspec.DecodeError:
            raise _malformed(name) from None
        if not isinstance(found, list):
            raise _malformed(name)
        return found

    def each(self, name: str) -> list[Params]:
        """A JSON list of objects, each with parameters of its own."""
        found = self.items(name)
        if not all(isinstance(item, dict) for item in found):
            raise _malformed(name)
        return [
            Params({key: _as_text(value) for key, value in item.items()}, self.until_ms)
            for item in found
        ]


def _malformed(name: str) -> Refused:
    return Refused(-1130, f"Data sent for parameter '{name}' is not valid.")


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return "" if value is None else str(value)


class Signed(msgspec.Struct, frozen=True):
    """What was signed, and the signature sent with it."""

    payloads: tuple[str, ...]
    """Spellings that count; the first is the documented one."""
    signature: str

    def is_by(self, secret: str) -> bool:
        """Tell whether `secret` made the signature."""
        return any(
            hmac.compare_digest(sign(secret, payload), self.signature.lower())
            for payload in self.payloads
        )


def sign(secret: str, payload: str) -> str:
    """Return the hexadecimal HMAC-SHA256."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def read_http(query: str, body: str) -> tuple[Params, Signed]:
    """Read raw query string and form body."""
    values = dict(parse_qsl(body, keep_blank_values=True))
    values.update(parse_qsl(query, keep_blank_values=True))
    signature = values.pop("signature", "")
    payload = _without_signature(query) + _without_signature(body)
    return Params(values), Signed((payload,), signature)


def read_websocket(params: Mapping[str, object]) -> tuple[Params, Signed]:
    """Read the `params` of a websocket request; the signature is over the sorted ones."""
    values = {key: _as_text(value) for key, value in params.items()}
    signature = values.pop("signature", "")
    ordered = sorted(values.items())
    plain = "&".join(f"{key}={value}" for key, value in ordered)
    return Params(values), Signed((plain, urlencode(ordered)), signature)


def check_time(params: Params, now_ms: int) -> None:
    """Note until when the request counts. Raises `Refused` when it is late or early."""
    stamp = params.integer("timestamp")
    window = params.integer("recvWindow", DEFAULT_WINDOW_MS)
    if not 0 < window <= MAX_WINDOW_MS:
        raise Refused(-1131, f"recvWindow must be less than {MAX_WINDOW_MS}.")
    if stamp >= now_ms + AHEAD_MS:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp > window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")
    params.until_ms = stamp + window


def _without_signature(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))
