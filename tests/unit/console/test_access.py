"""Who may speak to the console."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from perpbot.console.access import Gate, keep_token
from perpbot.domain.errors import ConfigError

TOKEN = "t" * 40
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/v1/overview", {"host": "127.0.0.1:8000", **BEARER}, None),
        ("/api/v1/overview", {"host": "LOCALHOST:8000", **BEARER}, None),
        ("/api/v1/overview", {"host": "127.0.0.1:8000"}, 401),
        ("/metrics", {"host": "127.0.0.1:8000"}, None),
        ("/api/v1/x", {"host": "127.0.0.1:8000", "authorization": "Bearer " + "u" * 40}, 401),
        ("/api/v1/x", {"host": "127.0.0.1:8000", "authorization": f"Basic {TOKEN}"}, 401),
        ("/api/v1/x", {"host": "evil.example:8000", **BEARER}, 421),
        ("/api/v1/x", {"host": "127.0.0.1:9000", **BEARER}, 421),
        ("/api/v1/x", {**BEARER}, 421),
        (
            "/api/v1/x",
            {"host": "127.0.0.1:8000", "origin": "http://evil.example", **BEARER},
            403,
        ),
        ("/api/v1/x", {"host": "127.0.0.1:8000", "origin": "null", **BEARER}, 403),
        (
            "/api/v1/x",
            {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000", **BEARER},
            None,
        ),
        ("/health/live", {"host": "127.0.0.1:8000"}, None),
        ("/health/live", {"host": "evil.example"}, 421),
        ("/health/live", {"host": "127.0.0.1:8000", "origin": "http://evil.example"}, 403),
    ],
    ids=[
        "own host and token",
        "another name of this machine",
        "no token",
        "metrics are scraped without",
        "another token",
        "another scheme",
        "a rebound name",
        "another port",
        "no host",
        "another page",
        "a page without origin",
        "our own page",
        "a probe needs no token",
        "a probe by a rebound name",
        "a probe of another page",
    ],
)
def test_the_gate_lets_in_only_host_origin_and_token(
    path: str, headers: dict[str, str], status: int | None
) -> None:
    """Each of the three alone keeps a request out."""
    refused = Gate("127.0.0.1", 8000, TOKEN).refusal(path, headers)

    assert (None if refused is None else refused[0]) == status


def test_beyond_loopback_a_token_is_a_must() -> None:
    """The message says which variable."""
    with pytest.raises(ConfigError, match="PERPBOT_CONSOLE_TOKEN"):
        Gate("0.0.0.0", 8000, "")


def test_every_address_answers_to_every_host_with_a_token() -> None:
    """Behind 0.0.0.0 nobody knows the names; the token and the origin still hold."""
    gate = Gate("0.0.0.0", 8000, TOKEN)

    assert gate.refusal("/api/v1/x", {"host": "bot.example:8000", **BEARER}) is None
    assert gate.refusal("/api/v1/x", {"host": "bot.example:8000"}) is not None


def test_the_token_is_made_once_and_is_private(tmp_path: Path) -> None:
    """Random, kept, readable by its owner only."""
    path = tmp_path / "paper" / "console.token"

    token = keep_token(path)

    assert len(token) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keep_token(path) == token
    assert keep_token(tmp_path / "other") != token


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [("short", 0o600, "holds no token"), ("x" * 40, 0o644, "chmod 600")],
    ids=["too short", "open to others"],
)
def test_a_bad_token_file_is_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """With what to do."""
    path = tmp_path / "console.token"
    path.write_text(text)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=said):
        keep_token(path)
