"""`perpbot simulate`: our exchanges for anyone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perpbot.cli.output import Exit, fail, readable

LAST_PORT = 65_535


def run_simulate(venues: Sequence[str], port_base: int, seed: int, tape: Path | None) -> int:
    """Serve until SIGTERM; return the exit code."""
    from perpbot.simulation.wire.process import run_servers
    from perpbot.simulation.wire.registry import venues as served

    names = [name for text in venues for name in text.split(",") if name]
    if not names or len(set(names)) < len(names):
        fail(
            f"venues were {' '.join(venues)!r}, one or more of {', '.join(served())} were "
            "expected, each once",
            Exit.USAGE,
        )
    for name in names:
        if name not in served():
            fail(f"venue was {name!r}, one of {', '.join(served())} was expected", Exit.USAGE)
    if port_base + len(names) - 1 > LAST_PORT:
        fail(
            f"--port-base was {port_base}: {len(names)} ports from there on end above {LAST_PORT}",
            Exit.USAGE,
        )
    if tape is not None:
        readable(tape)
    return run_servers(names, seed=seed, port_base=port_base, tape=tape)
