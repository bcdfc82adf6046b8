"""Where a node keeps its things, for commands that look at it from outside.

These commands (status, kill, journal, explain, export) must work however the node was started, so
they read the settings without the locks that guard a start.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perpbot.cli.output import UsageError, config_paths

if TYPE_CHECKING:
    from perpbot.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one mode."""

    mode: str
    state: Path
    logs: Path
    configuration: Configuration
    """As it was read: without the locks that guard a start."""

    @property
    def journal(self) -> Path:
        """The journal's directory. Raises `UsageError` where there is none yet."""
        path = self.state / "journal"
        if not path.is_dir():
            raise UsageError(
                f"{path} does not exist: no node has run in mode {self.mode} here "
                "(see --mode and paths.state_dir)"
            )
        return path


def person() -> str:
    """Return who gives a command, as the journal names them.

    A container may run as a user that no file knows: a kill must not fail for the want of a name.
    """
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.geteuid()}"


def dotenv() -> Path | None:
    """Return the `.env` of the working directory, if there is one."""
    path = Path(".env")
    return path if os.path.lexists(path) else None


def place_of(files: Sequence[Path] | None, mode: str | None) -> Place:
    """Return the directories that the configuration names for `mode`."""
    from perpbot.configuration import MODE_DEFAULTS, OLD_KEYS, Settings
    from perpbot.settings import Flag, Mode, Sources, load, read_environment

    if mode is not None and mode not in set(Mode):
        raise UsageError(f"--mode was {mode!r}, one of {', '.join(Mode)} was expected")
    environment, problems = read_environment(os.environ, dotenv())
    flags = () if mode is None else (Flag("mode", "--mode", mode),)
    loaded = load(
        Settings,
        Sources(files=config_paths(files), environment=environment, flags=flags),
        aliases=OLD_KEYS,
        profiles=MODE_DEFAULTS,
        problems=problems,
    )
    settings = loaded.settings
    return Place(
        mode=settings.mode.value,
        state=settings.state_path,
        logs=settings.log_path,
        configuration=loaded,
    )
