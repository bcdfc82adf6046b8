"""The values of all layers by path: the last one wins, the others are remembered."""

from __future__ import annotations

from typing import Any

from perpbot.settings.fields import Path
from perpbot.settings.problems import Layer, Origin
from perpbot.settings.yaml_source import Node

DEFAULT = Origin(Layer.DEFAULT)


class Layers:
    """What was set, in rising precedence. Only leaves are stored; sections are made of them."""

    def __init__(self) -> None:
        self._history: dict[Path, list[Node]] = {}

    def set(self, path: Path, node: Node) -> None:
        """Put a value over those of earlier calls."""
        self._history.setdefault(path, []).append(node)

    def set_default(self, path: Path, node: Node) -> None:
        """Put a value below all others."""
        self._history.setdefault(path, []).insert(0, node)

    def get(self, path: Path) -> Node | None:
        """Return the node that wins, or None where nobody set one."""
        nodes = self._history.get(path)
        return nodes[-1] if nodes else None

    def history(self, path: Path) -> list[Node]:
        """Return every value of `path`, the winner last."""
        return list(self._history.get(path, ()))

    def origin(self, path: Path) -> Origin:
        """Return the origin of the value at `path`, of the leaf that holds it, or of one below."""
        for depth in range(len(path), 0, -1):
            node = self.get(path[:depth])
            if node is not None:
                return node.origin
        return next((n[-1].origin for p, n in self._history.items() if _below(p, path)), DEFAULT)

    def paths(self) -> list[Path]:
        """Return every path that somebody set."""
        return list(self._history)

    def tree(self, without: frozenset[Path] = frozenset()) -> dict[str, Any]:
        """Return the winning values as nested mappings, leaving out some leaves."""
        root: dict[str, Any] = {}
        for path, nodes in self._history.items():
            if path in without:
                continue
            section = root
            for step in path[:-1]:
                section = section.setdefault(step, {})
            section[path[-1]] = nodes[-1].plain()
        return root


def _below(path: Path, section: Path) -> bool:
    return path[: len(section)] == section
