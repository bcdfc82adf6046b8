"""YAML with lines, and without its traps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.settings.problems import Layer, Origin
from perpbot.settings.yaml_source import NODES_MAX, Node, node_of, parse, read_file

ORIGIN = Origin(Layer.FILE, "c.yaml")


def read(text: str) -> tuple[Node | None, list[str]]:
    """Parse a text as if from a file."""
    node, problems = parse(text, ORIGIN)
    return node, [str(problem) for problem in problems]


def test_every_value_knows_the_line_of_its_key() -> None:
    """Lines lead a reader to the place."""
    node, problems = read("a: 1\nb:\n  c: [1,\n     2]\n")

    assert problems == []
    assert node is not None
    assert node.plain() == {"a": 1, "b": {"c": [1, 2]}}
    assert node.at(("b", "c")).origin.line == 3
    assert node.at(("b", "c", 1)).origin.line == 4
    assert node.at(("b", "missing")).origin.line == 2
    assert node.at(("b", "c", 9)).origin.line == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "c.yaml:3: a is set twice in one mapping, first on line 1"),
        ("x:\n  a: 1\n  a: 1\n", "c.yaml:3: x.a is set twice"),
        ("? [1, 2]\n: 3\n", "c.yaml:1: a plain key was expected"),
        ("b: &b {c: 1}\na:\n  <<: *b\n", "c.yaml:3: a.<< merge keys are not supported"),
        ("a: [1\nb: 2\n", "c.yaml:2: is not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("a: !thing 1\n", "is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML"),
        ("a: \x00\n", "is not valid YAML"),
        ("a: !!int x\n", "is not valid YAML"),
    ],
    ids=[
        "duplicate",
        "nested-duplicate",
        "complex-key",
        "merge",
        "syntax",
        "python-tag",
        "own-tag",
        "two-documents",
        "nul",
        "no-number",
    ],
)
def test_a_trap_is_refused_with_its_line(text: str, problem: str) -> None:
    """Nothing is guessed, and no object is made from a tag."""
    _, problems = read(text)

    assert len(problems) == 1
    assert problem in problems[0]


def test_a_bomb_of_aliases_is_refused() -> None:
    """Nested aliases cannot eat the memory."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    node, problems = read("\n".join(lines))

    assert node is None
    assert problems == [f"c.yaml: has more than {NODES_MAX} values"]


def test_a_recursive_alias_is_refused() -> None:
    """A list that contains itself ends in a message."""
    node, problems = read("a: &a [*a]\n")

    assert node is None
    assert len(problems) == 1


def test_deep_nesting_is_refused() -> None:
    """Ten thousand brackets end in a message, not in a crash."""
    node, problems = read("a: " + "[" * 10_000)

    assert node is None
    assert len(problems) == 1


def test_dates_stay_text() -> None:
    """No setting is a date."""
    node, _ = read("a: 2024-01-01\n")

    assert node is not None
    assert node.plain() == {"a": "2024-01-01"}


@given(st.text(max_size=80))
def test_any_text_gives_a_node_or_a_problem(text: str) -> None:
    """No input raises."""
    node, problems = parse(text, ORIGIN)

    assert node is None or isinstance(node, Node)
    assert all(str(problem) for problem in problems)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    """A file of comments is fine."""
    path = tmp_path / "c.yaml"
    path.write_text("# nothing\n")

    assert read_file(path) == (None, [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- 1\n", "a mapping of keys was expected at the top"),
        (b"5", "a mapping of keys was expected at the top"),
        (b"\xff\xfe\xfa", "is not UTF-8 text"),
        (b"#" * 1_000_001, "has 1000001 bytes"),
    ],
    ids=["list", "number", "binary", "huge"],
)
def test_a_file_that_is_no_settings_file_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """The message names the file."""
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    node, problems = read_file(path)

    assert node is None
    assert str(path) in str(problems[0])
    assert problem in str(problems[0])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A wrong path is not taken for an empty file."""
    _, problems = read_file(tmp_path / "none.yaml")

    assert "cannot be read: No such file" in str(problems[0])


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    """Files from Windows editors work."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    node, problems = read_file(path)

    assert problems == []
    assert node is not None
    assert node.plain() == {"a": 1}


def test_plain_values_become_nodes() -> None:
    """A flag may carry a list or a mapping."""
    node = node_of({"a": (1, {"b": 2})}, ORIGIN)

    assert node.plain() == {"a": [1, {"b": 2}]}
