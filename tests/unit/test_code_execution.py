"""Nothing that comes from outside is ever run: no pickles, no eval, no shell, no rich YAML."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
MODULES = frozenset(
    {
        "cloudpickle", "code", "codeop", "dill", "imp", "joblib", "jsonpickle", "marshal",
        "pickle", "pty", "runpy", "shelve", "xmlrpc",
    }
)  # fmt: skip
BUILTINS = frozenset({"__import__", "compile", "eval", "exec", "execfile"})
CALLS = frozenset(
    {
        "os.execv", "os.execve", "os.execvp", "os.popen", "os.system", "os.spawnv",
        "asyncio.create_subprocess_shell", "subprocess.getoutput", "subprocess.getstatusoutput",
        "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    }
)  # fmt: skip
LOADERS = frozenset({"Loader", "FullLoader", "UnsafeLoader"})
"""Of PyYAML: all but the safe one make objects of any class."""
IMPORTS_BY_NAME = {
    "perpbot/app/venues.py",
    "perpbot/simulation/wire/registry.py",
}
"""Modules that import by a name from their own tables."""


def findings(text: str, place: str) -> Iterator[str]:
    """Yield what in a module could run what it was given."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (f"{place}: import {n}" for n in names if n.split(".")[0] in MODULES)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            f"yaml.{loader}" for loader in LOADERS
        }:
            yield f"{place}: {ast.unparse(node)}"
        if isinstance(node, ast.Call):
            yield from _call(node, place)


def _call(node: ast.Call, place: str) -> Iterator[str]:
    called = ast.unparse(node.func)
    if called in BUILTINS | CALLS:
        yield f"{place}: {called}"
    if called.endswith("import_module") and place not in IMPORTS_BY_NAME:
        yield f"{place}: {called}"
    for keyword in node.keywords:
        value = keyword.value
        if keyword.arg == "shell" and not (isinstance(value, ast.Constant) and not value.value):
            yield f"{place}: shell"


def test_nothing_from_outside_is_run() -> None:
    """In no module of ours."""
    found = [
        finding
        for path in sorted(SOURCE.rglob("*.py"))
        for finding in findings(path.read_text(), str(path.relative_to(SOURCE)))
    ]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from marshal import loads",
        "eval(text)",
        "exec(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "class L(yaml.FullLoader): pass",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=flag)",
        "importlib.import_module(text)",
        "asyncio.create_subprocess_shell(text)",
    ],
)
def test_the_rule_has_teeth(text: str) -> None:
    """Each way is noticed."""
    assert list(findings(text, "x.py"))


@pytest.mark.parametrize(
    "text", ["re.compile(text)", "yaml.SafeLoader(text)", "subprocess.run([a], shell=False)"]
)
def test_the_rule_leaves_harmless_code_alone(text: str) -> None:
    """What only sounds alike."""
    assert not list(findings(text, "x.py"))
