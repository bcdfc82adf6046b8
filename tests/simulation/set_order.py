"""Where code depends on the order of a set: a reader of syntax trees.

Sets of strings come in another order in every process, so nothing may follow it. What is a set is
told by what the code says: literals, `set(...)`, set operators, and annotations of names, fields,
parameters and results.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_NAMES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
_VIEWS = frozenset({"keys", "items"})
_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_ORDERS = frozenset({"sorted", "set", "frozenset", "len", "any", "all", "min", "max", "bool"})
"""Calls whose result does not depend on the order of what they are given."""
_FOLLOWS = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "sum", "dict"})
_JOINS = frozenset({"join", "fromkeys", "extend", "writelines"})


class Found(NamedTuple):
    """A place that follows the order of a set."""

    line: int
    text: str


def says_set(annotation: ast.expr | None) -> bool:
    """Whether an annotation is one of a set."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):
        return says_set(annotation.left) or says_set(annotation.right)
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    if isinstance(annotation, ast.Attribute):
        return annotation.attr in _NAMES
    return isinstance(annotation, ast.Name) and annotation.id in _NAMES


class Known(NamedTuple):
    """Names that are sets wherever they are declared."""

    fields: frozenset[str]
    """Fields and properties."""
    functions: frozenset[str]
    """Functions and methods that give one."""

    def __or__(self, other: Known) -> Known:
        """Return the names of both."""
        return Known(self.fields | other.fields, self.functions | other.functions)


def sets_of(trees: Iterable[ast.AST]) -> Known:
    """Return the names that these modules declare as sets, and nowhere as something else."""
    sets: dict[bool, set[str]] = {True: set(), False: set()}
    others: dict[bool, set[str]] = {True: set(), False: set()}
    for tree in trees:
        for name, annotation, called in _declared(tree):
            (sets if says_set(annotation) else others)[called].add(name)
    return Known(frozenset(sets[False] - others[False]), frozenset(sets[True] - others[True]))


def _declared(tree: ast.AST) -> Iterator[tuple[str, ast.expr | None, bool]]:
    """Yield (name, annotation, whether it is called) of what a module declares."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
            yield node.name, node.returns, not is_property
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Attribute):
                yield node.target.attr, node.annotation, False
            elif isinstance(node.target, ast.Name):
                yield node.target.id, node.annotation, False
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.List):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield target.attr, None, False


def followed(tree: ast.AST, known: Known) -> Iterator[Found]:
    """Yield every place of a module that follows the order of a set.

    `known` names are sets everywhere; a module knows those of its own besides.
    """
    reader = _Reader(known | sets_of([tree]))
    reader.visit(tree)
    yield from reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self, known: Known) -> None:
        self.found: list[Found] = []
        self._known = known
        self._scopes: list[set[str]] = [set()]
        self._harmless: set[int] = set()
        """Comprehensions inside of a call for which order is nothing."""

    # --- what is a set ---

    def _is_set(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Name):
            return any(node.id in scope for scope in self._scopes)
        if isinstance(node, ast.Attribute):
            return node.attr in self._known.fields
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
            sides = (node.left, node.right)
            return any(self._is_set(side) or _is_view(side) for side in sides)
        if isinstance(node, ast.IfExp):
            return self._is_set(node.body) or self._is_set(node.orelse)
        return isinstance(node, ast.Call) and self._gives_set(node)

    def _gives_set(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name):
            return call.func.id in _NAMES or call.func.id in self._known.functions
        if isinstance(call.func, ast.Attribute):
            return call.func.attr in self._known.functions or (
                call.func.attr in _METHODS and self._is_set(call.func.value)
            )
        return False

    # --- scopes ---

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self._scopes.append({one.arg for one in named if says_set(one.annotation)})
        self.generic_visit(node)
        self._scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name is the reader's protocol

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                known = self._scopes[-1].add if self._is_set(node.value) else self._forget
                known(target.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and says_set(node.annotation):
            self._scopes[-1].add(node.target.id)

    def _forget(self, name: str) -> None:
        self._scopes[-1].discard(name)

    # --- what follows an order ---

    def _check(self, node: ast.expr, where: ast.AST) -> None:
        if self._is_set(node):
            line = getattr(where, "lineno", node.lineno)
            self.found.append(Found(line, ast.unparse(node)))

    def visit_For(self, node: ast.For) -> None:
        self._check(node.iter, node)
        self.generic_visit(node)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        if id(node) not in self._harmless:
            for generator in node.generators:
                self._check(generator.iter, node)
        self.generic_visit(node)

    visit_ListComp = _comprehension  # noqa: N815
    visit_GeneratorExp = _comprehension  # noqa: N815
    visit_DictComp = _comprehension  # noqa: N815

    def visit_Starred(self, node: ast.Starred) -> None:
        if id(node) not in self._harmless:
            self._check(node.value, node)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        self._harmless.update(map(id, node.elts))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in _ORDERS and not (name in {"min", "max"} and node.keywords):
            self._harmless.update(map(id, node.args))
            if node.args and isinstance(node.args[0], ast.Call):
                self._harmless.add(id(node.args[0]))
        if id(node) in self._harmless and name in {"map", "filter"}:
            self.generic_visit(node)
            return
        if name in _FOLLOWS or method in _JOINS or (name in {"min", "max"} and node.keywords):
            for argument in node.args:
                self._check(argument, node)
        if method == "pop" and not node.args and isinstance(node.func, ast.Attribute):
            self._check(node.func.value, node)
        self.generic_visit(node)


def _is_view(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _VIEWS
        and not node.args
    )
