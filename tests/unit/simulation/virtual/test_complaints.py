"""What living code says without failing."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import warnings

from perpbot.simulation.virtual.complaints import complaints
from perpbot.simulation.virtual.loop import new_loop


async def _work() -> None:
    """Never started."""


def test_a_coroutine_that_is_never_awaited_is_heard() -> None:
    """Python only prints it."""
    with complaints() as heard:
        unawaited = _work()
        del unawaited
        gc.collect()

    assert len(heard.said) == 1
    assert "coroutine '_work' was never awaited" in heard.said[0]


def test_an_error_in_a_finaliser_is_heard() -> None:
    """Nobody can raise it any more."""

    class Careless:
        def __del__(self) -> None:
            raise ValueError("too late")

    before = sys.unraisablehook
    with complaints() as heard:
        Careless()

    assert [line[:20] for line in heard.said] == ["ValueError: too late"]
    assert sys.unraisablehook is before


def test_the_dead_are_not_heard() -> None:
    """A machine that died in the middle of a callback closes nothing."""
    loop = new_loop(random.Random(1))
    host = loop.new_host("node")

    async def die() -> None:
        warnings.warn("alive", stacklevel=1)
        host.die()
        warnings.warn("dead", stacklevel=1)

    async def play() -> None:
        host.run(die())
        await asyncio.sleep(1)

    with complaints() as heard:
        loop.run_until_complete(play())
        loop.close()

    assert len(heard.said) == 1
    assert "alive" in heard.said[0]


def test_remains_are_cleared_away_in_silence() -> None:
    """Whoever clears up after the dead says so."""
    with complaints() as heard:
        heard.deaf = True
        warnings.warn("left behind", stacklevel=1)

    assert heard.said == []
