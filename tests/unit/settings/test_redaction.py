"""Nothing secret in a log line."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.masking import MASK
from perpbot.settings import Redactor, Secret

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"failed: {SECRET}!",
        {"note": {"deep": [SECRET, (f"x{SECRET}",)]}},
        {SECRET: 1},
        SECRET.encode(),
        ValueError(f"https://x/?a={SECRET}"),
        {SECRET},
        Secret(SECRET),
    ],
    ids=["alone", "inside", "nested", "key", "bytes", "error", "set", "object"],
)
def test_a_registered_secret_is_masked_wherever_it_stands(value: object) -> None:
    """Values, parts of texts, keys, errors."""
    assert SECRET not in str(Redactor([Secret(SECRET)]).value(value))


@given(st.text(min_size=6), st.text(), st.text())
def test_any_registered_text_disappears(secret: str, before: str, after: str) -> None:
    """Regular expression characters in a secret are plain characters."""
    result = Redactor([Secret(secret)]).text(before + secret + after)

    assert secret not in result or secret in "********"


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?symbol=BTCUSDT&signature=abc123def&timestamp=1",
        "POST /x?apiKey=abc123def",
        "listenKey=abc123def",
        "{'X-MBX-APIKEY': 'abc123def'}",
        '{"OK-ACCESS-SIGN": "abc123def"}',
        "api_secret: abc123def",
        "Authorization: Bearer abc123def",
        "passphrase=abc123def; x",
    ],
)
def test_what_looks_like_a_key_is_masked_unregistered(text: str) -> None:
    """Signed addresses and headers of a venue's library."""
    assert "abc123def" not in Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    ["symbol=BTCUSDT price=1.5", "design: simple", "the token bucket is empty", "assign=3"],
)
def test_ordinary_text_stays(text: str) -> None:
    """Words that only contain a telling one are left alone."""
    assert Redactor().text(text) == text


def test_values_under_telling_names_are_masked() -> None:
    """A field called api_key needs no registration; switches and nothings are no secrets."""
    redactor = Redactor()

    assert redactor.value({"api_key": "abc", "token": None, "has_token": True, "n": 3}) == {
        "api_key": "********",
        "token": None,
        "has_token": True,
        "n": 3,
    }


def test_secrets_may_be_registered_later_and_short_ones_are_not_searched() -> None:
    """A passphrase of one letter must not mask every word."""
    redactor = Redactor()
    redactor.register([Secret("e"), Secret(SECRET)])

    assert redactor.text(f"hello {SECRET}") == "hello ********"
    assert redactor.value(Decimal("1.5")) == "1.5"


KEY = "0x" + bytes(range(32)).hex()
AWKWARD = 'pa ss"wo/rd+ü&=%'


@pytest.mark.parametrize(
    "written",
    [
        quote(AWKWARD),
        quote_plus(AWKWARD),
        json.dumps(AWKWARD),
        repr(AWKWARD),
        AWKWARD.encode().hex(),
        AWKWARD.encode().hex().upper(),
    ],
    ids=["quoted", "quoted for a form", "json", "repr", "hex", "HEX"],
)
def test_other_ways_of_writing_are_masked(written: str) -> None:
    """A library quotes before it complains."""
    masked = Redactor([Secret(AWKWARD)]).text(f"before {written} after")

    assert masked in {f"before {MASK} after", f'before "{MASK}" after', f"before '{MASK}' after"}


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode], ids=["plain", "for addresses"])
def test_base64_is_masked_at_every_place(
    before: str, after: str, encode: Callable[[bytes], bytes]
) -> None:
    """Headers such as Basic put a name before a password."""
    secret = "s3cr?t>s3cr?t>~~~"
    text = encode((before + secret + after).encode()).decode()

    masked = Redactor([Secret(secret)]).text(text)

    assert MASK in masked
    assert len(masked.replace(MASK, "")) <= len(before + after) * 2 + 8


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.removeprefix("0x"),
        KEY.removeprefix("0x").upper(),
        str(int(KEY, 16)),
        b64encode(bytes(range(32))).decode(),
    ],
    ids=["as given", "bare", "upper case", "number", "base64"],
)
def test_a_key_in_hexadecimal_is_masked_as_number_and_bytes(written: str) -> None:
    """Signing libraries show either."""
    for registered in (KEY, KEY.removeprefix("0x")):
        masked = Redactor([Secret(registered)]).text(f"({written})")
        assert masked.replace(MASK, "").strip("()=0x8") in {"", "A"}
