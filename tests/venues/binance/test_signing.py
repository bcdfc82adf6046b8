from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.venues.binance.signing import BinanceCredentials, Signer

_DOCS = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
_SPOT = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


@pytest.mark.parametrize(
    ("secret", "payload", "signature"),
    [
        (
            _DOCS,
            (
                "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
                "&recvWindow=5000&timestamp=1591702613943"
            ),
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            _SPOT,
            "timestamp=1578963600000",
            "d84e6641b1e328e7b418fff030caed655c266299c9355e36ce801ed14631eed4",
        ),
        (
            _SPOT,
            (
                "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1"
                "&recvWindow=5000&timestamp=1499827319559"
            ),
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
    ],
    ids=["futures documents", "timestamp alone", "order"],
)
def test_published_vectors(secret: str, payload: str, signature: str) -> None:
    """The venue's own examples, and a second signature from the same copied hash."""
    signer = Signer(BinanceCredentials("key", secret))

    assert signer.sign(payload) == signature
    assert signer.sign(payload) == signature


@given(st.text(min_size=1, max_size=200), st.text())
def test_any_key_signs_as_the_standard_library_does(secret: str, payload: str) -> None:
    """Short keys are filled up, keys longer than a block of the hash are hashed first."""
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    assert Signer(BinanceCredentials("key", secret)).sign(payload) == expected


def test_credentials_show_nothing() -> None:
    """Neither repr nor str tells the key."""
    credentials = BinanceCredentials("key-abc", "secret-xyz")

    assert "abc" not in f"{credentials} {credentials!r}"
    assert "xyz" not in f"{credentials} {credentials!r}"
