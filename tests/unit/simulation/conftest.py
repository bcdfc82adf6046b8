"""What the tests of our own exchanges share."""

from __future__ import annotations

import pytest

from tests.unit.simulation.desk import Desk


@pytest.fixture
def desk() -> Desk:
    """A fresh exchange."""
    return Desk()
