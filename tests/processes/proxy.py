"""A TCP proxy on loopback that breaks what passes it, by rules that change while it runs.

It corrupts nothing: bytes that pass are the bytes that came, late, in part, or not at all. A rule
says what happens in one direction; `up` is from the node to the exchange. What a rule does to
connections that stand already and to new ones is the same.

    rule       what happens to the direction
    ---------  --------------------------------------------------------------
    PASS       nothing
    SWALLOW    read and thrown away: half-open, nobody is told
    STALL      not read any more: the sender's buffers fill
    TRUNCATE   half of the next part passes, then the connection is reset; once
    slow       `delay_s` before each part, at most `bytes_per_s`
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum
from typing import Self

import msgspec

PART = 16 * 1024
LOOK_S = 0.01


class Fate(StrEnum):
    """What becomes of the bytes of one direction."""

    PASS = "pass"
    SWALLOW = "swallow"
    STALL = "stall"
    TRUNCATE = "truncate"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One direction."""

    fate: Fate = Fate.PASS
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    """0 is as fast as it goes."""


class Direction(StrEnum):
    """From the node to the exchange, or back."""

    UP = "up"
    DOWN = "down"


class Proxy:
    """Stands before one `host:port`; use it with `async with`."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._rules = dict.fromkeys(Direction, Rule())
        self._refusing = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.bytes = dict.fromkeys(Direction, 0)
        self.swallowed = dict.fromkeys(Direction, 0)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def place(self) -> str:
        """Its own `host:port`."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    # --- breaking ---

    def rule(self, up: Rule | None = None, down: Rule | None = None) -> None:
        """Change a direction, or both."""
        for direction, rule in ((Direction.UP, up), (Direction.DOWN, down)):
            if rule is not None:
                self._rules[direction] = rule

    def both(self, fate: Fate) -> None:
        """The same fate for both directions."""
        self.rule(Rule(fate=fate), Rule(fate=fate))

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset whoever connects from now on."""
        self._refusing = refusing

    def reset(self) -> None:
        """Reset every connection that stands (RST, not FIN)."""
        for writer in tuple(self._open):
            _abort(writer)

    def heal(self) -> None:
        """Pass everything again; what was swallowed stays lost."""
        self.refuse(refusing=False)
        self.both(Fate.PASS)

    # --- passing ---

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _abort(writer)
            return
        host, port = self._target.split(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            _abort(writer)
            return
        ends = {writer, far_writer}
        self._open |= ends
        work = [
            asyncio.create_task(self._pump(Direction.UP, reader, far_writer)),
            asyncio.create_task(self._pump(Direction.DOWN, far_reader, writer)),
        ]
        self._tasks.update(work)
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._tasks.difference_update(work)
            self._open -= ends
            for end in ends:
                end.close()

    async def _pump(
        self, way: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                part = await reader.read(PART)
                if not part:
                    return
                while self._rules[way].fate is Fate.STALL:  # noqa: ASYNC110 - rules are looked at
                    await asyncio.sleep(LOOK_S)
                rule = self._rules[way]
                if rule.fate is Fate.SWALLOW:
                    self.swallowed[way] += len(part)
                    continue
                if rule.fate is Fate.TRUNCATE:
                    writer.write(part[: len(part) // 2])
                    await writer.drain()
                    self._rules[way] = Rule()
                    _abort(writer)
                    return
                pause_s = rule.delay_s
                if rule.bytes_per_s:
                    pause_s += len(part) / rule.bytes_per_s
                if pause_s:
                    await asyncio.sleep(pause_s)
                self.bytes[way] += len(part)
                writer.write(part)
                await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: no goodbye reaches the other side."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
