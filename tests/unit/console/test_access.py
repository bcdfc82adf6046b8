"""Who may speak to the console."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from perpbot.console.access import Asked, Gate, is_loopback, keep_token
from perpbot.domain.errors import ConfigError
from tests.unit.console.asking import StandingClock

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
    refused = Gate("127.0.0.1", 8000, TOKEN).refusal(Asked("GET", path, list(headers.items())))

    assert (None if refused is None else refused[0]) == status


@pytest.mark.parametrize(
    ("token", "proxy", "said"),
    [("", True, "PERPBOT_CONSOLE_TOKEN"), (TOKEN, False, "behind_proxy"), ("short", True, "16")],
    ids=["no token", "no proxy", "a short token"],
)
def test_beyond_loopback_token_and_proxy_are_a_must(token: str, proxy: bool, said: str) -> None:
    """The message says what is missing."""
    with pytest.raises(ConfigError, match=said):
        Gate("0.0.0.0", 8000, token, behind_proxy=proxy)


@pytest.mark.parametrize("token", ["", "admin", "changeme"])
def test_a_token_that_can_be_guessed_is_refused_anywhere(token: str) -> None:
    """On loopback too: every program of this machine can knock there."""
    with pytest.raises(ConfigError, match="shorter than 16"):
        Gate("127.0.0.1", 8000, token)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.1.2.3:8000", None),
        ("[2001:db8::1]:8000", None),
        ("bot.example", None),
        ("BOT.example:8443", None),
        ("bot.example:8000", 421),
        ("evil.example:8000", 421),
        ("10.1.2.3:9000", 421),
        ("10.1.2.3.evil.example:8000", 421),
    ],
)
def test_beyond_loopback_names_are_listed(host: str, status: int | None) -> None:
    """An address cannot be rebound; a name counts only if the owner wrote it down."""
    gate = proxied()

    refused = gate.refusal(Asked("GET", "/api/v1/x", [("host", host), *BEARER.items()]))

    assert (None if refused is None else refused[0]) == status


def proxied(clock: StandingClock | None = None) -> Gate:
    """Return the gate of a console behind a proxy."""
    hosts = ("bot.example", "bot.example:8443")
    return Gate("0.0.0.0", 8000, TOKEN, behind_proxy=True, hosts=hosts, clock=clock)


def test_beyond_loopback_metrics_need_the_token() -> None:
    """They tell what the account earns; probes stay open."""
    host = ("host", "bot.example")

    for path, status in (("/metrics", 401), ("/health/live", None), ("/health/ready", None)):
        refused = proxied().refusal(Asked("GET", path, [host]))
        assert (None if refused is None else refused[0]) == status


def test_a_page_behind_a_proxy_speaks_https() -> None:
    """Of the same name."""
    headers = [("host", "bot.example"), *BEARER.items()]

    for origin, fine in (("https://bot.example", True), ("https://evil.example", False)):
        refused = proxied().refusal(Asked("GET", "/api/v1/x", [*headers, ("origin", origin)]))
        assert (refused is None) is fine


def test_behind_a_proxy_the_client_is_who_the_proxy_saw() -> None:
    """Its word is the last; what a client puts before it does not help a guesser."""
    gate = proxied(StandingClock())

    def status(forwarded: str | None, token: str) -> int | None:
        headers = [("host", "bot.example"), ("authorization", f"Bearer {token}")]
        if forwarded is not None:
            headers.append(("x-forwarded-for", forwarded))
        refused = gate.refusal(Asked("GET", "/api/v1/x", headers, client="172.17.0.1"))
        return None if refused is None else refused[0]

    for number in range(5):
        assert status(f"10.0.0.{number}, 203.0.113.7", "u" * 40) == 401
    assert status("203.0.113.7", TOKEN) == 429
    assert status("203.0.113.8", TOKEN) is None
    assert status(None, TOKEN) is None


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


def test_a_name_is_not_loopback() -> None:
    """It may be resolved to anything."""
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("bot.example")
