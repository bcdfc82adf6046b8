from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import MS
from perpbot.venues.wire.decoding import LATEST_MS, UNREADABLE, ns_of_ms, ns_of_text


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


@given(st.integers(0, LATEST_MS))
def test_a_time_becomes_ns(time_ms: int) -> None:
    """As a number and as a text; all of them fit into a journal."""
    assert ns_of_ms(time_ms) == ns_of_text(str(time_ms)) == time_ms * MS
    assert ns_of_ms(time_ms) < 2**63


@pytest.mark.parametrize("time_ms", [-1, LATEST_MS + 1, 2**64, 10**400])
def test_a_time_that_cannot_be_is_refused(time_ms: int) -> None:
    """A journal could not write it down, and would stop."""
    with pytest.raises(InvalidValue, match="time was") as refused:
        ns_of_ms(time_ms)
    assert len(str(refused.value)) < 120
    with pytest.raises(InvalidValue, match="time was") as refused:
        ns_of_text(str(time_ms))
    assert len(str(refused.value)) < 120


def test_no_time_is_zero() -> None:
    """Some fields stay empty."""
    assert ns_of_text("") == 0


@pytest.mark.parametrize("text", ["x", "1.5", "-3", " 1", "\u00b2", "1e3"])
def test_what_is_no_text_of_a_time_is_refused(text: str) -> None:
    """It names what came."""
    with pytest.raises(InvalidValue, match="time was"):
        ns_of_text(text)
