"""Waiting for what two sides of a socket bring about, and no longer than a test wants to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

PATIENCE_S = 30.0
"""Time in which a scripted venue must answer: more than the busiest machine takes. A test of
silence lets it end with `patience_ends`."""


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Let the loop run until `condition` holds; fail after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions are of many kinds
            await asyncio.sleep(0.001)


def ended_by_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what ends every limit of `PATIENCE_S` that is under way, as if its time had passed.

    Limits that began before this was called are not among them.
    """
    timeout = asyncio.timeout
    under_way: list[asyncio.Timeout] = []

    @asynccontextmanager
    async def limited(delay_s: float | None) -> AsyncIterator[asyncio.Timeout]:
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

    monkeypatch.setattr(asyncio, "timeout", limited)
    return end
