"""Layers of sources into one validated tree that knows where every value came from.

defaults < defaults of the mode < files in order < `.env` < environment < flags. Mappings merge,
lists and scalars replace. Every problem of every layer is collected; nothing is guessed and
nothing unknown is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Generic, TypeVar

from pydantic import BaseModel

from perpbot.settings.aliases import Alias, AliasTable, OldValueError
from perpbot.settings.environment import Environment, Variable
from perpbot.settings.explanation import Explanation, explain, show
from perpbot.settings.fields import Missing, Path, key_of, locate, suggest, suggest_key
from perpbot.settings.layers import Layers
from perpbot.settings.problems import Layer, Origin, Problem, SettingsError, Violation
from perpbot.settings.secret import looks_secret, mask_value
from perpbot.settings.validation import validate
from perpbot.settings.yaml_source import Node, node_of, parse, read_file

RootT = TypeVar("RootT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Flag:
    """One value from the command line: `Flag("mode", "--live", "live")`."""

    key: str
    name: str
    value: object


@dataclass(frozen=True)
class Loaded(Generic[RootT]):
    """The settings, and how they came to be."""

    settings: RootT
    layers: Layers
    environment: Environment = field(repr=False)
    aliases: AliasTable = field(repr=False)
    warnings: tuple[Problem, ...] = ()

    def origin(self, key: str) -> Origin:
        """Return where the effective value of `key` came from."""
        return self.layers.origin(tuple(key.split(".")))

    def explain(self, key: str) -> Explanation:
        """Return value, source, overridden values and documentation of one key.

        Raises `SettingsError` with a suggestion for an unknown key.
        """
        return explain(self.settings, self.layers, self.aliases, key)


Check = Callable[[Loaded[RootT]], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What to read, in rising precedence."""

    files: Sequence[FilePath] = ()
    environment: Environment = field(default_factory=Environment)
    flags: Sequence[Flag] = ()


def load(
    root: type[RootT],
    sources: Sources,
    *,
    aliases: AliasTable | None = None,
    profiles: Mapping[str, Mapping[str, object]] | None = None,
    checks: Sequence[Check[RootT]] = (),
    problems: Iterable[Problem] = (),
) -> Loaded[RootT]:
    """Read every source into `root`.

    `profiles` gives other defaults by the value of the key `mode`. `checks` see the finished tree
    and report what contradicts. `problems` found earlier (in `.env`) are reported with the rest.
    Raises `SettingsError` with every problem found.
    """
    reading = _Reading(root, aliases or AliasTable())
    reading.problems += problems
    for path in sources.files:
        node, found = read_file(path)
        reading.problems += found
        if node is not None:
            reading.take(node, ())
    for variable in sources.environment.settings():
        reading.take_variable(variable)
    for flag in sources.flags:
        origin = Origin(Layer.FLAG, flag.name)
        reading.take(node_of(flag.value, origin), tuple(flag.key.split(".")))
    reading.take_profile(profiles or {})
    reading.find_clashes()
    settings, found, wrong = validate(root, reading.layers)
    reading.problems += found
    if settings is None:
        raise SettingsError(reading.problems)
    loaded = Loaded(
        settings, reading.layers, sources.environment, reading.aliases, tuple(reading.warnings)
    )
    for check in checks:
        for violation in check(loaded):
            # What rests on a value that is refused already would only repeat the news.
            if any(_touches(key, wrong) for key in violation.keys):
                continue
            reading.problems.append(_problem(loaded, violation))
    if reading.problems:
        raise SettingsError(reading.problems)
    return loaded


def _touches(key: str, paths: Iterable[Path]) -> bool:
    wanted = tuple(key.split("."))
    return any(path[: len(wanted)] == wanted[: len(path)] for path in paths)


def _problem(loaded: Loaded[RootT], violation: Violation) -> Problem:
    """Place a violation at the first of its keys that somebody set."""
    for key in violation.keys:
        origin = loaded.origin(key)
        if origin.layer > Layer.MODE:
            return Problem(violation.message, key, origin)
    return Problem(violation.message, violation.keys[0] if violation.keys else "")


class _Reading:
    """One run of the loader: walks nodes by the models and files what it finds."""

    def __init__(self, root: type[BaseModel], aliases: AliasTable) -> None:
        self.root = root
        self.aliases = aliases
        self.layers = Layers()
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._converted: list[tuple[Path, Origin, str]] = []

    def take(self, node: Node, path: Path) -> None:
        alias = self.aliases.get(path)
        if alias is not None and alias.applies(node.plain()):
            self._take_old(alias, node)
            return
        where = locate(self.root, path)
        if isinstance(where, Missing):
            if self.aliases.leads_on(path) and isinstance(node.value, dict):
                self._descend(node, path)
            else:
                self._refuse_unknown(node, path, where)
            return
        if where.note is not None:
            self.layers.set(where.path, node)
        elif isinstance(node.value, dict):
            self._descend(node, where.path)
        elif node.value is not None:
            shown = mask_value(key_of(path), node.plain())
            message = f"was {shown}: a mapping of keys was expected"
            self.problems.append(Problem(message, key_of(path), node.origin))

    def take_variable(self, variable: Variable) -> None:
        path = tuple(variable.name.lower().split("__")[1:])
        where = locate(self.root, path)
        node: Node | None
        if not isinstance(where, Missing) and where.note is not None and where.note.text_only:
            node = Node(variable.text, variable.origin)
        else:
            node, broken = parse(variable.text, variable.origin)
            if broken or node is None:
                node = Node(variable.text, variable.origin)
        self.take(node, path)

    def take_profile(self, profiles: Mapping[str, Mapping[str, object]]) -> None:
        chosen = self.layers.get(("mode",))
        if chosen is None:
            default = self.root.model_fields.get("mode")
            mode = str(default.default) if default is not None else ""
        else:
            mode = str(chosen.plain())
        for key, value in profiles.get(mode, {}).items():
            self.layers.set_default(
                tuple(key.split(".")), node_of(value, Origin(Layer.MODE, mode))
            )

    def find_clashes(self) -> None:
        """Refuse an old and a new key for one thing in the same file or environment."""
        for path, origin, old in self._converted:
            for node in self.layers.history(path):
                same_source = node.origin.layer is origin.layer and (
                    origin.layer is not Layer.FILE or node.origin.place == origin.place
                )
                if same_source and node.origin != origin:
                    message = f"is set here and by {key_of(path)} ({node.origin}); keep the latter"
                    self.problems.append(Problem(message, old, origin))

    def _descend(self, node: Node, path: Path) -> None:
        assert isinstance(node.value, dict)
        for name, inner in node.value.items():
            self.take(inner, (*path, name))

    def _take_old(self, alias: Alias, node: Node) -> None:
        if alias.convert is None:
            message = f"is an old key without effect in this version: {alias.reason}"
            self.warnings.append(Problem(message, alias.old, node.origin))
            return
        try:
            converted = alias.convert(node.plain())
        except OldValueError as error:
            shown = mask_value(alias.old, node.plain())
            message = f"was {shown}: {error}; write {alias.new} instead"
            self.problems.append(Problem(message, alias.old, node.origin))
            return
        if not converted:
            message = "is an old key whose value says nothing new; leave it out"
            self.warnings.append(Problem(message, alias.old, node.origin))
        for key, value in converted.items():
            self.warnings.append(
                Problem(f"is an old key; write {key}: {show(value)}", alias.old, node.origin)
            )
            path = tuple(key.split("."))
            where = locate(self.root, path)
            if isinstance(where, Missing):
                self._refuse_unknown(node, path, where)
                continue
            self._converted.append((where.path, node.origin, alias.old))
            self.layers.set(where.path, node_of(value, node.origin))

    def _refuse_unknown(self, node: Node, path: Path, missing: Missing) -> None:
        key = key_of(path)
        if looks_secret(path[-1]):
            hint = "; credentials come from the environment or .env, never from settings"
        else:
            hint = suggest_key(self.root, path, missing) or suggest(key, self.aliases.names())
        shown = "" if isinstance(node.value, dict) else mask_value(key, node.plain())
        value = f" (value {shown})" if shown else ""
        self.problems.append(Problem(f"is not a known key{value}{hint}", key, node.origin))
