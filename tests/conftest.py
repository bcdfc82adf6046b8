"""What every test gets: a clean environment, a loop that must not block, recordings if any."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

REPOSITORY = Path(__file__).resolve().parent.parent

# Variables that would change what a node does: our own settings, and credentials of venues.
_SETTINGS = re.compile(r"PERPBOT_(?!SHARED$)")
_CREDENTIALS = re.compile(
    r"(ASTER|BACKPACK|BINANCE|EDGEX|EXTENDED|GRVT|HYPERLIQUID|LARK|LIGHTER|OKX|PARADEX|TELEGRAM)_"
)
# Waits for others must not happen inside the loop. Plain files may: the journal writes before
# anything is acknowledged, and logs go to a local file.
_WAITS = ("time.", "socket.", "ssl.", "sqlite3.", "builtins.input")


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory without any configuration."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """No setting, credential or dotfile of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if _SETTINGS.match(name) or _CREDENTIALS.match(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
    for name in ("CREDENTIALS_DIRECTORY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def loop_must_not_block(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an async test in which perpbot waits for anything but the loop.

    A test that does so on purpose is marked `blocking`.
    """
    is_async = iscoroutinefunction(getattr(request.node, "obj", None))
    if not is_async or request.node.get_closest_marker("blocking") is not None:
        yield
        return
    with blockbuster_ctx("perpbot") as watcher:
        for name, function in watcher.functions.items():
            if not name.startswith(_WAITS):
                function.deactivate()
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of recordings and vectors that is not part of the repository."""
    place = Path(os.environ.get("PERPBOT_SHARED", "../shared"))
    directory = place if place.is_absolute() else REPOSITORY / place
    if not directory.is_dir():
        pytest.skip(f"needs recordings: {directory} does not exist (set PERPBOT_SHARED)")
    return directory.resolve()
