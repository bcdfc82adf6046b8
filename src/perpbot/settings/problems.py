"""Where a value came from, and what is wrong with it.

Every problem is one line: place, key, value, what would be right. `SettingsError` carries them
all, never only the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from perpbot.domain.errors import ConfigError


class Layer(IntEnum):
    """The layers of settings; a higher one wins."""

    DEFAULT = 0
    MODE = 1
    FILE = 2
    DOTENV = 3
    ENVIRONMENT = 4
    FLAG = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: its layer, a file, variable or flag, and a line where there is one."""

    layer: Layer
    place: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.layer:
            case Layer.DEFAULT:
                return "default"
            case Layer.MODE:
                return f"default in {self.place}"
            case Layer.ENVIRONMENT:
                return f"environment {self.place}"
            case Layer.FLAG:
                return f"flag {self.place}"
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with the words to put it right."""

    message: str
    key: str = ""
    origin: Origin | None = None

    def __str__(self) -> str:
        place = "" if self.origin is None else f"{self.origin}: "
        key = f"{self.key} " if self.key else ""
        return f"{place}{key}{self.message}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule broken by values that are right one by one. `keys` say where to look first."""

    message: str
    keys: tuple[str, ...] = ()


class SettingsError(ConfigError):
    """Settings that cannot be used. `problems` has every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
