"""The kill switch as signals: the way that needs no disk, no console and no network.

SIGUSR1 is level 2 (no opens, cancel what rests), SIGUSR2 is level 4 (flatten everything). SIGTERM
and SIGINT are not the kill switch: they end the process in order and latch nothing.
"""

from __future__ import annotations

import asyncio
import signal

from perpbot.execution.killswitch import KillSwitch

LEVELS_BY_SIGNAL = {signal.SIGUSR1: 2, signal.SIGUSR2: 4}


class KillSignals:
    """Listens from before a node is there; what came early reaches the first one."""

    def __init__(self) -> None:
        self._switch: KillSwitch | None = None
        self._waiting: list[signal.Signals] = []

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals from now on."""
        for number in LEVELS_BY_SIGNAL:
            loop.add_signal_handler(number, self.take, number)

    def take(self, number: signal.Signals) -> None:
        """Engage the level of a signal, or keep it for the node that is still starting."""
        if self._switch is None:
            self._waiting.append(number)
        else:
            self._switch.engage(
                LEVELS_BY_SIGNAL[number], actor="signal", reason=signal.Signals(number).name
            )

    def attach(self, switch: KillSwitch) -> None:
        """Send signals here from now on, those that came before included."""
        self._switch = switch
        waiting, self._waiting = self._waiting, []
        for number in waiting:
            self.take(number)

    def detach(self) -> None:
        """Keep signals for the next node."""
        self._switch = None
