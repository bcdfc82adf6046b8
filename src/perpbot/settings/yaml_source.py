"""YAML into a tree whose every node knows its line.

The safe loader's types only; no tags, no merge keys, no duplicate keys, and a limit on size, so
that a file of nested aliases cannot eat the memory. Dates and sexagesimal numbers stay text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from perpbot.settings.problems import Layer, Origin, Problem

NODES_MAX = 20_000
BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list of nodes or a mapping of nodes, and where it stands."""

    value: object
    origin: Origin

    def plain(self) -> object:
        """Return the value without lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: Sequence[str | int]) -> Node:
        """Return the deepest node on the way of `path`: the best line for a message."""
        node = self
        for step in path:
            inner = node.value
            found = None
            if isinstance(inner, dict):
                found = inner.get(step)
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                found = inner[step]
            if found is None:
                break
            node = found
        return node


def node_of(value: object, origin: Origin) -> Node:
    """Wrap a plain Python value (a flag's, a default's) as a node."""
    if isinstance(value, Mapping):
        return Node({str(key): node_of(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, (list, tuple)):
        return Node([node_of(item, origin) for item in value], origin)
    return Node(value, origin)


class _Loader(yaml.SafeLoader):
    """The safe loader without dates: settings have none, and `2024-01-01` is a text here."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_file(path: Path) -> tuple[Node | None, list[Problem]]:
    """Read one file. An empty file gives no node; a broken one gives problems with lines."""
    origin = Origin(Layer.FILE, str(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, [Problem(f"cannot be read: {error.strerror or error}", origin=origin)]
    if len(content) > BYTES_MAX:
        message = f"has {len(content)} bytes, at most {BYTES_MAX} were expected"
        return None, [Problem(message, origin=origin)]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None, [Problem("is not UTF-8 text", origin=origin)]
    node, problems = parse(text, origin)
    if node is not None and not isinstance(node.value, dict):
        problem = Problem("a mapping of keys was expected at the top of the file", "", node.origin)
        return None, [problem]
    return node, problems


def parse(text: str, origin: Origin) -> tuple[Node | None, list[Problem]]:
    """Parse YAML text. Lines are counted only for files."""
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        reader = _Reader(loader, origin)
        return (None if root is None else reader.read(root, "")), reader.problems
    except _TooLarge:
        return None, [Problem(f"has more than {NODES_MAX} values", origin=origin)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        reason = (
            getattr(error, "problem", None)
            or getattr(error, "reason", None)
            or "it is not well formed"
        )
        place = Origin(origin.layer, origin.place, line)
        return None, [Problem(f"is not valid YAML: {reason}", origin=place)]
    finally:
        if loader is not None:
            loader.dispose()


_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class _TooLarge(Exception):
    """More nodes than any settings file has."""


class _Reader:
    def __init__(self, loader: _Loader, origin: Origin) -> None:
        self._loader = loader
        self._origin = origin
        self._count = 0
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, key: str) -> Node:
        self._count += 1
        if self._count > NODES_MAX:
            raise _TooLarge
        origin = self._at(node)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN_TAGS:
            raise yaml.MarkedYAMLError(problem=f"tag {node.tag}", problem_mark=node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, key), origin)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.read(item, key) for item in node.value], origin)
        return Node(self._loader.construct_object(node, deep=True), origin)

    def _mapping(self, node: yaml.MappingNode, parent: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key_node, value_node in node.value:
            origin = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem("a plain key was expected", parent, origin))
                continue
            name = str(key_node.value)
            key = f"{parent}.{name}" if parent else name
            if key_node.tag.endswith(":merge"):
                message = "merge keys are not supported; give several files, the later wins"
                self.problems.append(Problem(message, key, origin))
                continue
            if name in found:
                first = found[name].origin.line
                message = f"is set twice in one mapping, first on line {first}; keep one"
                self.problems.append(Problem(message, key, origin))
                continue
            value = self.read(value_node, key)
            # A value is reported at its key's line: that is where a reader looks.
            found[name] = Node(value.value, origin)
        return found

    def _at(self, node: yaml.Node) -> Origin:
        if self._origin.layer is not Layer.FILE:
            return self._origin
        return Origin(Layer.FILE, self._origin.place, node.start_mark.line + 1)
