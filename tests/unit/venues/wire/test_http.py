from __future__ import annotations

import asyncio
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable
from typing import Any

import pytest

from perpbot.domain.errors import OutcomeUnknown, Unavailable
from perpbot.kernel.clock import RealClock
from perpbot.venues.wire.http import HttpClient
from tests.venues.waiting import PATIENCE_S


async def _request(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + (await reader.readexactly(length) if length else b"")


def _answer(body: bytes, status: str = "200 OK", extra: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode()
    return head + extra + b"\r\n" + body


def _client(port: int, **options: Any) -> HttpClient:
    return HttpClient(
        venue="venue", base_url=f"http://127.0.0.1:{port}", clock=RealClock(), **options
    )


async def test_request_goes_out_exactly_as_given_and_keeps_the_connection(serve: Any) -> None:
    """The signed query is not re-encoded; two requests use one socket."""
    seen: list[bytes] = []
    sockets: list[int] = []

    async def script(reader: Reader, writer: Writer) -> None:
        sockets.append(1)
        while True:
            seen.append(await _request(reader))
            writer.write(_answer(b'{"ok":1}', "418 Teapot", b"X-Used: 7\r\n"))
            await writer.drain()

    client = _client(await serve(script))
    try:
        first = await client.request(
            "POST", "/order?a=1,2&b=%20c", headers={"X-Key": "k"}, body=b"z=1"
        )
        await client.request("DELETE", "/order")
    finally:
        await client.close()

    assert seen[0].startswith(b"POST /order?a=1,2&b=%20c HTTP/1.1\r\n")
    assert seen[0].endswith(b"\r\n\r\nz=1")
    assert b"X-Key: k\r\n" in seen[0]
    assert (first.status, first.headers["x-used"], first.body) == (418, "7", b'{"ok":1}')
    assert len(sockets) == 1
    assert client.statistics.requests == 2


@pytest.mark.parametrize("body", [b"", b"payload"], ids=["without body", "with body"])
async def test_sent_is_called_once_before_the_answer(serve: Any, body: bytes) -> None:
    """The moment of sending is known although the answer takes its time."""
    told: list[str] = []
    called = asyncio.Event()

    def sent() -> None:
        told.append("sent")
        called.set()

    async def script(reader: Reader, writer: Writer) -> None:
        await _request(reader)
        await called.wait()
        told.append("answered")
        writer.write(_answer(b"{}"))
        await writer.drain()

    client = _client(await serve(script))
    try:
        await client.request("POST", "/order", body=body, sent=sent)
    finally:
        await client.close()

    assert told == ["sent", "answered"]


async def test_refused_connection_is_unavailable(serve: Any) -> None:
    """Nothing left: the caller may act on it as on a refusal."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    told: list[int] = []
    client = _client(port)
    try:
        with pytest.raises(Unavailable, match="nothing was sent"):
            await client.request("POST", "/order", body=b"x", sent=lambda: told.append(1))
    finally:
        await client.close()

    assert told == []
    assert client.statistics.unavailable == 1


async def _reset(reader: Reader, writer: Writer) -> None:
    await _request(reader)
    writer.transport.abort()


async def _close(reader: Reader, writer: Writer) -> None:
    await _request(reader)


async def _half(reader: Reader, writer: Writer) -> None:
    await _request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


async def _nonsense(reader: Reader, writer: Writer) -> None:
    await _request(reader)
    writer.write(b"what?\r\n\r\n")
    await writer.drain()


async def _silent(reader: Reader, writer: Writer) -> None:
    await reader.read(-1)


async def _large(reader: Reader, writer: Writer) -> None:
    await _request(reader)
    writer.write(_answer(b"x" * 5000))
    await writer.drain()


@pytest.mark.parametrize(
    "script", [_reset, _close, _half, _nonsense, _silent, _large], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_failure_after_the_bytes_left_is_unknown_and_never_repeated(
    serve: Any,
    script: Callable[[Reader, Writer], Any],
    method: str,
    patience_ends: Callable[[], None],
) -> None:
    """Reset, close, half an answer, nonsense, silence, too much: the outcome is unknown."""
    connections: list[int] = []

    async def counted(reader: Reader, writer: Writer) -> None:
        connections.append(1)
        if script is _silent:
            await _request(reader)
            patience_ends()
        await script(reader, writer)

    client = _client(await serve(counted), timeout_s=PATIENCE_S, max_reply_bytes=1000)
    told: list[int] = []
    try:
        with pytest.raises(OutcomeUnknown):
            await client.request(method, "/order?x=1", sent=lambda: told.append(1))
    finally:
        await client.close()

    assert connections == [1]
    assert told == [1]
    assert client.statistics.unknown == 1


async def test_kept_connection_that_died_is_not_retried(serve: Any) -> None:
    """A DELETE on a socket that the venue closed meanwhile is unknown, not sent twice."""
    requests: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        requests.append(await _request(reader))
        writer.write(_answer(b"{}"))
        await writer.drain()
        requests.append(await _request(reader))

    client = _client(await serve(script))
    try:
        await client.request("DELETE", "/order")
        with pytest.raises(OutcomeUnknown):
            await client.request("DELETE", "/order")
    finally:
        await client.close()

    assert len(requests) == 2


async def test_redirect_is_an_answer_like_any_other(serve: Any) -> None:
    """Signed requests are never carried elsewhere."""

    async def script(reader: Reader, writer: Writer) -> None:
        await _request(reader)
        writer.write(_answer(b"", "302 Found", b"Location: http://127.0.0.1:1/\r\n"))
        await writer.drain()

    client = _client(await serve(script))
    try:
        reply = await client.request("GET", "/")
    finally:
        await client.close()

    assert reply.status == 302


async def test_closed_client_sends_nothing() -> None:
    """A request after close is Unavailable."""
    client = _client(1)
    await client.close()

    with pytest.raises(Unavailable, match="closed"):
        await client.request("GET", "/")


async def test_secrets_that_an_answer_repeats_are_masked(serve: Any) -> None:
    """A proxy that quotes our headers gives nothing to log; short words are left alone."""
    key = "k" * 40

    async def script(reader: Reader, writer: Writer) -> None:
        head = await _request(reader)
        writer.write(_answer(b"bad gateway: " + head + b" USDT", "502 Bad Gateway"))
        await writer.drain()

    client = _client(await serve(script), secrets=(key, "USDT", ""))
    try:
        reply = await client.request("GET", "/x", headers={"X-Key": key})
    finally:
        await client.close()

    assert b"X-Key: ********" in reply.body
    assert key.encode() not in reply.body
    assert reply.body.endswith(b" USDT")


async def test_an_error_of_the_library_quotes_no_signature() -> None:
    """Its text has the whole address."""
    client = HttpClient(venue="venue", base_url="http://nowhere:99999999", clock=RealClock())
    try:
        with pytest.raises(Unavailable) as failed:
            await client.request("GET", "/x?apiKey=canary-key&signature=canary-signature")
    finally:
        await client.close()

    assert "canary" not in f"{failed.value} {failed.value!r} {failed.value.message}"
