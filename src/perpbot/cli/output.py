"""What commands print, and how they end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import typer

from perpbot.domain.errors import ConfigError, InvalidValue, PerpbotError, RiskDenied, VenueError


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_RUNNING = 3
    CONFIG = 4
    TIMEOUT = 5
    REFUSED = 6
    VENUE = 7
    INTERRUPTED = 130


LAST_STREAM = 2
"""Number of standard error."""


class UsageError(PerpbotError):
    """An argument that does not fit; the text names it, its value and what would be right."""


def open_streams() -> None:
    """Put the null device where standard input, output or error were closed (`>&-`).

    The next file to be opened would take the free number: a journal could get what is printed.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= LAST_STREAM:
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def say(text: str) -> None:
    """Write a line for people to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def emit(data: Any) -> None:
    """Write data as one JSON document to standard output."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def show(text: str) -> None:
    """Write the answer of a command for people to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(text: str, code: Exit = Exit.ERROR) -> NoReturn:
    """End with an error; the text says what to do next."""
    say(f"perpbot: {text}")
    raise typer.Exit(code)


def words_of(error: BaseException) -> str:
    """Return what an error says, with the file first where the system refused one."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def exit_code(error: BaseException) -> Exit:
    """Return the exit code that an error stands for."""
    if isinstance(error, UsageError):
        return Exit.USAGE
    if isinstance(error, ConfigError):
        return Exit.CONFIG
    if isinstance(error, RiskDenied):
        return Exit.REFUSED
    if isinstance(error, VenueError):
        return Exit.VENUE
    if isinstance(error, TimeoutError):
        return Exit.TIMEOUT
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    return Exit.ERROR


@contextmanager
def argument(name: str = "") -> Iterator[None]:
    """Let what is refused inside be the fault of an argument, not of settings or records."""
    try:
        yield
    except (ConfigError, InvalidValue) as error:
        raise UsageError(f"{name}: {error}" if name else str(error)) from None


def readable(path: Path) -> None:
    """Raise `UsageError` where no file is at `path`."""
    try:
        path.stat()
    except FileNotFoundError as error:
        raise UsageError(words_of(error)) from None


def guarded(work: Callable[[], int]) -> NoReturn:
    """Run a command; turn errors of ours into one line and their exit code."""
    try:
        code = work()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.ERROR) from None
    except (PerpbotError, OSError, TimeoutError) as error:
        fail(words_of(error), exit_code(error))
    except KeyboardInterrupt:
        fail("interrupted", Exit.INTERRUPTED)
    raise typer.Exit(code)


def config_paths(files: Sequence[Path] | None) -> list[Path]:
    """Return the files of `-c`, or those of the working directory."""
    from perpbot.configuration import find_config_files

    return list(files) if files else find_config_files(Path())
