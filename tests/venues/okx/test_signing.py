"""Signatures of OKX against known vectors."""

from __future__ import annotations

import msgspec
import pytest

from perpbot.kernel.clock import VirtualTime
from perpbot.venues.okx.signing import OkxCredentials, Signer, iso_time

SECRET = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"  # published in an open test-suite
AT_NS = 1_607_418_537_715_000_000


def make_signer(now_ns: int) -> Signer:
    """Return a signer at a fixed time."""
    return Signer(OkxCredentials("k", SECRET, "p"), VirtualTime(now_ns))


@pytest.mark.parametrize(
    ("prehash", "signature"),
    [
        pytest.param(
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance",
            "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k=",
            id="rest",
        ),
        pytest.param(
            "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC",
            "ebNz0sDoc3LoFm1hqjP8LDT0fnRlDERj5C+I4ZqB4Cw=",
            id="rest-with-query",
        ),
        pytest.param(
            "1538054050GET/users/self/verify",
            "ENpPNQ8mQv8YzDMPhBsB4SrjaKK+FaEh2nozTRW6KU0=",
            id="websocket",
        ),
    ],
)
def test_signature_equals_the_vector(prehash: str, signature: str) -> None:
    """The bare signature is the published one."""
    assert make_signer(0).sign(prehash.encode()) == signature


def test_headers_sign_method_path_and_time() -> None:
    """A request carries key, passphrase, ISO time and the signature over all of it."""
    headers = make_signer(AT_NS).headers("GET", "/api/v5/account/balance?ccy=BTC", b"")

    assert headers == {
        "OK-ACCESS-KEY": "k",
        "OK-ACCESS-SIGN": "ebNz0sDoc3LoFm1hqjP8LDT0fnRlDERj5C+I4ZqB4Cw=",
        "OK-ACCESS-TIMESTAMP": "2020-12-08T09:08:57.715Z",
        "OK-ACCESS-PASSPHRASE": "p",
    }


def test_headers_sign_the_body() -> None:
    """One byte of the body changes the signature."""
    signer = make_signer(AT_NS)

    first = signer.headers("POST", "/api/v5/trade/order", b'{"sz":"1"}')
    second = signer.headers("POST", "/api/v5/trade/order", b'{"sz":"2"}')

    assert first["OK-ACCESS-SIGN"] != second["OK-ACCESS-SIGN"]


def test_login_signs_seconds() -> None:
    """The login frame is the one of the protocol, with its timestamp in seconds."""
    frame = msgspec.json.decode(make_signer(1_538_054_050_999_000_000).login())

    assert frame == {
        "op": "login",
        "args": [
            {
                "apiKey": "k",
                "passphrase": "p",
                "timestamp": "1538054050",
                "sign": "ENpPNQ8mQv8YzDMPhBsB4SrjaKK+FaEh2nozTRW6KU0=",
            }
        ],
    }


def test_iso_time_keeps_leading_zeros() -> None:
    """Milliseconds always have three digits."""
    assert iso_time(1_607_418_537_007_999_999) == "2020-12-08T09:08:57.007Z"


def test_credentials_do_not_show_themselves() -> None:
    """Neither repr nor str has any part of a secret."""
    credentials = OkxCredentials("key-1", "secret-1", "pass-1")

    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert "1" not in text
