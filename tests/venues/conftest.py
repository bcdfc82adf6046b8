"""Limits of time that end when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.venues.waiting import PATIENCE_S


@pytest.fixture
def patience_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """End the patience of everything that waits for an answer, as if its time had passed."""
    timeout = asyncio.timeout
    under_way: list[asyncio.Timeout] = []

    @asynccontextmanager
    async def waiting(delay_s: float | None) -> AsyncIterator[asyncio.Timeout]:
        async with timeout(delay_s) as limit:
            if delay_s != PATIENCE_S:
                yield limit
                return
            under_way.append(limit)
            try:
                yield limit
            finally:
                under_way.remove(limit)

    def end() -> None:
        assert under_way, "nobody waits for an answer"
        for limit in under_way:
            limit.reschedule(asyncio.get_running_loop().time())

    monkeypatch.setattr(asyncio, "timeout", waiting)
    return end
