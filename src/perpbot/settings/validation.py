"""Pydantic's view of the tree, in words for the person who wrote the file.

A wrong leaf hides the rules of its whole model. So after each round the wrong leaves are set
aside and the rest is validated again, until no new problem appears: one run lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perpbot.settings.fields import Missing, Path, key_of, locate
from perpbot.settings.layers import Layers
from perpbot.settings.problems import Problem
from perpbot.settings.secret import mask_value

RootT = TypeVar("RootT", bound=BaseModel)


def validate(
    root: type[RootT], layers: Layers
) -> tuple[RootT | None, list[Problem], frozenset[Path]]:
    """Return the settings, every problem, and the paths that had to be set aside for the former.

    With problems the settings are good for further checks only; without any settings at all the
    defaults themselves are wrong.
    """
    problems: list[Problem] = []
    aside: frozenset[Path] = frozenset()
    while True:
        try:
            settings = root.model_validate(layers.tree(aside))
        except ValidationError as error:
            wrong: set[Path] = set()
            for details in error.errors(include_url=False):
                paths = _leaves_of(details, layers)
                # A rule over a value that is already reported would only repeat the news.
                if not aside.intersection(paths):
                    problems.append(_describe(root, layers, details, paths))
                wrong.update(paths)
            if wrong <= aside:
                return None, problems, aside
            aside |= wrong
        else:
            return settings, problems, aside


def _leaves_of(details: ErrorDetails, layers: Layers) -> list[Path]:
    """Return the set leaves that an error is about; the section's own path if none is set."""
    location = tuple(str(step) for step in details["loc"])
    context: Mapping[str, Any] = details.get("ctx") or {}
    known = layers.paths()
    if details["type"] == "contradiction":
        wanted = [(*location, *str(key).split(".")) for key in context.get("keys", ())]
        hit = [path for path in known if any(path[: len(w)] == w for w in wanted)]
        return hit or wanted or [location]
    for depth in range(len(location), 0, -1):
        if location[:depth] in known:
            return [location[:depth]]
    return [location]


def _describe(
    root: type[BaseModel], layers: Layers, details: ErrorDetails, paths: list[Path]
) -> Problem:
    if details["type"] == "contradiction":
        key, origin = key_of(paths[0]), layers.origin(paths[0])
        return Problem(details["msg"], key, origin)
    location = details["loc"]
    leaf = paths[0]
    rest = location[len(leaf) :]
    node = layers.get(leaf)
    origin = layers.origin(leaf) if node is None else node.at(rest).origin
    key = key_of(location)
    value = node.at(rest).plain() if node is not None else details.get("input")
    shown = "nothing" if value in (None, "") else mask_value(key, value)
    return Problem(f"was {shown}: {_expected(root, leaf, rest, details)}", key, origin)


def _expected(
    root: type[BaseModel], leaf: Path, rest: tuple[str | int, ...], details: ErrorDetails
) -> str:
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "value_error" or rest:
        return message[:1].lower() + message[1:]
    where = locate(root, leaf)
    if isinstance(where, Missing) or where.note is None:
        return message[:1].lower() + message[1:]
    return f"{where.note.expected} was expected"
