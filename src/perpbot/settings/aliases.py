"""Old spellings of settings: what they mean in our keys and units, or that they mean nothing yet.

An old key is never taken silently: it gives a warning that names the new key, and a value that
cannot have been meant in the old key's unit is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from perpbot.settings.fields import Path

Converted = Mapping[str, object]
"""New dotted keys and their values."""


class OldValueError(ValueError):
    """A value of an old key that makes no sense in that key's unit; the text says what would."""


@dataclass(frozen=True, slots=True)
class Alias:
    """An old key. `convert` gives new keys and values, or raises `OldValueError`.

    Without `convert` the key is known but has no effect; `reason` says why.
    """

    old: str
    new: str = ""
    convert: Callable[[object], Converted] | None = None
    reason: str = ""
    only: type | None = None
    """Take the key as old only if its value has this type (`symbols` was once a list)."""

    def applies(self, value: object) -> bool:
        """Tell whether a value of this type is an old one."""
        return self.only is None or isinstance(value, self.only)


class AliasTable:
    """All old keys by path."""

    def __init__(self, aliases: tuple[Alias, ...] = ()) -> None:
        self._by_path: dict[Path, Alias] = {
            tuple(alias.old.split(".")): alias for alias in aliases
        }
        self._prefixes = {path[:depth] for path in self._by_path for depth in range(1, len(path))}

    def get(self, path: Path) -> Alias | None:
        """Return the old key at `path`, or None."""
        return self._by_path.get(path)

    def leads_on(self, path: Path) -> bool:
        """Tell whether an old key lies below `path`."""
        return path in self._prefixes

    def __iter__(self) -> Iterator[Alias]:
        return iter(self._by_path.values())

    def names(self) -> list[str]:
        """Return every old key, dotted."""
        return [".".join(path) for path in self._by_path]

    def of(self, new: str) -> list[str]:
        """Return the old keys that now are `new`."""
        return [alias.old for alias in self._by_path.values() if alias.new == new]


def number(value: object) -> float:
    """Read a finite number from an old value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise OldValueError("a number was expected")
    try:
        result = float(value)
    except ValueError:
        raise OldValueError("a number was expected") from None
    if not math.isfinite(result):
        raise OldValueError("a finite number was expected")
    return result


def same(new: str) -> Callable[[object], Converted]:
    """Take the value as it is."""
    return lambda value: {new: value}


def scaled(
    new: str, factor: float, *, most: float, unit: str, least: float = 0.0
) -> Callable[[object], Converted]:
    """Multiply by `factor`; the old value, in its `unit`, must lie in [least, most]."""

    def convert(value: object) -> Converted:
        old = number(value)
        if not least <= old <= most:
            raise OldValueError(f"a {unit} from {least:g} to {most:g} was expected")
        # Twelve digits: .002 x 10 000 shall be 20, not 20.000000000000004.
        return {new: float(f"{old * factor:.12g}")}

    return convert
