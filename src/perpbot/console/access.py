"""Who may speak to the console: the right host, the right page, the right token.

The token is random, made at the first start, and kept where only the owner can read it. A page in
a browser is refused by its Origin, a rebound name by the Host header.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from perpbot.domain.errors import ConfigError

TOKEN_BYTES = 32
OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Answered without a token: probes and Prometheus scrape them. Host and Origin still count, and
beyond loopback nothing listens without a token in its settings."""


def keep_token(path: Path) -> str:
    """Return the token of `path`, made if there is none. Raises `ConfigError` for a bad file."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = secrets.token_urlsafe(TOKEN_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    if len(text) < 16:
        raise ConfigError(f"{path} holds no token: remove it, the next start makes a new one")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others: run chmod 600 {path}")
    return text


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Judges one request. `refusal` returns (status, reason), or None to let it in."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Raises `ConfigError` for a host beyond loopback without a token."""
        if not token and not is_loopback(host):
            raise ConfigError(
                f"console.host was {host}: beyond 127.0.0.1 the console needs a token in "
                "PERPBOT_CONSOLE_TOKEN"
            )
        names = {host, "127.0.0.1", "localhost", "[::1]"} if is_loopback(host) else {host}
        # Compared, not bound.
        self._any_host = host in {"0.0.0.0", "::"}  # noqa: S104  # nosec B104
        self._hosts = {f"{name}:{port}".lower() for name in names}
        self._token = token.encode()

    def refusal(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """`headers` by lower-case name."""
        host = headers.get("host", "").lower()
        if not self._any_host and host not in self._hosts:
            return 421, f"host was {host[:80]!r}: the console answers to its own address only"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host:
            return 403, "requests of other pages are refused"
        if path in OPEN_PATHS:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            return 401, "a token is needed: Authorization: Bearer <state/MODE/console.token>"
        if not hmac.compare_digest(given.strip().encode(), self._token):
            return 401, "the token is not the console's"
        return None
