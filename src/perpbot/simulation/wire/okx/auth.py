"""Keys of OKX accounts and the checks of signed requests, read from the venue's documents.

REST prehash: ISO timestamp in ms with Z + method + path with query + body; websocket prehash:
epoch seconds + "GET" + "/users/self/verify"; both HMAC-SHA256 with the secret, base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation

import msgspec

WINDOW_NS = 30_000_000_000


class OkxKey(msgspec.Struct, frozen=True):
    """One API key and the account that it opens."""

    api_key: str
    api_secret: str
    passphrase: str
    account: str


class Denied(Exception):
    """A request that is not let in; `code` is the venue's, `status` the HTTP status."""

    def __init__(self, code: str, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def expected_sign(secret: str, prehash: str) -> str:
    """Return the base64 HMAC-SHA256 of `prehash`."""
    digest = hmac.new(secret.encode(), prehash.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _iso_ns(text: str) -> int:
    if not text.endswith("Z"):
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp() * 1000) * 1_000_000


def check_rest(
    keys: Mapping[str, OkxKey],
    headers: Mapping[str, str],
    method: str,
    path: str,
    body: str,
    now_ns: int,
) -> OkxKey:
    """Return the key that signed a REST request; raise `Denied` with the venue's code.

    `path` includes the query exactly as received; `headers` match without regard to case.
    """
    for name, code in (
        ("OK-ACCESS-KEY", "50103"),
        ("OK-ACCESS-PASSPHRASE", "50104"),
        ("OK-ACCESS-SIGN", "50106"),
        ("OK-ACCESS-TIMESTAMP", "50107"),
    ):
        if not headers.get(name):
            raise Denied(code, f'Request header "{name}" cannot be empty.')
    key = keys.get(headers["OK-ACCESS-KEY"])
    if key is None:
        raise Denied("50111", "Invalid OK-ACCESS-KEY")
    timestamp = headers["OK-ACCESS-TIMESTAMP"]
    try:
        sent_ns = _iso_ns(timestamp)
    except ValueError:
        raise Denied("50112", "Invalid OK-ACCESS-TIMESTAMP") from None
    if abs(now_ns - sent_ns) > WINDOW_NS:
        raise Denied("50102", "Timestamp request expired")
    if headers["OK-ACCESS-PASSPHRASE"] != key.passphrase:
        raise Denied("50105", "OK-ACCESS-PASSPHRASE incorrect")
    sign = expected_sign(key.api_secret, timestamp + method + path + body)
    if not hmac.compare_digest(sign, headers["OK-ACCESS-SIGN"]):
        raise Denied("50113", "Invalid Sign")
    return key


def check_login(keys: Mapping[str, OkxKey], arg: Mapping[str, object], now_ns: int) -> OkxKey:
    """Return the key of a websocket login; raise `Denied` with the venue's code."""
    key = keys.get(str(arg.get("apiKey", "")))
    if key is None:
        raise Denied("60005", "Invalid apiKey")
    timestamp = str(arg.get("timestamp", ""))
    try:
        sent_ns = int(Decimal(timestamp) * 1_000_000_000)
    except (InvalidOperation, OverflowError, ValueError):
        raise Denied("60004", "Invalid timestamp") from None
    if abs(now_ns - sent_ns) > WINDOW_NS:
        raise Denied("60006", "Timestamp request expired")
    if arg.get("passphrase") != key.passphrase:
        raise Denied("60024", "Wrong passphrase")
    sign = expected_sign(key.api_secret, timestamp + "GET/users/self/verify")
    if not hmac.compare_digest(sign.encode(), str(arg.get("sign", "")).encode()):
        raise Denied("60007", "Invalid sign")
    return key
