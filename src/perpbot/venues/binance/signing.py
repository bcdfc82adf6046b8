"""HMAC-SHA256 signatures of Binance: hex over the exact query (and body) that is sent.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info (SIGNED).
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

import msgspec

_BLOCK = 64
"""Bytes that SHA-256 takes at a time; a key is filled up to it."""


class BinanceCredentials(msgspec.Struct, frozen=True):
    """What Binance asks of a client. Its repr shows nothing of it."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "BinanceCredentials(***)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled")


class Signer:
    """Signs for one key: HMAC by RFC 2104, with both keyed hashes begun once and copied."""

    def __init__(self, credentials: BinanceCredentials) -> None:
        self.api_key = credentials.api_key
        key = credentials.api_secret.encode()
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        key = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def sign(self, payload: str) -> str:
        """Return the lower-case hex signature of `payload`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload.encode())
        outer.update(inner.digest())
        return outer.hexdigest()
