"""Records of another version."""

from __future__ import annotations

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.journal.record import Record


def test_a_record_of_another_version_is_refused_by_name() -> None:
    """An unknown kind, and a known one with other fields."""
    with pytest.raises(InvalidValue, match="NO_SUCH_KIND"):
        Record(1, 0, "NO_SUCH_KIND", b"\x80").event()
    with pytest.raises(InvalidValue, match=r"record 7 \(ALERT_FIRED\) does not fit"):
        Record(7, 0, "ALERT_FIRED", b"\x80").event()
