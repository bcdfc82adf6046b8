"""Who may speak to the console: the right host, the right page, the right token, once.

The token is random, made at the first start, and kept where only the owner can read it. A page in
a browser is refused by its Origin, a rebound name by the Host header, a guesser by their failures,
a replay by its id.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl

from perpbot.console.lockout import Lockout
from perpbot.console.replays import ID_HEADER, TIME_HEADER, Replays
from perpbot.domain.errors import ConfigError
from perpbot.kernel.clock import Clock, RealClock
from perpbot.settings.private_files import read_private
from perpbot.settings.secret import looks_secret

TOKEN_BYTES = 32
TOKEN_LENGTH_MIN = 16
PROBES = frozenset({"/health/live", "/health/ready"})
"""Answered without a token; Host and Origin still count."""
METRICS = "/metrics"
"""Answered without a token on loopback, where Prometheus scrapes it."""
READING = frozenset({"GET", "HEAD"})
_SINGLE = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "host",
        "origin",
        "sec-fetch-site",
        "x-forwarded-for",
        ID_HEADER,
        TIME_HEADER,
    }
)
"""Headers that decide; which of two would count is a matter of who reads them."""

Refusal = tuple[int, str]
"""Status and reason."""


def keep_token(path: Path) -> str:
    """Return the token of `path`, made if there is none. Raises `ConfigError` for a bad file."""
    try:
        text = read_private(path).decode(errors="replace").strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = secrets.token_urlsafe(TOKEN_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    if len(text) < TOKEN_LENGTH_MIN:
        raise ConfigError(f"{path} holds no token: remove it, the next start makes a new one")
    return text


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Asked:
    """One request before anything of it was believed. Header names are lower case."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    query: str = ""
    client: str = ""

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for found, value in self.headers if found == name), None)


class Gate:
    """Judges one request. `refusal` returns (status, reason), or None to let it in."""

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        *,
        behind_proxy: bool = False,
        hosts: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """`hosts` are more names that the console answers to, as browsers send them.

        Raises `ConfigError` for a short token, and beyond loopback without token or proxy.
        """
        self._on_loopback = is_loopback(host)
        if not self._on_loopback:
            _demand_safe(host, token, behind_proxy=behind_proxy)
        if len(token) < TOKEN_LENGTH_MIN:
            raise ConfigError(
                f"the console's token was shorter than {TOKEN_LENGTH_MIN} characters: put a"
                " random one in PERPBOT_CONSOLE_TOKEN, or none"
            )
        names = {host, "127.0.0.1", "localhost", "[::1]"} if self._on_loopback else {host}
        self._any_address = _is_address(host) and ip_address(host).is_unspecified
        self._port = port
        self._hosts = {f"{name}:{port}".lower() for name in names} | {h.lower() for h in hosts}
        self._digest = sha256(token.encode()).digest()
        self._behind_proxy = behind_proxy
        clock = clock or RealClock()
        self._lockout = Lockout(clock)
        self._replays = Replays(clock)

    def refusal(self, asked: Asked) -> Refusal | None:
        """Judge; a wrong token and the id of a change are remembered."""
        refused = self._shape(asked) or self._place(asked)
        if refused is not None or self._is_open(asked):
            return refused
        refused = self._token(asked)
        if refused is not None or asked.method in READING:
            return refused
        return self._change(asked)

    def _shape(self, asked: Asked) -> Refusal | None:
        counts = Counter(name for name, _ in asked.headers if name in _SINGLE)
        doubled = sorted(name for name, count in counts.items() if count > 1)
        if doubled:
            return 400, f"{doubled[0]} was sent more than once"
        if asked.header("upgrade") is not None:
            return 426, "there are no websockets here"
        if any(looks_secret(name) for name, _ in parse_qsl(asked.query, keep_blank_values=True)):
            return 400, "secrets do not belong in addresses: send the token as a header"
        return None

    def _place(self, asked: Asked) -> Refusal | None:
        """Refuse rebound names and other pages, probes and metrics included."""
        host = (asked.header("host") or "").lower()
        if not self._answers_to(host):
            return 421, f"host was {host[:80]!r}: the console answers to its own address only"
        origin = asked.header("origin")
        schemes = ("http", "https") if self._behind_proxy else ("http",)
        if origin is not None and origin.lower() not in {f"{s}://{host}" for s in schemes}:
            return 403, "requests of other pages are refused"
        if asked.header("sec-fetch-site") not in {None, "same-origin", "none"}:
            return 403, "requests of other pages are refused"
        return None

    def _answers_to(self, host: str) -> bool:
        if host in self._hosts:
            return True
        # An address cannot be rebound, a name can.
        name, _, port = host.rpartition(":")
        return self._any_address and port == str(self._port) and _is_address(name)

    def _is_open(self, asked: Asked) -> bool:
        if asked.method not in READING:
            return False
        return asked.path in PROBES or (self._on_loopback and asked.path == METRICS)

    def _token(self, asked: Asked) -> Refusal | None:
        client = self._client(asked)
        left_s = self._lockout.remaining_s(client)
        if left_s:
            return 429, f"too many wrong tokens from here: come back in {left_s} s"
        scheme, _, given = (asked.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            return 401, "a token is needed: Authorization: Bearer <state/MODE/console.token>"
        digest = sha256(given.strip().encode("latin-1", "replace")).digest()
        if not hmac.compare_digest(digest, self._digest):
            self._lockout.failed(client)
            return 401, "the token is not the console's"
        self._lockout.succeeded(client)
        return None

    def _client(self, asked: Asked) -> str:
        if self._behind_proxy:
            # The proxy adds the address that it sees at the end; what stands before may be a lie.
            forwarded = (asked.header("x-forwarded-for") or "").rpartition(",")[2].strip()
            return forwarded or asked.client
        return asked.client

    def _change(self, asked: Asked) -> Refusal | None:
        if asked.method != "POST":
            return 405, f"method was {asked.method[:16]!r}: GET, HEAD or POST was expected"
        kind = (asked.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return 415, "content-type was not application/json"
        return self._replays.refusal(asked.header(TIME_HEADER), asked.header(ID_HEADER))


def _demand_safe(host: str, token: str, *, behind_proxy: bool) -> None:
    if not token:
        raise ConfigError(
            f"console.host was {host}: beyond 127.0.0.1 the console needs a token in"
            " PERPBOT_CONSOLE_TOKEN"
        )
    if not behind_proxy:
        raise ConfigError(
            f"console.host was {host}: beyond 127.0.0.1 the token must travel encrypted; put a"
            " proxy with TLS before the console and set console.behind_proxy to true"
        )
