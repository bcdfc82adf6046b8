"""Logs: facts with fields, on stderr for people and in a rotating file for machines.

stdout is never written: with `--json` it carries data only. Every line names the mode. Secrets are
masked before anything is formatted. The file is written by its own thread from a bounded queue; a
full queue drops lines and says how many when it is stopped, and never delays a trade.

    logs = start_logging(LoggingSettings(), mode=Mode.PAPER, directory=Path("logs"))
    logger = structlog.get_logger("perpbot.execution")
    logger.info("order sent", venue="okx", client_id="...")
    logs.stop()
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from perpbot.settings.model import SettingsModel, setting
from perpbot.settings.modes import Mode
from perpbot.settings.redaction import Redactor

FILE_NAME = "perpbot.log"


class LogLevel(StrEnum):
    """How much is said."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LoggingSettings(SettingsModel):
    """What is logged, and for how long it is kept."""

    level: LogLevel = setting(LogLevel.INFO, "Least important level that is logged.")
    to_file: bool = setting(
        default=True, description="Write JSON lines to a file in paths.log_dir as well."
    )
    keep_days: int = setting(
        30, "Days that a finished log file is kept.", unit="days", ge=1, le=3650
    )
    queue_size: int = setting(
        10_000,
        "Lines that may wait for the disk; beyond it lines are dropped and counted.",
        unit="lines",
        ge=100,
        le=1_000_000,
    )


class Logs:
    """The running log. `stop` writes what waits and lets go of the file."""

    def __init__(
        self,
        root: logging.Logger,
        handlers: list[logging.Handler],
        redactor: Redactor,
        listener: logging.handlers.QueueListener | None = None,
        file_handler: logging.Handler | None = None,
    ) -> None:
        self.redactor = redactor
        self._root = root
        self._handlers = handlers
        self._counting = [h for h in handlers if isinstance(h, _CountingQueueHandler)]
        self._listener = listener
        self._file_handler = file_handler
        self._hooks = (threading.excepthook, sys.unraisablehook)
        threading.excepthook, sys.unraisablehook = _thread_failed, _not_raised

    @property
    def dropped(self) -> int:
        """Lines that did not fit the queue to the file."""
        return sum(handler.dropped for handler in self._counting)

    def stop(self) -> None:
        """Flush and detach. Calling it twice is harmless."""
        if not self._handlers:
            return
        threading.excepthook, sys.unraisablehook = self._hooks
        for handler in self._handlers:
            self._root.removeHandler(handler)
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        if self._file_handler is not None:
            self._file_handler.close()
            self._file_handler = None
        for handler in self._handlers:
            handler.flush()
        if self.dropped:
            sys.stderr.write(f"{self.dropped} log lines were dropped: the disk was too slow\n")
        self._handlers = []


def start_logging(
    settings: LoggingSettings,
    *,
    mode: Mode,
    directory: Path | None = None,
    redactor: Redactor | None = None,
    stream: TextIO | None = None,
) -> Logs:
    """Configure structlog and the standard library's loggers, and start the file's thread.

    `directory` None or `to_file` false means console only. `stream` defaults to stderr. Register
    credentials with `redactor` as soon as they are read. Raises OSError if the directory cannot be
    made or written.
    """
    redactor = redactor or Redactor()
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.level.value.upper()]
    _configure_structlog()
    ours: list[Processor] = [
        _AddMode(mode),
        structlog.processors.format_exc_info,
        _Redact(redactor),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    ]
    console = logging.StreamHandler(stream)
    renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)
    console.setFormatter(_formatter(ours, renderer))
    handlers: list[logging.Handler] = [console]
    listener = None
    file_handler = None
    if settings.to_file and directory is not None:
        file_handler = _file_handler(directory, settings.keep_days)
        file_handler.setFormatter(_formatter(ours, structlog.processors.JSONRenderer()))
        lines: queue.Queue[Any] = queue.Queue(settings.queue_size)
        handlers.append(_CountingQueueHandler(lines))
        listener = logging.handlers.QueueListener(lines, file_handler)
        listener.start()
    root = logging.getLogger()
    root.setLevel(level)
    for handler in handlers:
        root.addHandler(handler)
    return Logs(root, handlers, redactor, listener, file_handler)


def _configure_structlog() -> None:
    """On the caller's side only what depends on it: context, time, traceback."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Log what ended a thread: Python itself would print it with every secret in it."""
    name = failure.thread.name if failure.thread else "unknown"
    _log_failure(f"thread {name} ended", failure.exc_value)


def _not_raised(failure: sys.UnraisableHookArgs) -> None:
    """Log an error in a finaliser, which nobody can catch."""
    _log_failure(failure.err_msg or "an error could not be raised", failure.exc_value)


def _log_failure(text: str, error: BaseException | None) -> None:
    # Named here: this module shares its name with one of the library's.
    logging.getLogger("perpbot.failure").critical(text, exc_info=error)


class _PrivateFileHandler(logging.handlers.TimedRotatingFileHandler):
    """Makes files that only their owner can read: they tell what the account does."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

        return cast(
            "TextIOWrapper",
            open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener),
        )


def _file_handler(directory: Path, keep_days: int) -> logging.handlers.TimedRotatingFileHandler:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _PrivateFileHandler(
        directory / FILE_NAME,
        when="midnight",
        backupCount=keep_days,
        encoding="utf-8",
        utc=True,
    )


def _formatter(ours: list[Processor], last: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            _StampRecord(),
        ],
        processors=[*ours, last],
    )


class _StampRecord:
    """Stamps a line of another library with the time of its record, not of its writing."""

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        created = datetime.fromtimestamp(event["_record"].created, UTC)
        event["timestamp"] = created.isoformat().replace("+00:00", "Z")
        return event


class _AddMode:
    def __init__(self, mode: Mode) -> None:
        self._mode = mode.value

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["mode"] = self._mode
        return event


class _Redact:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        kept = {name: event[name] for name in ("_record", "_from_structlog") if name in event}
        rest = {name: value for name, value in event.items() if name not in kept}
        return {**cast("dict[str, Any]", self._redactor.value(rest)), **kept}


class _CountingQueueHandler(logging.handlers.QueueHandler):
    """Hands records to the writer's thread as they are; counts those that do not fit."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # The standard method formats here, on the caller's time, and loses the event's fields.
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
