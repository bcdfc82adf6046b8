"""What attends a running node and is no part of trading: any of it may fail, the node goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from perpbot import __version__
from perpbot.app.node import Node
from perpbot.app.protecting import protection_now
from perpbot.app.watching import health_of, sources_of
from perpbot.configuration import Configuration
from perpbot.console.access import Gate, keep_token
from perpbot.console.api import make_api
from perpbot.console.server import ConsoleServer, PortUnavailable
from perpbot.console.state import ConsoleState
from perpbot.domain.errors import ConfigError
from perpbot.domain.events import AlertFired
from perpbot.operations.decisions import DecisionFile
from perpbot.operations.guardianwatch import GuardianWatch
from perpbot.operations.killfile import KillFile
from perpbot.operations.looplag import watch_loop_lag
from perpbot.operations.memory import MemoryWatch
from perpbot.operations.metrics import Metrics, NodeCollector
from perpbot.operations.records.recorder import TradeRecorder
from perpbot.operations.records.task import RecorderTask
from perpbot.operations.statusfile import remove_status, write_status
from perpbot.settings import CONSOLE_TOKEN, read_secret

STATUS_INTERVAL_S = 1.0


class Attendants:
    """Kill file, health, tables, status file, metrics and console of one open node."""

    def __init__(
        self, node: Node, configuration: Configuration, say: Callable[[str], None]
    ) -> None:
        self._node = node
        self._configuration = configuration
        self._say = say
        settings = configuration.settings
        self._directory = settings.state_path
        sources = sources_of(node.core, __version__)
        self.health = health_of(node.core, sources)
        self.state = ConsoleState(sources, lambda: self.health.health)
        self._kill_file = KillFile(self._directory, node.core.kill_switch)
        self._decisions = DecisionFile(self._directory, node.core.risk, node.core.clock, say)
        self._recorder = RecorderTask(
            lambda: TradeRecorder(self._directory / "records.db", self._directory / "journal"),
            newest=lambda: node.memory.journal.last_sequence,
            alarm=self._alarm,
        )
        self._metrics = Metrics(
            NodeCollector(sources, lambda: self.health.health, lambda: self._recorder.behind)
        )
        self._memory = MemoryWatch(
            settings.health.memory_soft_mb,
            settings.health.memory_hard_mb,
            strain=lambda active: node.core.strain("memory", active=active),
            alarm=lambda text: self._tell("memory", "memory", text),
            fail=node.fail,
        )
        self._console: ConsoleServer | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Start everything; return the console's address, "" where it does not listen."""
        keep = self._node.supervisor.keep
        keep("kill file", self._kill_file.run)
        keep("decisions", self._decisions.run)
        keep("health", self.health.run)
        keep("loop lag", lambda: watch_loop_lag(self._note_lag))
        keep("memory", self._memory.run)
        keep("tables", self._recorder.run)
        keep("status file", self._write_status)
        if self._configuration.settings.guardian.enabled:
            keep("guardian", GuardianWatch(self._directory, self._unguarded).run)
        return self._start_console()

    async def stop(self) -> None:
        """End the console; the tables catch up at the next start or export."""
        if self._console is not None and self._serving is not None:
            await self._console.stop(self._serving)
        remove_status(self._directory)

    # --- the console ---

    def _start_console(self) -> str:
        settings = self._configuration.settings
        if not settings.console.enabled:
            return ""
        try:
            token = self._token()
            gate = Gate(
                settings.console.host,
                settings.console.port,
                token,
                behind_proxy=settings.console.behind_proxy,
                hosts=settings.console.allowed_hosts,
                clock=self._node.core.clock,
            )
            metrics = self._metrics.text if settings.metrics.enabled else None
            app = make_api(self.state, gate, metrics)
            console = ConsoleServer(app, settings.console.host, settings.console.port)
        except (PortUnavailable, ConfigError) as error:
            self._say(str(error))
            return ""
        self._console = console
        self._serving = self._node.supervisor.run("console", console.run())
        return console.url

    def _token(self) -> str:
        given, problems = read_secret(CONSOLE_TOKEN, self._configuration.environment)
        if problems:
            raise ConfigError("\n".join(map(str, problems)))
        return given.reveal() if given else keep_token(self._directory / "console.token")

    # --- small tasks ---

    async def _write_status(self) -> None:
        while True:
            write_status(self._directory, self._status())
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _status(self) -> dict[str, Any]:
        return {
            "ts_ns": self._node.core.clock.now_ns(),
            "overview": self.state.overview(),
            "health": self.state.health(),
            "pairs": self.state.pairs()["open"],
            "positions": self.state.positions(),
            "capital": self.state.capital(),
            "risk": self.state.risk(),
            "protection": msgspec.to_builtins(protection_now(self._node)),
        }

    def _note_lag(self, lag_ms: float) -> None:
        self.health.loop_lag_ms = max(self.health.loop_lag_ms, lag_ms)

    def _unguarded(self, text: str) -> None:
        self._tell("guardian", "guardian_missing", text)

    def _alarm(self, text: str) -> None:
        self._tell("tables", "records_behind", text)

    def _tell(self, source: str, name: str, text: str) -> None:
        self._node.core.bus.publish(
            AlertFired(
                ts_ns=self._node.core.clock.now_ns(),
                source=source,
                name=name,
                severity="warning",
                text=text,
            )
        )
