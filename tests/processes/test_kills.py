"""`kill -9` of a node at every step of an order's way, in recovery, and at random."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.processes.kills import Figures, enumerated_kills, merge, random_kills, sequences
from tests.processes.nursery import Nursery
from tests.processes.points import POINTS

pytestmark = [pytest.mark.timeout(180)]
JOBS = 2


def assert_nothing_lost(figures: Figures) -> None:
    """No acknowledged record lost, no execution without or beyond its intent, a clean end."""
    assert figures.violations == []
    assert figures.lost == 0
    assert figures.executions > 0


async def test_death_at_every_point(nursery: Nursery, tmp_path: Path) -> None:
    """Each enumerated point is really hit; whoever comes back finds everything and ends flat."""
    chosen = sequences(1, nested=False)
    parts = [chosen[job::JOBS] for job in range(JOBS)]
    figures = merge(
        await asyncio.gather(
            *(
                enumerated_kills(nursery, tmp_path / f"points-{job}", part, seed=job, every=6)
                for job, part in enumerate(parts)
            )
        )
    )
    assert_nothing_lost(figures)
    assert figures.missed == []
    hit = {point.removesuffix(" in recovery") for point in figures.points}
    assert hit >= set(POINTS)


async def test_death_at_random(nursery: Nursery, tmp_path: Path) -> None:
    """Twenty deaths after 50 to 800 ms; most of them while it traded."""
    parts = [random_kills(nursery, tmp_path, count=10, seed=job, batch=5) for job in range(JOBS)]
    figures = merge(await asyncio.gather(*parts))
    assert_nothing_lost(figures)
    assert figures.kills == 20
    assert figures.points["trading"] > 0
