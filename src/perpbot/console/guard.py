"""Stands before the application: asks the gate, caps what is read, and hardens every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from perpbot.console.access import Asked, Gate

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX = 16_384
HEAD_BYTES_MAX = 16_384
TARGET_BYTES_MAX = 4_096

HARDENING = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""On every answer, refusals included. There is no Access-Control header: no other page reads."""


def guard(app: Application, gate: Gate) -> Application:
    """Return `app` behind `gate`. What is refused never reaches it."""

    async def guarded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        refused = _too_large(scope) or gate.refusal(_asked(scope))
        if refused is None:
            body = await _body(receive)
            if body is not None:
                await app(scope, _once(body, receive), _hardened(send))
                return
            refused = 413, f"the body is larger than {BODY_BYTES_MAX} bytes"
        await _refuse(send, *refused)

    return guarded


def _asked(scope: Message) -> Asked:
    client = scope.get("client")
    return Asked(
        method=scope["method"],
        path=scope["path"],
        headers=[
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        ],
        query=scope.get("query_string", b"").decode("latin-1"),
        client=client[0] if client else "",
    )


def _too_large(scope: Message) -> tuple[int, str] | None:
    """Refuse before the gate remembers anything: a body that nobody reads is no attempt."""
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > TARGET_BYTES_MAX:
        return 414, f"the address is longer than {TARGET_BYTES_MAX} bytes"
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES_MAX:
        return 431, f"the headers are longer than {HEAD_BYTES_MAX} bytes"
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and not (
            value.isdigit() and len(value) < 12 and int(value) <= BODY_BYTES_MAX
        ):
            return 413, f"the body is larger than {BODY_BYTES_MAX} bytes"
    return None


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body; None where it is too large or its sender went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _once(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _hardened(send: Send) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in HARDENING}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
            message = {**message, "headers": [*kept, *HARDENING]}
        await send(message)

    return hardened


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = msgspec.json.encode({"error": reason})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *HARDENING,
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    # Whatever of the request was not read must not be taken for the next one.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
