"""What ties a node to those who watch it: its heartbeat, the guardian's fence, systemd.

All of it hangs on the core's own step: the timer publishes a heartbeat on the bus, and only when
the core handles it does anybody hear of it. A core that has halted or hangs falls silent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from perpbot.app.core import Core
from perpbot.domain.errors import PerpbotError
from perpbot.domain.events import AlertFired, Heartbeat
from perpbot.guardian.bootclock import boot_ns
from perpbot.guardian.epoch import Epoch, read_epoch
from perpbot.guardian.pulse import Pulse
from perpbot.guardian.settings import GuardianSettings
from perpbot.guardian.turns import TurnGuard
from perpbot.kernel.clock import SECOND, Timers
from perpbot.operations.servicemanager import ServiceManager

CORE = "core"


class Lifeline:
    """See the module. One run of a node has one."""

    def __init__(
        self,
        directory: Path,
        settings: GuardianSettings,
        *,
        run: str,
        turns: TurnGuard | None = None,
        manager: ServiceManager | None = None,
        clock_ns: Callable[[], int] = boot_ns,
    ) -> None:
        """`turns` is the selector of the loop, where it is ours."""
        self._directory = directory
        self._settings = settings
        self._run = run
        self._turns = turns
        self._manager = manager or ServiceManager({})
        self._clock_ns = clock_ns
        self._pulse: Pulse | None = None
        self._mute = False

    def takeover(self) -> Epoch | None:
        """Return when a guardian last took over. Raises `StateConflict` for a damaged file."""
        return read_epoch(self._directory)

    def begin(self, core: Core, timers: Timers) -> None:
        """Beat from now on. Raises `TakenOver` when a guardian acts at this moment."""
        self._core = core
        self._timers = timers
        pulse = Pulse(
            self._directory,
            run=self._run,
            epoch=core.epoch,
            lease_s=self._settings.lease_s,
            clock_ns=self._clock_ns,
        )
        try:
            pulse.beat()
        except BaseException:
            pulse.close()
            raise
        self._pulse = pulse
        core.bus.subscribe(Heartbeat, self._beat)
        if self._turns is not None:
            self._turns.arm(int(self._settings.lease_s * SECOND), self._after_gap)
        self._tick_later()
        self._manager.ready()

    def check(self) -> None:
        """Let a send pass, or raise `TakenOver`."""
        if self._pulse is not None:
            self._pulse.check()

    def end(self, *, in_order: bool) -> None:
        """Beat no more; `in_order` says that nothing was left half done."""
        if self._turns is not None:
            self._turns.disarm()
        pulse, self._pulse = self._pulse, None
        if pulse is None:
            return
        if in_order:
            pulse.end()
        else:
            pulse.close()

    def _tick_later(self) -> None:
        interval_ns = int(self._settings.heartbeat_interval_s * SECOND)
        self._timers.call_later(interval_ns, self._tick)

    def _tick(self) -> None:
        if self._core.bus.halted is None:
            self._tick_later()
            self._core.bus.publish(Heartbeat(ts_ns=self._core.clock.now_ns(), component=CORE))

    def _beat(self, event: Heartbeat) -> None:
        if event.component != CORE or self._pulse is None:
            return
        try:
            self._pulse.beat()
        except OSError as error:
            self._tell(error)
        else:
            self._mute = False
        self._manager.alive()

    def _tell(self, error: OSError) -> None:
        if not self._mute:
            self._mute = True
            text = f"the heartbeat cannot be written, a guardian will take over: {error}"
            self._core.bus.publish(
                AlertFired(
                    ts_ns=self._core.clock.now_ns(),
                    name="heartbeat_not_written",
                    severity="critical",
                    text=text,
                )
            )

    def _after_gap(self) -> None:
        """The process stood still. Before any task goes on, see whether it still may."""
        if self._pulse is None:
            return
        try:
            self._pulse.check()  # which beats before it looks, as after any gap
        except PerpbotError as error:
            self._core.bus.halt(error)
