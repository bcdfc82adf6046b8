"""Just enough of RFC 6455 for servers that must cost nothing, and the processes they run in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"(?i)sec-websocket-key:\s*(\S+)")


def frame(payload: bytes) -> bytes:
    """Return one text frame of a server."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def accept(head: bytes) -> bytes:
    """Return the answer to an upgrade request."""
    found = _KEY.search(head)
    assert found is not None
    digest = hashlib.sha1(found.group(1) + _MAGIC, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def read_head(connection: socket.socket) -> bytes:
    """Return a request up to its empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        if not part:
            return b""
        head += part
    return head


def unmasked(data: bytearray) -> tuple[bytes, int] | None:
    """Return the first frame of a client and its length on the wire; None while not whole."""
    if len(data) < 6:
        return None
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    end = start + 4 + size
    if len(data) < end:
        return None
    mask = data[start : start + 4] * (size // 4 + 1)
    number = int.from_bytes(data[start + 4 : end], "big") ^ int.from_bytes(mask[:size], "big")
    return number.to_bytes(size, "big"), end


class Server:
    """A server process: its port, and the lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def line(self, timeout_s: float = 60.0) -> bytes:
        """Return its next line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            text = await self._process.stdout.readline()
        if not text:
            raise RuntimeError("a benchmark server ended early; its error is above")
        return text


@asynccontextmanager
async def server(module: str, *arguments: str) -> AsyncIterator[Server]:
    """Run `python -m tests.benchmarks.MODULE`, which prints its port first, for a while."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.benchmarks.{module}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        running = Server(process, 0)
        running.port = int(await running.line())
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
