"""A clock that stands where it is put, requests as a client makes them, and an ASGI caller."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from perpbot.console.guard import Application
from perpbot.kernel.clock import MS, SECOND

TOKEN = "t" * 40
HOST = "127.0.0.1:8000"
KILL = "/api/v1/control/kill"
START_NS = 1_790_000_000 * SECOND

_numbers = count(1)


class StandingClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall_ns = START_NS
        self.steady_ns = SECOND

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.steady_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_ns += int(seconds * SECOND)
        self.steady_ns += int(seconds * SECOND)


def new_id() -> str:
    """Return an id that no other request has."""
    return f"request-{next(_numbers):016d}"


def change_headers(now_ns: int = START_NS) -> dict[str, str]:
    """Return what a change needs beside the token."""
    return {"x-perpbot-time": str(now_ns // MS), "idempotency-key": new_id()}


@dataclass(frozen=True)
class Call:
    """One request; by default the good one that engages level 1."""

    method: str = "POST"
    path: str = KILL
    headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    body: bytes = b'{"level": 1, "reason": "test"}'
    query: str = ""
    client: str = "127.0.0.1"

    def having(self, **headers: str | Sequence[str] | None) -> Call:
        """Return the call with headers changed; None takes one away, a list sends several."""
        changed = dict(self.headers)
        for name, value in headers.items():
            name = name.replace("_", "-")  # noqa: PLW2901 - as it is sent
            if value is None:
                changed.pop(name, None)
            else:
                changed[name] = value
        return replace(self, headers=changed)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the headers as they are sent."""
        return [
            (name, text)
            for name, value in self.headers.items()
            for text in ([value] if isinstance(value, str) else value)
        ]


def good(now_ns: int = START_NS) -> Call:
    """Return a request that must be accepted."""
    return Call(
        headers={
            "host": HOST,
            "authorization": f"Bearer {TOKEN}",
            "content-type": "application/json",
            **change_headers(now_ns),
        }
    )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


async def ask(app: Application, call: Call) -> Answer:
    """Hand a request to an ASGI application as the server does."""
    parts = [call.body[at : at + 4096] for at in range(0, len(call.body), 4096)] or [b""]
    requests: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": part is not parts[-1]}
        for part in parts
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return requests.pop(0) if requests else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": call.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in call.pairs()],
        "client": (call.client, 40_000),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )
