"""What the package shows."""

from __future__ import annotations

import perpbot.configuration
import perpbot.settings


def test_all_is_sorted_and_true() -> None:
    """`__all__` names what exists, constants first, as ruff sorts it."""
    for package in (perpbot.settings, perpbot.configuration):
        names = package.__all__

        assert len(set(names)) == len(names)
        assert all(hasattr(package, name) for name in names)
