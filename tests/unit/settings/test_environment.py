"""Variables of the process and of `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.settings import Environment, read_environment


def write(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a `.env` with a file mode."""
    path = tmp_path / ".env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_process_wins_over_the_file(tmp_path: Path) -> None:
    """A variable of the shell is the later word."""
    path = write(tmp_path, "A=file\nB=file\n")
    environment, problems = read_environment({"A": "process"}, path)

    a, b = environment.get("A"), environment.get("B")
    assert problems == []
    assert a is not None
    assert (a.text, str(a.origin)) == ("process", "environment A")
    assert b is not None
    assert (b.text, str(b.origin)) == ("file", f"{path}:2")
    assert environment.get("C") is None


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    """`OKX_API_KEY=` of a copied example is no key; the file's value holds."""
    environment, _ = read_environment({"A": " "}, write(tmp_path, "A=file\nB=\n"))

    a = environment.get("A")
    assert a is not None
    assert a.text == "file"
    assert environment.get("B") is None


def test_lines_are_counted_over_comments_blanks_and_quotes(tmp_path: Path) -> None:
    """The line of a message is the line of the variable."""
    text = "# note\n\nexport A='x y'\n\nB=\"two\nlines\"\n# c\nC=$A # note\n"
    environment, problems = read_environment({}, write(tmp_path, text))

    found = {name: environment.get(name) for name in "ABC"}
    assert problems == []
    assert {n: (v.text, v.origin.line) for n, v in found.items() if v is not None} == {
        "A": ("x y", 3),
        "B": ("two\nlines", 5),
        "C": ("$A", 8),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nA=2\n", ":2: A is set twice, first on line 1"),
        ("A=1\nNAME\n", ":2: NAME has no value"),
        ("A='open\n", ":1: is not a NAME=value line"),
    ],
    ids=["twice", "bare", "quote"],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """A line that would be lost is a problem instead."""
    _, problems = read_environment({}, write(tmp_path, text))

    assert problem in str(problems[0])


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A `.env` that was asked for must be there, and be text."""
    _, missing = read_environment({}, tmp_path / "none")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    _, binary = read_environment({}, path)

    assert "cannot be read: No such file" in str(missing[0])
    assert "not UTF-8" in str(binary[0])


@pytest.mark.parametrize(("mode", "shared"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_noticed(tmp_path: Path, mode: int, shared: bool) -> None:
    """Group or others: both are too many."""
    environment, _ = read_environment({}, write(tmp_path, "A=1\n", mode))

    assert (environment.shared_file is not None) is shared


def test_settings_come_in_the_order_of_precedence(tmp_path: Path) -> None:
    """Later layers replace earlier ones, so the file comes first."""
    path = write(tmp_path, "PERPBOT__A=1\nOTHER=1\n")
    environment, _ = read_environment({"PERPBOT__A": "2", "perpbot__b": "3"}, path)

    assert [variable.text for variable in environment.settings()] == ["1", "2", "3"]


def test_no_value_is_shown() -> None:
    """Variables may be keys."""
    environment = Environment({"A": "hunter2"})
    variable = environment.get("A")

    assert "hunter2" not in repr(environment) + repr(variable)
