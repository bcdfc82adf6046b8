"""What one key is, where its value came from and what it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from perpbot.settings.aliases import AliasTable
from perpbot.settings.fields import FieldNote, Missing, Path, key_of, locate, suggest_key
from perpbot.settings.layers import DEFAULT, Layers
from perpbot.settings.problems import Origin, Problem, SettingsError
from perpbot.settings.secret import mask_value


@dataclass(frozen=True, slots=True)
class Explanation:
    """One key. `overridden` lists the replaced values, the nearest first, with their origins."""

    key: str
    value: object
    source: Origin
    overridden: tuple[tuple[object, Origin], ...]
    description: str
    type_name: str
    unit: str
    limits: str
    default: object
    old_keys: tuple[str, ...]
    can_override: bool

    def as_dict(self) -> dict[str, object]:
        """Return it for `--json`, values as text."""
        return {
            "key": self.key,
            "value": show(self.value),
            "source": str(self.source),
            "overridden": [
                {"value": show(value), "source": str(origin)} for value, origin in self.overridden
            ],
            "description": self.description,
            "type": self.type_name,
            "unit": self.unit,
            "range": self.limits,
            "default": show(self.default),
            "old_keys": list(self.old_keys),
            "per_venue_or_symbol": self.can_override,
        }

    def text(self) -> str:
        """Return it for people."""
        unit = f" {self.unit}" if self.unit else ""
        holds = "not set" if self.value is None else f"{show(self.value)}{unit}"
        lines = [
            f"{self.key} = {holds}",
            f"  from     {self.source}",
            *(
                f"  instead of {show(value)} from {origin}"
                for value, origin in self.overridden
                if value is not None
            ),
            f"  meaning  {self.description}",
            f"  type     {self.type_name}" + (f", {self.limits}" if self.limits else ""),
            f"  default  {'not set' if self.default is None else show(self.default)}",
        ]
        if self.can_override:
            lines.append("  may be set per venue or symbol")
        if self.old_keys:
            lines.append(f"  once     {', '.join(self.old_keys)}")
        return "\n".join(lines)


def explain(settings: BaseModel, layers: Layers, aliases: AliasTable, key: str) -> Explanation:
    """Explain a leaf of `settings`. Raises `SettingsError` for a section or an unknown key."""
    path = tuple(key.split("."))
    where = locate(type(settings), path)
    if isinstance(where, Missing):
        old = aliases.get(path)
        if old is not None:
            now = f"write {old.new}" if old.new else old.reason
            raise SettingsError([Problem(f"is an old key; {now}", key)])
        hint = suggest_key(type(settings), path, where)
        raise SettingsError([Problem(f"is not a known key{hint}", key)])
    if where.note is None:
        raise SettingsError([Problem("is a section; name one of its keys", key)])
    return _explain_leaf(settings, layers, aliases, where.path, where.note)


def _explain_leaf(
    settings: BaseModel, layers: Layers, aliases: AliasTable, path: Path, note: FieldNote
) -> Explanation:
    key = key_of(path)
    replaced = [(_shown(key, node.plain()), node.origin) for node in layers.history(path)[:-1]]
    default = _default(type(settings), path)
    if layers.get(path) is not None:
        replaced.insert(0, (default, DEFAULT))
    return Explanation(
        key=key,
        value=_shown(key, value_at(settings, path)),
        source=layers.origin(path),
        overridden=tuple(reversed(replaced)),
        description=note.description,
        type_name=note.type_name,
        unit=note.unit,
        limits=note.limits,
        default=default,
        old_keys=tuple(aliases.of(key)),
        can_override=note.override,
    )


def value_at(settings: BaseModel, path: Path) -> object:
    """Return the value at `path`, or None below a block that nobody wrote."""
    value: object = settings
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif value is not None:
            value = getattr(value, step)
    return value


def show(value: object) -> str:
    """Write a value as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    return str(value)


def _shown(key: str, value: object) -> object:
    return mask_value(key, value) if isinstance(value, str) else value


def _default(root: type[BaseModel], path: Path) -> object:
    # A section's default instance may differ from its class's defaults.
    return value_at(root(), path)
