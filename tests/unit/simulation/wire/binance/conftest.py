"""Binance's server as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.simulation.wire.binance.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server that answers, with a book around 100000."""
    found = World()
    async with found.open():
        yield found
