"""`perpbot run`: the node, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from perpbot.app.run import run_node
from perpbot.app.watching import TerminalWatcher
from perpbot.cli.output import Exit, UsageError, config_paths, emit, exit_code, say
from perpbot.cli.place import dotenv
from perpbot.cli.process import private_process, until_told
from perpbot.configuration import Configuration, credentials_of, load_configuration
from perpbot.domain.errors import ConfigError, PerpbotError
from perpbot.guardian.turns import TurnGuard
from perpbot.operations.killsignals import KillSignals
from perpbot.settings import Flag, Mode, Redactor, start_logging

_log = structlog.get_logger("perpbot.run")


def mode_flag(*, paper: bool, testnet: bool, live: bool) -> tuple[Flag, ...]:
    """Return the flag that the command line sets, if any. Raises `UsageError` for two modes."""
    chosen = [
        (name, mode)
        for name, mode, given in (
            ("--paper", Mode.PAPER, paper),
            ("--testnet", Mode.TESTNET, testnet),
            ("--live", Mode.LIVE, live),
        )
        if given
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(name for name, _ in chosen)} exclude each other")
    return tuple(Flag("mode", name, mode.value) for name, mode in chosen)


def run_run(
    *,
    paper: bool,
    testnet: bool,
    live: bool,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Run; 0 after an orderly end."""
    with private_process():
        return _run_privately(
            mode_flag(paper=paper, testnet=testnet, live=live), as_json=as_json, files=files
        )


def _run_privately(flags: tuple[Flag, ...], *, as_json: bool, files: Sequence[Path] | None) -> int:
    configuration = load_configuration(
        config_paths(files),
        environ=os.environ,
        dotenv=dotenv(),
        flags=flags,
    )
    if configuration.settings.mode in {Mode.DEMO, Mode.REPLAY}:
        raise ConfigError(
            f"mode was {configuration.settings.mode.value}: paper, testnet or live was expected "
            "(perpbot demo runs the demo)"
        )
    for warning in configuration.warnings:
        say(str(warning))
    watched = sys.stderr.isatty() and not as_json
    settings = configuration.settings
    # The view takes the whole terminal: lines of the log then go to the file alone.
    stream = Path(os.devnull).open("w") if watched else None  # noqa: SIM115 - lives with the logs
    for chatty in ("alembic", "picows", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logs = start_logging(
        settings.logging, mode=settings.mode, directory=settings.log_path, stream=stream
    )
    try:
        for venue in settings.enabled_venues:
            logs.redactor.register(credentials_of(configuration, venue).values())
        watcher = TerminalWatcher() if watched else None
        turns = TurnGuard()
        with asyncio.Runner(loop_factory=turns.loop) as runner:
            runner.run(_run(configuration, watcher, turns))
    except Exception as error:  # noqa: BLE001 - reported here, where the secrets are known
        return _failed(error, logs.redactor)
    finally:
        logs.stop()
        if stream is not None:
            stream.close()
    if as_json:
        emit({"mode": settings.mode.value, "ended": "in good order"})
    return Exit.OK


def _failed(error: Exception, redactor: Redactor) -> int:
    """Say what ended the run; an error may quote a request, and a request its signature."""
    if isinstance(error, (PerpbotError, OSError)):
        say(f"perpbot: {redactor.text(str(error))}")
    else:
        _log.critical("ended by an error of perpbot itself", exc_info=error)
    return exit_code(error)


async def _run(
    configuration: Configuration, watcher: TerminalWatcher | None, turns: TurnGuard
) -> None:
    stop, kills = until_told(), KillSignals()
    kills.listen(asyncio.get_running_loop())
    try:
        await run_node(
            configuration, stop, say=_speaker(watcher), watch=watcher, turns=turns, kills=kills
        )
    finally:
        if watcher is not None:
            watcher.close()


def _speaker(watcher: TerminalWatcher | None) -> Callable[[str], None]:
    """Say things in the log, and in the view where there is one."""

    def speak(text: str) -> None:
        _log.info(text)
        if watcher is not None:
            watcher.say(text)

    return speak
