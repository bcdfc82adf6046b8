"""Sealed lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue
from perpbot.guardian.sealed import seal, unseal


@given(st.from_regex(rb"\{[ -~]*\}", fullmatch=True))
def test_what_is_sealed_can_be_read(content: bytes) -> None:
    """A line gives back its content, padding or not."""
    assert unseal(seal(content)) == content
    assert unseal(seal(content).ljust(256)) == content


@given(st.data())
def test_every_flipped_bit_and_every_cut_shows(data: st.DataObject) -> None:
    """No damaged line is taken for a whole one."""
    line = seal(b'{"epoch":3,"at_ns":123456789}')
    place = data.draw(st.integers(0, len(line) - 2))
    flipped = bytearray(line)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(flipped), line[:place]):
        with pytest.raises(InvalidValue, match="checksum"):
            unseal(damaged)
