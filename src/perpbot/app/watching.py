"""What looks at a node from inside the process: the sources, and the terminal's view."""

from __future__ import annotations

import sys

from perpbot.app.core import Core
from perpbot.app.node import Node
from perpbot.console.state import ConsoleState
from perpbot.console.terminal import LiveView
from perpbot.operations.health import HealthMonitor
from perpbot.operations.sources import Sources


def sources_of(core: Core, version: str) -> Sources:
    """Return what may be looked at in a core."""
    return Sources(
        mode=core.settings.mode.value,
        version=version,
        started_ns=core.clock.now_ns(),
        venues=tuple(core.markets.capabilities),
        instruments=core.markets.instruments,
        clock=core.clock,
        bus=core.bus,
        quotes=core.quotes,
        scanner=core.scanner,
        pairs=core.folds.pairs,
        orders=core.folds.orders,
        positions=core.folds.positions,
        aggregator=core.aggregator,
        capital=core.capital,
        snapshots=core.snapshots,
        equity=core.folds.equity,
        transfers=core.folds.transfers,
        latches=core.folds.latches,
        readiness=core.readiness,
        kill_switch=core.kill_switch,
        risk=core.risk,
        refused=core.engine.refused,
    )


def health_of(core: Core, sources: Sources) -> HealthMonitor:
    """Return the judge of a core."""
    return HealthMonitor(
        sources,
        core.settings.health,
        snapshot_max_age_s=core.settings.capital.snapshot_max_age_s,
    )


class TerminalWatcher:
    """Draws the node; made before it is open, so it looks for its parts at the first picture."""

    def __init__(self) -> None:
        self.health: HealthMonitor | None = None
        """Who judges; None (in a demo) lets the view judge by itself."""
        self._view: LiveView | None = None
        self._judge_at_s = 0.0
        self._judges = False

    def __call__(self, node: Node, elapsed_s: float) -> None:
        """Draw the picture of this moment."""
        if self._view is None:
            self._view = self._begin(node)
        if self.health is not None and self._judges and elapsed_s >= self._judge_at_s:
            self._judge_at_s = elapsed_s + node.settings.health.interval_s
            self.health.judge()
        self._view.show(elapsed_s)

    def _begin(self, node: Node) -> LiveView:
        sources = sources_of(node.core, "")
        if self.health is None:
            self._judges = True
            self.health = health_of(node.core, sources)
        health = self.health
        return LiveView(ConsoleState(sources, lambda: health.health))

    def say(self, text: str) -> None:
        """Show a line at the foot of the picture; before there is one, on standard error."""
        if self._view is None:
            sys.stderr.write(text + "\n")
        else:
            self._view.say(text)

    def close(self) -> None:
        """Leave the last picture and give the terminal back."""
        if self._view is not None:
            self._view.close()
            self._view = None
