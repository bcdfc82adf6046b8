"""HMAC-SHA256 signatures of Binance: hex over the exact query (and body) that is sent.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info (SIGNED).
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec


class BinanceCredentials(msgspec.Struct, frozen=True):
    """What Binance asks of a client. Its repr shows nothing of it."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "BinanceCredentials(***)"

    __str__ = __repr__


class Signer:
    """Signs for one key. The keyed hash is prepared once and copied for each signature."""

    def __init__(self, credentials: BinanceCredentials) -> None:
        self.api_key = credentials.api_key
        self._keyed = hmac.new(credentials.api_secret.encode(), digestmod=hashlib.sha256)

    def sign(self, payload: str) -> str:
        """Return the lower-case hex signature of `payload`."""
        digest = self._keyed.copy()
        digest.update(payload.encode())
        return digest.hexdigest()
