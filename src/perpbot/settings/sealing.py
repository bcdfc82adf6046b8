"""One text under one passphrase: scrypt for the key, AES-256-GCM for the text.

A sealed text has three lines: the head (JSON: version, parameters, salt, nonce), a check of
passphrase and head, and the text itself. The head is authenticated by both, so that nobody can
weaken it unseen. The check tells a wrong passphrase from a file that somebody changed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import unicodedata
from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from perpbot.domain.errors import ConfigError
from perpbot.settings.secret import Secret

SALT_BYTES = 16
NONCE_BYTES = 12
_KEY_BYTES = 32
_LOG2_COST_RANGE = (14, 20)
"""Below, guessing is cheap; above, opening takes a gigabyte: nobody but an attacker writes it."""


class SealBroken(ConfigError):
    """The sealed text was changed, cut or was never ours."""


class WrongPassphrase(ConfigError):
    """The passphrase does not open it."""


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one guess costs: memory is 128 x r x 2^log2_n bytes."""

    log2_n: int = 17
    r: int = 8
    p: int = 1


STANDARD = Cost()
"""128 MB and a few tenths of a second for one guess."""


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["perpbot-keystore"]
    version: Literal[1]
    kdf: Literal["scrypt"]
    cost: Cost
    salt: str
    cipher: Literal["aes-256-gcm"]
    nonce: str


def seal(
    text: bytes,
    passphrase: Secret,
    cost: Cost | None = None,
    randomness: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return `text` sealed, with a salt and a nonce of its own each time."""
    salt, nonce = randomness(SALT_BYTES), randomness(NONCE_BYTES)
    head = _Head(
        format="perpbot-keystore",
        version=1,
        kdf="scrypt",
        cost=cost or STANDARD,
        salt=salt.hex(),
        cipher="aes-256-gcm",
        nonce=nonce.hex(),
    )
    line = msgspec.json.encode(head)
    key, check_key = _keys(passphrase, head.cost, salt)
    sealed = AESGCM(key).encrypt(nonce, text, line)
    check = hmac.digest(check_key, line, "sha256").hex().encode()
    return b"\n".join([line, check, base64.b64encode(sealed), b""])


def unseal(data: bytes, passphrase: Secret) -> bytes:
    """Return the text. Raises `WrongPassphrase`, `SealBroken`."""
    try:
        line, check, sealed, rest = data.split(b"\n", 3)
        head = msgspec.json.decode(line, type=_Head)
        salt, nonce = bytes.fromhex(head.salt), bytes.fromhex(head.nonce)
        body = base64.b64decode(sealed, validate=True)
    except (ValueError, msgspec.DecodeError, binascii.Error):
        raise SealBroken(_BROKEN) from None
    if rest or not _sound(head.cost) or len(salt) != SALT_BYTES or len(nonce) != NONCE_BYTES:
        raise SealBroken(_BROKEN)
    key, check_key = _keys(passphrase, head.cost, salt)
    if not hmac.compare_digest(hmac.digest(check_key, line, "sha256").hex().encode(), check):
        raise WrongPassphrase("the passphrase is wrong (or the head of the file was changed)")
    try:
        return AESGCM(key).decrypt(nonce, body, line)
    except InvalidTag:
        raise SealBroken(_BROKEN) from None


_BROKEN = (
    "it was changed or cut, or is not a keystore of perpbot: trust nothing in it, take it from"
    " a backup or make new keys at the venues"
)


def _sound(cost: Cost) -> bool:
    lowest, highest = _LOG2_COST_RANGE
    return lowest <= cost.log2_n <= highest and cost.r == 8 and 1 <= cost.p <= 4


def _keys(passphrase: Secret, cost: Cost, salt: bytes) -> tuple[bytes, bytes]:
    """Derive the key of the text and the key of the check, independent of each other."""
    # Two keyboards may write one letter in two ways.
    given = unicodedata.normalize("NFC", passphrase.reveal()).encode()
    kdf = Scrypt(salt=salt, length=2 * _KEY_BYTES, n=1 << cost.log2_n, r=cost.r, p=cost.p)
    both = kdf.derive(given)
    return both[:_KEY_BYTES], both[_KEY_BYTES:]
