"""Waiting for what two sides of a socket bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_S = 30.0
"""Time in which a scripted venue must answer: more than the busiest machine takes. A test of
silence lets it end with `patience_ends`."""


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Let the loop run until `condition` holds; fail after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions are of many kinds
            await asyncio.sleep(0.001)
