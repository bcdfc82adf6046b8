"""The keys that a tree of settings models knows: types, ranges, units, texts, and near misses."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perpbot.domain.errors import InvalidValue
from perpbot.settings.model import field_extra

Path = tuple[str, ...]
FREE = "*"
"""Stands for a key that the user chooses, such as a symbol."""


@dataclass(frozen=True, slots=True)
class KeyReader:
    """Marks the key type of a mapping: `read` turns any spelling into the one we use."""

    read: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class FieldNote:
    """One leaf of the tree, as the documentation shows it."""

    key: str
    type_name: str
    description: str
    unit: str
    default: object
    limits: str
    override: bool
    text_only: bool

    @property
    def expected(self) -> str:
        """Say what a right value is, for a message."""
        kind = self.type_name.removesuffix(" or nothing")
        if kind == "a list":
            kind = "a list such as [a, b]"
        unit = f" in {self.unit}" if self.unit else ""
        return f"{kind}{unit}, {self.limits}" if self.limits else f"{kind}{unit}"


@dataclass(frozen=True, slots=True)
class Located:
    """Where a path leads: `path` in our spelling; a section, or a leaf with its note."""

    path: Path
    note: FieldNote | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A path that leads nowhere: the part that was understood, and what could stand there."""

    known: Path
    wrong: str
    choices: tuple[str, ...]
    reason: str = ""


def key_of(path: Sequence[str | int]) -> str:
    """Write a path as a dotted key."""
    return ".".join(str(step) for step in path)


def locate(root: type[BaseModel], path: Path) -> Located | Missing:
    """Follow `path` through the models; free keys come back in our own spelling."""
    kind: Any = root
    seen: Path = ()
    field: FieldInfo | None = None
    for step in path:
        kind = _strip(kind)
        if _is_model(kind):
            fields = kind.model_fields
            if step not in fields:
                return Missing(seen, step, tuple(fields))
            field = fields[step]
            kind = field.annotation
        elif get_origin(kind) is dict and _is_model(_strip(get_args(kind)[1])):
            key_type, kind = get_args(kind)
            field = None
            try:
                seen = (*seen, _read_key(key_type, step))
            except InvalidValue as error:
                return Missing(seen, step, (), str(error))
            continue
        else:
            return Missing(seen, step, ())
        seen = (*seen, step)
    stripped = _strip(kind)
    is_section = _is_model(stripped) or (
        get_origin(stripped) is dict and _is_model(_strip(get_args(stripped)[1]))
    )
    return Located(seen, None if is_section or field is None else _note(key_of(seen), field))


def leaves(root: type[BaseModel]) -> Iterator[FieldNote]:
    """Yield every leaf in the order of declaration; free keys are written `*`."""
    yield from _leaves(root, ())


def sections(root: type[BaseModel]) -> dict[str, str]:
    """Return the description of every section by its dotted key."""
    found: dict[str, str] = {}

    def walk(model: type[BaseModel], path: Path) -> None:
        for name, field in model.model_fields.items():
            kind, free = _inner_model(field.annotation)
            if kind is not None:
                here = (*path, name, *free)
                found[key_of(here)] = field.description or (kind.__doc__ or "").strip()
                walk(kind, here)

    walk(root, ())
    return found


def suggest(wrong: str, choices: Sequence[str]) -> str:
    """Return `; did you mean X?`, or nothing where no choice is near."""
    near = difflib.get_close_matches(wrong.lower(), list(choices), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


MAX_CHOICES = 8
"""What stands beside a misspelt part is listed up to here."""


def suggest_key(root: type[BaseModel], path: Path, missing: Missing) -> str:
    """Suggest the nearest key: first a neighbour of the misspelt part, then any key at all."""
    if missing.reason:
        return f": {missing.reason}"
    if "." in missing.wrong:
        return "; write it nested: each part on a line of its own, indented below the one before"
    beside = suggest(missing.wrong, missing.choices)
    if beside:
        name = beside.removeprefix("; did you mean ").removesuffix("?")
        nearer = (*missing.known, name, *path[len(missing.known) + 1 :])
        beyond = locate(root, nearer)
        if isinstance(beyond, Missing):
            return suggest_key(root, nearer, beyond)
        return f"; did you mean {key_of(nearer)}?"
    known = [note.key for note in leaves(root) if FREE not in note.key]
    same_name = [key for key in known if key.rpartition(".")[2] == path[-1].lower()]
    if same_name:
        return f"; did you mean {same_name[0]}?"
    if missing.known and len(missing.choices) <= MAX_CHOICES:
        return f"; one of {', '.join(sorted(missing.choices))} was expected"
    return suggest(key_of(path), known)


def _leaves(model: type[BaseModel], path: Path) -> Iterator[FieldNote]:
    for name, field in model.model_fields.items():
        here = (*path, name)
        kind, free = _inner_model(field.annotation)
        if kind is None:
            yield _note(key_of(here), field)
        else:
            yield from _leaves(kind, (*here, *free))


def _inner_model(annotation: Any) -> tuple[type[BaseModel] | None, Path]:
    kind = _strip(annotation)
    if _is_model(kind):
        return kind, ()
    if get_origin(kind) is dict:
        value = _strip(get_args(kind)[1])
        if _is_model(value):
            return value, (FREE,)
    return None, ()


def _note(key: str, field: FieldInfo) -> FieldNote:
    extra = field_extra(field)
    kind = _strip(field.annotation)
    return FieldNote(
        key=key,
        type_name=_type_name(field.annotation),
        description=field.description or "",
        unit=str(extra.get("unit", "")),
        default=field.get_default(call_default_factory=True, validated_data={}),
        limits=_limits(field, kind),
        override=bool(extra.get("override")),
        text_only=kind is str,
    )


def _strip(annotation: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in {Union, types.UnionType}:
            some = [kind for kind in get_args(annotation) if kind is not type(None)]
            if len(some) != 1:
                return annotation
            annotation = some[0]
        else:
            return annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _read_key(key_type: Any, text: str) -> str:
    for mark in getattr(key_type, "__metadata__", ()):
        if isinstance(mark, KeyReader):
            return mark.read(text)
    return text


_TYPE_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "Decimal": "a decimal number",
    "str": "a text",
    "Path": "a path",
}


def _type_name(annotation: Any) -> str:
    kind = _strip(annotation)
    optional = get_origin(annotation) in {Union, types.UnionType} and type(None) in get_args(
        annotation
    )
    suffix = " or nothing" if optional else ""
    if get_origin(kind) in {tuple, list}:
        return "a list" + suffix
    if choices := _choices(kind):
        return "one of " + ", ".join(choices) + suffix
    name = getattr(kind, "__name__", str(kind))
    return _TYPE_NAMES.get(name, name) + suffix


def _choices(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()


def _limits(field: FieldInfo, kind: Any) -> str:
    marks: dict[str, Any] = {}
    for mark in field.metadata:
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if getattr(mark, name, None) is not None:
                marks[name] = getattr(mark, name)
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    parts = [f"{word} {marks[name]}" for name, word in words.items() if name in marks]
    if "min_length" in marks and kind is not str:
        parts.append(f"{marks['min_length']} or more items")
    return ", ".join(parts)
