"""Every package that a running node loads is written down here by hand.

A new one, however deep it hides, fails this test: find out who makes it and whether you need it,
then add it to the list.
"""

from __future__ import annotations

import re
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"

RUNNING = frozenset(
    [
        "aiofastnet",
        "aiohappyeyeballs",
        "aiohttp",
        "aiosignal",
        "alembic",
        "annotated-doc",
        "annotated-types",
        "anyio",
        "attrs",
        "cffi",
        "click",
        "coincurve",
        "colorama",
        "cryptography",
        "fastapi",
        "frozenlist",
        "h11",
        "idna",
        "mako",
        "markdown-it-py",
        "markupsafe",
        "mdurl",
        "msgspec",
        "multidict",
        "opentelemetry-api",
        "picows",
        "prometheus-client",
        "propcache",
        "pycparser",
        "pycryptodome",
        "pydantic",
        "pydantic-core",
        "pydantic-settings",
        "pygments",
        "python-dotenv",
        "python-socks",
        "pyyaml",
        "rich",
        "shellingham",
        "sqlalchemy",
        "starlette",
        "structlog",
        "typer",
        "typing-extensions",
        "typing-inspection",
        "uvicorn",
        "yarl",
    ]
)
BUILDING = frozenset(
    [
        "editables",
        "hatchling",
        "packaging",
        "pathspec",
        "pluggy",
        "setuptools",
        "tomlkit",
        "trove-classifiers",
    ]
)

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==\S+(?: ; .*)? \\$", re.MULTILINE)


def pinned(name: str) -> dict[str, str]:
    """Return the packages of a requirements file, each with its block of hashes."""
    text = (REQUIREMENTS / name).read_text()
    starts = list(_PIN.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {
        start[1].lower(): text[start.end() : end] for start, end in zip(starts, ends, strict=True)
    }


def test_no_package_came_in_unseen() -> None:
    """Neither one of ours nor one of theirs."""
    assert set(pinned("core.txt")) == RUNNING | BUILDING


def test_every_package_is_pinned_by_hash() -> None:
    """In every file: a line that names a package has hashes below it."""
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        packages = pinned(path.name)
        named = re.findall(r"^[A-Za-z0-9._-]+(?=\s*[=<>~!@ ])", path.read_text(), re.MULTILINE)

        assert {name.lower() for name in named} == set(packages), path.name
        assert all("--hash=sha256:" in block for block in packages.values()), path.name
