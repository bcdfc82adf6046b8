"""Logs: where lines go, what is on each, what never is."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import queue
import stat
import sys
import threading
from collections.abc import Iterator
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Any

import pytest
import structlog

from perpbot.settings import LoggingSettings, Mode, Redactor, Secret, start_logging
from perpbot.settings.logging import FILE_NAME

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Put the root logger and structlog back."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of the file."""
    return [json.loads(line) for line in (directory / FILE_NAME).read_text().splitlines()]


def test_each_line_goes_to_the_stream_and_as_json_to_the_file(tmp_path: Path) -> None:
    """People and machines read the same facts, each with the mode."""
    stream = io.StringIO()
    logs = start_logging(
        LoggingSettings(), mode=Mode.TESTNET, directory=tmp_path / "logs", stream=stream
    )
    structlog.contextvars.bind_contextvars(correlation="c-1")
    structlog.get_logger("perpbot.test").info("order sent", venue="okx", count=3)
    logging.getLogger("other").warning("plain %s", "words")
    logs.stop()
    logs.stop()

    first, second = lines(tmp_path / "logs")
    assert (
        first.items()
        >= {
            "event": "order sent",
            "venue": "okx",
            "count": 3,
            "correlation": "c-1",
            "level": "info",
            "logger": "perpbot.test",
            "mode": "testnet",
        }.items()
    )
    assert second["event"] == "plain words"
    assert second["mode"] == "testnet"
    assert second["logger"] == "other"
    assert first["timestamp"].endswith("Z")
    assert second["timestamp"].endswith("Z")
    assert "order sent" in stream.getvalue()
    assert "testnet" in stream.getvalue()
    assert logs.dropped == 0


def test_stdout_stays_pure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, stdout is data; logs are on stderr."""
    logs = start_logging(LoggingSettings(), mode=Mode.PAPER)
    structlog.get_logger("x").warning("something")
    logs.stop()

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "something" in captured.err


def test_no_secret_reaches_a_line(tmp_path: Path) -> None:
    """In events, fields, errors and other libraries' messages, registered before or after."""
    stream = io.StringIO()
    redactor = Redactor()
    logs = start_logging(
        LoggingSettings(), mode=Mode.LIVE, directory=tmp_path, stream=stream, redactor=redactor
    )
    redactor.register([Secret(SECRET)])
    logger = structlog.get_logger("x")
    told = f"text {SECRET}"
    logger.info(told, url=f"https://x/?signature=abc&k={SECRET}", api_key="zzz-1")
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("failed")
        logging.getLogger("lib").exception("also failed")
    logging.getLogger("lib").error("GET %s", f"/?k={SECRET}&signature=abc")
    logs.stop()

    written = (tmp_path / FILE_NAME).read_text()
    for text in (written, stream.getvalue()):
        assert SECRET not in text
        assert "signature=abc" not in text
        assert "zzz-1" not in text
    assert written.count("Traceback") == 2


def test_what_nobody_caught_is_logged_without_secrets(tmp_path: Path) -> None:
    """Python would print it as it is: threads and finalisers go through the log as well."""
    stream = io.StringIO()
    before = (threading.excepthook, sys.unraisablehook)
    logs = start_logging(
        LoggingSettings(),
        mode=Mode.LIVE,
        directory=tmp_path,
        stream=stream,
        redactor=Redactor([Secret(SECRET)]),
    )

    def fail() -> None:
        raise ValueError(SECRET)

    class Fragile:
        def __del__(self) -> None:
            fail()

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Fragile()
    gc.collect()
    logs.stop()

    assert (threading.excepthook, sys.unraisablehook) == before
    text = stream.getvalue()
    assert SECRET not in text + (tmp_path / FILE_NAME).read_text()
    assert "thread worker ended" in text
    assert text.count("ValueError") >= 2


def test_log_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """They tell what the account does; a link in their place is not followed."""
    directory = tmp_path / "logs" / "paper"
    before = os.umask(0)
    try:
        start_logging(
            LoggingSettings(), mode=Mode.PAPER, directory=directory, stream=io.StringIO()
        ).stop()
    finally:
        os.umask(before)

    assert stat.S_IMODE((directory / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (directory / FILE_NAME).unlink()
    (directory / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        start_logging(LoggingSettings(), mode=Mode.PAPER, directory=directory)


def test_the_level_is_kept(tmp_path: Path) -> None:
    """Lines below the level cost nothing and go nowhere."""
    logs = start_logging(
        LoggingSettings.model_validate({"level": "warning"}),
        mode=Mode.PAPER,
        directory=tmp_path,
        stream=io.StringIO(),
    )
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    logs.stop()

    assert [line["event"] for line in lines(tmp_path)] == ["loud"]


def test_files_rotate_daily_in_utc_and_are_kept_as_long_as_set(tmp_path: Path) -> None:
    """Thirty days unless told otherwise."""
    logs = start_logging(
        LoggingSettings(), mode=Mode.PAPER, directory=tmp_path, stream=io.StringIO()
    )
    handler = logs._file_handler
    logs.stop()

    assert isinstance(handler, TimedRotatingFileHandler)
    assert (handler.when, handler.utc, handler.backupCount) == ("MIDNIGHT", True, 30)


def test_no_file_is_written_when_told_so(tmp_path: Path) -> None:
    """`to_file: false` means console only."""
    logs = start_logging(
        LoggingSettings.model_validate({"to_file": False}),
        mode=Mode.PAPER,
        directory=tmp_path / "logs",
        stream=io.StringIO(),
    )
    logs.stop()

    assert not (tmp_path / "logs").exists()


def test_a_full_queue_drops_lines_and_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slow disk never delays a trade, and the loss is told."""
    logs = start_logging(
        LoggingSettings.model_validate({"queue_size": 100}),
        mode=Mode.PAPER,
        directory=tmp_path,
        stream=io.StringIO(),
    )
    assert logs._listener is not None
    logs._listener.stop()
    handler = logs._counting[0]
    for _ in range(150):
        structlog.get_logger("x").info("line")
    waiting = handler.queue
    assert isinstance(waiting, queue.Queue)
    while not waiting.empty():
        waiting.get_nowait()
    logs._listener.start()
    logs.stop()

    assert logs.dropped == 50
    assert "50 log lines were dropped" in capsys.readouterr().err
