from __future__ import annotations

import msgspec
import pytest

from perpbot.venues.wire.decoding import UNREADABLE


class Row(msgspec.Struct):
    """What was expected."""

    price: float
    name: str = ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"price"',
        b'{"price": "NaN"}',
        b"[1, 2]",
        b'{"price": 1e999}',
        b'{"price": 1, "name": "\xff\xfe"}',
        b'{"price": 1, "more": ' + b"[" * 100_000,
        b'{"price": 1, "more": ' + b'{"a":' * 100_000,
    ],
    ids=["empty", "torn", "word", "shape", "too large", "not utf-8", "deep list", "deep object"],
)
def test_whatever_comes_over_a_wire_raises_one_of_these(body: bytes) -> None:
    """Nothing that another side sends escapes as an error of a kind that nobody catches."""
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(body, type=Row)
