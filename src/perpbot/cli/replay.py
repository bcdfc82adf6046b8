"""`perpbot replay`: a recorded tape through the node."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpbot import __version__
from perpbot.cli.output import Exit, argument, config_paths, emit, readable, say, show
from perpbot.cli.tables import summary_text
from perpbot.configuration import load_configuration
from perpbot.configuration.tree import VENUES
from perpbot.research.replay import ReplayTerms, parse_map, replay
from perpbot.settings import Flag


def run_replay(
    tape: Path,
    mapping: str,
    *,
    maker_bps: float,
    taker_bps: float,
    min_edge_bps: float,
    latency_ms: float,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Replay and print the summary; 0 only when all is flat and no invariant broke."""
    with argument():
        venues = parse_map(mapping, VENUES)
    readable(tape)
    configuration = load_configuration(
        config_paths(files),
        environ=os.environ,
        flags=(
            Flag("mode", "perpbot replay", "replay"),
            Flag("arbitrage.min_edge_bps", "--min-edge-bps", min_edge_bps),
            Flag("paper.latency_ms", "--latency-ms", latency_ms),
        ),
    )
    for warning in configuration.warnings:
        say(str(warning))
    summary = replay(
        tape,
        venues,
        configuration.settings,
        ReplayTerms(
            maker_bps=Decimal(str(maker_bps)),
            taker_bps=Decimal(str(taker_bps)),
            latency_ms=latency_ms,
        ),
        version=__version__,
        progress=_progress,
        complain=say,
    )
    if as_json:
        emit(summary)
    else:
        show(summary_text(summary))
    return Exit.OK if is_clean(summary) else Exit.ERROR


def is_clean(summary: dict[str, Any]) -> bool:
    """Whether a run ended flat and no invariant broke."""
    return (
        not summary["positions"]
        and not summary["violations"]
        and summary["open_orders"] == 0
        and summary["reserved"] == "0"
    )


def _progress(seconds: int) -> None:
    sys.stderr.write(f"replayed {seconds} s of the tape\n")
    sys.stderr.flush()
