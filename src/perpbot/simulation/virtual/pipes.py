"""Connections of a virtual network: links of two pipes, each an asyncio transport.

Bytes take a latency and arrive in order, in whole or in pieces; a connection may be refused, hang,
fail its certificate, be reset in the middle of a frame, or fall silent in one direction without
anybody being told. `Weather` decides for every connection and every write; `CalmWeather` lets all
through. What a transport does is what asyncio's do: back-pressure, end of file, abort.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from typing import Any, Protocol

import msgspec

from perpbot.simulation.virtual.hosts import HOST
from perpbot.simulation.virtual.loop import VirtualLoop
from perpbot.simulation.virtual.sockets import VirtualSocket

MS = 1_000_000
HIGH_WATER = 1 << 16
FIRST_LINE_LIMIT = 512


class Meeting(Enum):
    """How an attempt to connect ends."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    HANG = "hang"
    """No answer ever comes."""
    BAD_CERTIFICATE = "bad certificate"


class Carriage(msgspec.Struct, frozen=True):
    """What becomes of one write."""

    delay_ns: int = MS
    lost: bool = False
    """These bytes and all that follow vanish; nobody is told."""
    reset_after: int = -1
    """After so many of these bytes the connection breaks; -1: it does not."""
    pieces: int = 1
    spread_ns: int = 0
    """Time between the first piece and the last."""


class Weather(Protocol):
    """What happens between hosts. `name` is how the client called the server."""

    def resolves(self, name: str) -> bool:
        """Whether the name can be looked up now."""

    def meets(self, name: str, port: int) -> Meeting:
        """How an attempt to connect ends."""

    def carry(self, link: Link, size: int, *, up: bool) -> Carriage:
        """What becomes of `size` bytes, `up` to the server or down from it."""


class CalmWeather:
    """Everything arrives whole after a millisecond."""

    def resolves(self, name: str) -> bool:
        """Every known name does."""
        return True

    def meets(self, name: str, port: int) -> Meeting:
        """Every attempt succeeds where somebody listens."""
        return Meeting.ACCEPT

    def carry(self, link: Link, size: int, *, up: bool) -> Carriage:
        """Whole and in time."""
        return Carriage()


class Carrier(Protocol):
    """What a pipe needs of its network."""

    loop: VirtualLoop
    weather: Weather

    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something that belongs to no host."""

    def forget(self, link: Link) -> None:
        """An end of a link is gone."""


class Link:
    """One connection: who called whom, the first line that was sent, and its two ends."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.first_line = b""
        self.label = ""
        """For whoever decides about links."""
        self.client: Pipe
        self.server: Pipe
        self.silent_up = False
        self.silent_down = False

    @property
    def open(self) -> bool:
        """Whether either end still stands."""
        return not (self.client.lost and self.server.lost)

    def reset(self) -> None:
        """Break it: both ends hear of it at once."""
        self.client.break_off()
        self.server.break_off()


class Pipe(asyncio.Transport):
    """One end of a link: an asyncio transport."""

    def __init__(
        self,
        network: Carrier,
        link: Link,
        sock: VirtualSocket,
        context: Context,
        *,
        up: bool,
    ) -> None:
        super().__init__()
        self._network = network
        self._loop = network.loop
        self.link = link
        self._socket = sock
        self._up = up
        self.context = context
        self.peer: Pipe
        self.lost = False
        """`connection_lost` was called or is about to be."""
        self.written = 0
        """Bytes that our side has sent, whatever became of them."""
        self._wrote_ns = 0
        self.taken = 0
        """Bytes that our side was given."""
        self.on_taken: Callable[[], None] | None = None
        """Hears whenever our side was given some."""
        self._protocol: Any = None
        self._closing = False
        self._reading = True
        self._paused_protocol = False
        self._cut = False
        self._arrivals: deque[tuple[int, bytes | None, bool]] = deque()
        """(due, bytes or None for the end, whether the end is a reset) on the way to us."""
        self._waking_ns = 0
        self._unread = 0
        self._last_due_ns = 0

    # --- asyncio's transport ---------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Socket and names."""
        if name == "socket":
            return self._socket
        if name == "peername":
            return self._socket.peer
        if name == "sockname":
            return self._socket.own
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who reads here."""
        found: asyncio.BaseProtocol = self._protocol
        return found

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether data is taken."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Leave data with the sender."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take data again."""
        if not self._reading:
            self._reading = True
            self._wake()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Fixed."""

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high."""
        return (HIGH_WATER // 4, HIGH_WATER)

    def get_write_buffer_size(self) -> int:
        """Bytes that the other side has not taken."""
        return self.peer._unread  # noqa: SLF001 - two ends of one thing

    def can_write_eof(self) -> bool:
        """Half-closing is not used by anybody here."""
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        host = self.context.get(HOST)
        if self._closing or self.lost or not data or (host is not None and not host.alive):
            return
        self.written += len(data)
        self._wrote_ns = self._loop.now_ns()
        self._carry(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Send all in one piece."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Send what is under way, then the end."""
        if not self._closing:
            self._closing = True
            self._send_end(reset=False)
            self._lose(None)

    def abort(self) -> None:
        """End at once."""
        if not self.lost:
            self._closing = True
            self._send_end(reset=True)
            self._lose(None)

    @property
    def idle_ns(self) -> int:
        """How long ago our side sent something last."""
        return self._loop.now_ns() - self._wrote_ns

    # --- the network's side ----------------------------------------------------------------------

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Begin to serve a protocol."""
        self._protocol = protocol
        protocol.connection_made(self)

    def break_off(self) -> None:
        """The connection was reset."""
        self._arrivals.clear()
        if not self.lost:
            self._closing = True
            self._lose(ConnectionResetError(errno.ECONNRESET, "connection reset by peer"))

    def _carry(self, data: bytes) -> None:
        link, loop = self.link, self._loop
        if self._up and not link.first_line:
            link.first_line = data[:FIRST_LINE_LIMIT].split(b"\r\n", 1)[0]
        carriage = self._network.weather.carry(link, len(data), up=self._up)
        if carriage.lost:
            if self._up:
                link.silent_up = True
            else:
                link.silent_down = True
        self.peer._unread += len(data)  # noqa: SLF001 - two ends of one thing
        self._check_pressure()
        if self._cut or (link.silent_up if self._up else link.silent_down):
            return  # nobody acknowledges: the bytes stay with us
        now_ns = loop.now_ns()
        if carriage.reset_after >= 0:
            self._cut = True  # a stream has no holes: nothing follows what was cut off
            self._network.later(carriage.delay_ns + MS, link.reset)
            data = data[: carriage.reset_after]
        due_ns = max(now_ns + carriage.delay_ns, self._last_due_ns)
        count = max(1, min(carriage.pieces, len(data)))
        size = -(-len(data) // count) or 1
        for number, start in enumerate(range(0, len(data), size)):
            at_ns = due_ns + carriage.spread_ns * number // max(count - 1, 1)
            self.peer._expect(at_ns, data[start : start + size])  # noqa: SLF001
            self._last_due_ns = at_ns

    def _send_end(self, *, reset: bool) -> None:
        link = self.link
        if link.silent_up if self._up else link.silent_down:
            return
        carriage = self._network.weather.carry(link, 0, up=self._up)
        due_ns = max(self._loop.now_ns() + carriage.delay_ns, self._last_due_ns)
        self._last_due_ns = due_ns
        self.peer._expect(due_ns, None, reset=reset)  # noqa: SLF001

    def _expect(self, due_ns: int, data: bytes | None, *, reset: bool = False) -> None:
        self._arrivals.append((due_ns, data, reset))
        self._wake()

    def _wake(self) -> None:
        """Be called when the first arrival is due."""
        if not self._arrivals:
            return
        due_ns = max(self._arrivals[0][0], self._loop.now_ns())
        if self._waking_ns == 0 or due_ns < self._waking_ns:
            self._waking_ns = due_ns
            self._loop.call_at_ns(due_ns, self._arrive, context=self.context)

    def _arrive(self) -> None:
        self._waking_ns = 0
        now_ns = self._loop.now_ns()
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= now_ns and self._protocol is not None:
            data, reset = arrivals[0][1:]
            if self.lost or self._closing:
                arrivals.clear()
                return
            if data is None:
                arrivals.popleft()
                self._hear_end(reset=reset)
                return
            if not self._reading:
                return
            arrivals.popleft()
            self._unread -= len(data)
            self.peer._check_pressure()  # noqa: SLF001 - two ends of one thing
            self.taken += len(data)
            if self.on_taken is not None:
                self.on_taken()
            self._feed(data)
        self._wake()

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(data)
            return
        while data and not self._closing:
            buffer = memoryview(protocol.get_buffer(-1)).cast("B")
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]
            protocol = self._protocol

    def _hear_end(self, *, reset: bool) -> None:
        if reset:
            self.break_off()
        elif not self._protocol.eof_received():
            self.close()

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self._socket.close()
        self._network.forget(self.link)
        self._loop.call_soon(self._tell_lost, error, context=self.context)

    def _tell_lost(self, error: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _check_pressure(self) -> None:
        """Tell our protocol to pause while the other side does not take what we send."""
        waiting = self.peer._unread  # noqa: SLF001 - two ends of one thing
        if self._protocol is None or self.lost:
            return
        if not self._paused_protocol and waiting > HIGH_WATER:
            self._paused_protocol = True
            self._protocol.pause_writing()
        elif self._paused_protocol and waiting <= HIGH_WATER // 4:
            self._paused_protocol = False
            self._protocol.resume_writing()
