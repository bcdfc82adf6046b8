"""Hyperliquid's server as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.simulation.wire.hyperliquid.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server as the venue is today."""
    async with Rig().served() as made:
        yield made


@pytest.fixture
async def old_rig() -> AsyncIterator[Rig]:
    """A server that greets as older ones did."""
    async with Rig(greets=True).served() as made:
        yield made
