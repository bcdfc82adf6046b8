"""What tests of every venue share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.venues.waiting import ended_by_hand


@pytest.fixture
def patience_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """End the patience of everything that waits for an answer."""
    return ended_by_hand(monkeypatch)
