"""Variables of the process and of `.env`, with their origin. The process wins.

`.env` is read by us and put into no process environment: a child never inherits a key from it. Its
values are taken as they stand (no `$` expansion: secrets contain dollars).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream

from perpbot.domain.masking import MASK
from perpbot.settings.problems import Layer, Origin, Problem
from perpbot.settings.unlocking import LazyKeystore

PREFIX = "PERPBOT__"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. Its text is never shown: it may be a key."""

    name: str
    text: str
    origin: Origin

    def __repr__(self) -> str:
        return f"Variable({self.name!r}, '{MASK}', {str(self.origin)!r})"


class Environment:
    """All variables that settings may read, and the keystore that they name.

    `shared_file` is a `.env` that others can read.
    """

    def __init__(
        self,
        process: Mapping[str, str] | None = None,
        dotenv: Mapping[str, Variable] | None = None,
        *,
        shared_file: Origin | None = None,
    ) -> None:
        self._process = {
            name: Variable(name, text, Origin(Layer.ENVIRONMENT, name))
            for name, text in (process or {}).items()
        }
        self._dotenv = dict(dotenv or {})
        self.shared_file = shared_file
        self.keystore = LazyKeystore(self)

    def __repr__(self) -> str:
        return f"Environment({len(self._process)} + {len(self._dotenv)} variables)"

    def get(self, name: str) -> Variable | None:
        """Return the variable that wins, or None. An empty text counts as not set."""
        for layer in (self._process, self._dotenv):
            variable = layer.get(name)
            if variable is not None and variable.text.strip():
                return variable
        return None

    def settings(self) -> Iterator[Variable]:
        """Yield every `PERPBOT__*` variable, `.env` first, in the order of precedence."""
        for layer in (self._dotenv, self._process):
            for name, variable in layer.items():
                if name.upper().startswith(PREFIX):
                    yield variable


def read_environment(
    process: Mapping[str, str], dotenv: Path | None = None
) -> tuple[Environment, list[Problem]]:
    """Join the process environment with one `.env` file, if there is one."""
    if dotenv is None:
        return Environment(process), []
    found: dict[str, Variable] = {}
    problems: list[Problem] = []
    place = str(dotenv)
    try:
        mode = dotenv.stat().st_mode
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        problem = Problem(f"cannot be read: {reason}", origin=Origin(Layer.DOTENV, place))
        return Environment(process), [problem]
    for binding in bindings:
        skipped = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:skipped].count("\n")
        origin = Origin(Layer.DOTENV, place, line)
        if binding.error:
            problems.append(Problem("is not a NAME=value line", origin=origin))
        elif binding.key is not None and binding.value is None:
            problems.append(Problem("has no value; write NAME=value", binding.key, origin))
        elif binding.key is not None and binding.key in found:
            first = found[binding.key].origin.line
            problems.append(Problem(f"is set twice, first on line {first}", binding.key, origin))
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = Variable(binding.key, binding.value, origin)
    shared = mode & (stat.S_IRWXG | stat.S_IRWXO)
    shared_file = Origin(Layer.DOTENV, place) if shared else None
    return Environment(process, found, shared_file=shared_file), problems
