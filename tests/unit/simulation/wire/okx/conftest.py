"""OKX's server as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.simulation.wire.okx.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server as the venue is today."""
    async with Rig().served() as made:
        yield made


@pytest.fixture
async def bare_rig() -> AsyncIterator[Rig]:
    """A server whose books start without a snapshot."""
    async with Rig(books_snapshot=False).served() as made:
        yield made
