"""`perpbot demo`: everything at home."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from perpbot.app.demo import run_demo as run_app_demo
from perpbot.app.node import Node
from perpbot.app.watching import TerminalWatcher
from perpbot.cli.output import Exit, UsageError, config_paths, emit, say, show
from perpbot.cli.replay import is_clean
from perpbot.cli.tables import summary_text
from perpbot.configuration import load_configuration
from perpbot.settings import Flag
from perpbot.simulation.wire.registry import venues as served

SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "AVAX", "LINK", "BNB", "ADA", "SUI")


def run_demo(
    seconds: float | None,
    seed: int | None,
    venues: str,
    *,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Run the demo and print its summary; 0 only when all is flat and no invariant broke."""
    names = _names(venues)
    flags = [
        Flag("mode", "perpbot demo", "demo"),
        Flag("market.symbols", "perpbot demo", [f"{base}-PERP" for base in SYMBOLS]),
    ]
    if seconds is not None:
        flags.append(Flag("simulation.seconds", "--seconds", seconds))
    if seed is not None:
        flags.append(Flag("simulation.seed", "--seed", seed))
    configuration = load_configuration(config_paths(files), environ=os.environ, flags=tuple(flags))
    for warning in configuration.warnings:
        say(str(warning))
    settings = configuration.settings
    view = TerminalWatcher() if sys.stderr.isatty() and not as_json else None
    try:
        summary = asyncio.run(
            _until_told(
                run_app_demo(
                    settings,
                    names,
                    seconds=settings.simulation.seconds,
                    seed=settings.simulation.seed,
                    say=view.say if view else say,
                    watch=view or _Lines(),
                )
            )
        )
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if view:
            view.close()
    if as_json:
        emit(summary)
    else:
        show(summary_text(summary))
    return Exit.OK if is_clean(summary) else Exit.ERROR


async def _until_told(demo: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Let SIGTERM end the demo as Ctrl-C does: with its exchanges, and without its directory."""
    running = asyncio.ensure_future(demo)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in served()]
    if unknown or len(set(names)) < 2:
        raise UsageError(
            f"--venues was {text!r}, at least two of {', '.join(served())} were expected"
        )
    return list(dict.fromkeys(names))


class _Lines:
    """Progress where there is no terminal: one line every two seconds."""

    def __init__(self) -> None:
        self._next_s = 2.0

    def __call__(self, node: Node, elapsed_s: float) -> None:
        if elapsed_s < self._next_s:
            return
        self._next_s = elapsed_s + 2.0
        core = node.core
        say(
            f"{elapsed_s:5.1f} s  {node.core.quotes.accepted} quotes  "
            f"{core.scanner.episodes} opportunities  {len(core.folds.pairs)} pairs open  "
            f"{node.tally.pairs_closed} closed  {node.tally.fills} fills"
        )
