"""`perpbot simulate`: our exchanges for anyone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def run_simulate(venues: Sequence[str], port_base: int, seed: int, tape: Path | None) -> int:
    """Serve until SIGTERM; return the exit code."""
    from perpbot.simulation.wire.process import run_servers

    names = [name for text in venues for name in text.split(",") if name]
    return run_servers(names, seed=seed, port_base=port_base, tape=tape)
