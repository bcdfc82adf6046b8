"""HMAC-SHA256 signatures of OKX: headers of a REST request and the login of a websocket.

The prehash is timestamp + METHOD + path with query + body, over the exact bytes sent; the result
is base64 (https://www.okx.com/docs-v5/en/#overview-rest-authentication-signature).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from perpbot.kernel.clock import MS, Clock

_LOGIN_PATH = "GET/users/self/verify"
_NS_PER_SECOND = 1_000_000_000


class OkxCredentials(msgspec.Struct, frozen=True):
    """What OKX asks of a client. Its repr shows nothing of it."""

    api_key: str
    api_secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "OkxCredentials(***)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled")


def iso_time(now_ns: int) -> str:
    """Write a UTC time the way REST signs it: `2020-12-08T09:08:57.715Z`."""
    seconds, rest_ns = divmod(now_ns, _NS_PER_SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).isoformat()
    return f"{moment[:19]}.{rest_ns // MS:03d}Z"


class Signer:
    """Signs for one key. The keyed hash is prepared once and copied for each signature."""

    def __init__(self, credentials: OkxCredentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._keyed = hmac.new(credentials.api_secret.encode(), digestmod=hashlib.sha256)

    def sign(self, prehash: bytes) -> str:
        """Return the base64 signature of `prehash`."""
        digest = self._keyed.copy()
        digest.update(prehash)
        return base64.b64encode(digest.digest()).decode()

    def headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        """Return the headers that authenticate one request; `path` includes its query."""
        timestamp = iso_time(self._clock.now_ns())
        return {
            "OK-ACCESS-KEY": self._credentials.api_key,
            "OK-ACCESS-SIGN": self.sign(f"{timestamp}{method}{path}".encode() + body),
            "OK-ACCESS-TIMESTAMP": timestamp,
            "OK-ACCESS-PASSPHRASE": self._credentials.passphrase,
        }

    def login(self) -> bytes:
        """Return the login frame of a private websocket; its timestamp is in whole seconds."""
        timestamp = str(self._clock.now_ns() // _NS_PER_SECOND)
        argument = {
            "apiKey": self._credentials.api_key,
            "passphrase": self._credentials.passphrase,
            "timestamp": timestamp,
            "sign": self.sign(f"{timestamp}{_LOGIN_PATH}".encode()),
        }
        return msgspec.json.encode({"op": "login", "args": [argument]})
