"""One logical websocket stream: connects, reconnects without limit, and watches for data.

The read path is synchronous: `on_text` gets a memoryview into the socket's buffer in the same call
in which the frame was parsed, without a copy, task or queue. Fragmented messages are joined (the
only copy). Silence is judged by data frames; pings, pongs and the venue's text pong do not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import picows

from perpbot.domain.errors import AuthFailed, PerpbotError, Unavailable
from perpbot.kernel.clock import SECOND, Clock
from perpbot.venues.wire.backoff import Backoff
from perpbot.venues.wire.dials import Dials

REFUSED_PAUSE_S = 5.0
"""At least so long between two logins where the venue refuses our key: three in ten seconds."""
_TEXT = picows.WSMsgType.TEXT
_BINARY = picows.WSMsgType.BINARY
_CONTINUATION = picows.WSMsgType.CONTINUATION
_CLOSE = picows.WSMsgType.CLOSE


class Connection(Protocol):
    """One open socket."""

    def send(self, data: bytes) -> None:
        """Send a text frame; raise `Unavailable` when the socket is gone."""

    def close(self) -> None:
        """Close the socket; the channel reconnects."""


class ChannelStatistics(msgspec.Struct, kw_only=True):
    """Counts of one channel since it was made; times are monotonic ns."""

    connects: int = 0
    losses: int = 0
    frames: int = 0
    bytes: int = 0
    last_data_ns: int = 0
    last_reason: str = ""
    """Why the last connection, or attempt, ended."""
    reasons: dict[str, int] = {}
    """How often each kind of end was seen."""


class _Socket(picows.WSListener):
    """The listener of one connection; frames go straight to `on_text`."""

    def __init__(
        self,
        *,
        venue: str,
        on_text: Callable[[memoryview, int], None],
        now_ns: Callable[[], int],
        max_bytes: int,
        pong: bytes | None,
        statistics: ChannelStatistics,
    ) -> None:
        self._venue = venue
        self._on_text = on_text
        self._now_ns = now_ns
        self._max_bytes = max_bytes
        self._pong = None if pong is None else memoryview(pong)
        self._pong_size = -1 if pong is None else len(pong)
        self._frames_before = self.frames = statistics.frames
        self.bytes = statistics.bytes
        self._parts: bytearray | None = None
        self._transport: picows.WSTransport | None = None
        self.data_ns = 0
        self.kind = ""
        self.reason = ""
        self.fault: Exception | None = None
        self.gone = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        self.data_ns = self._now_ns()
        if self.reason:
            # Ended before it stood: nobody waits for it any more.
            transport.disconnect(graceful=False)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        # By identity: comparing enums costs as much as reading the frame.
        if frame.fin and frame.msg_type is _TEXT:
            payload = frame.get_payload_as_memoryview()
        else:
            whole = self._message_of(transport, frame)
            if whole is None:
                return
            payload = whole
        recv_ns = self._now_ns()
        size = len(payload)
        if self.reason or (size == self._pong_size and payload == self._pong):
            return
        self.frames += 1
        self.bytes += size
        self.data_ns = recv_ns
        try:
            self._on_text(payload, recv_ns)
        except PerpbotError as error:
            self.end("refused", f"frame refused: {error}")
        except Exception as error:  # noqa: BLE001 - a fault of ours; run() raises it
            self.fault = error
            self.end("fault", f"reader failed: {type(error).__name__}: {error}")

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if not self.reason:
            handshake = transport.close_handshake
            # None until somebody sent or received a close frame, whatever the stub says.
            sent = getattr(handshake, "sent", None)
            if sent is not None and sent.reason:
                # picows closes by itself when a frame breaks the protocol or is too large.
                oversize = sent.code == picows.WSCloseCode.MESSAGE_TOO_BIG
                self.end("oversize" if oversize else "protocol", f"closed by us: {sent.reason}")
            else:
                self.end("lost", "connection lost")
        self.gone.set()

    def send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or self.reason:
            raise Unavailable(self._venue, f"websocket is down: {self.reason or 'connecting'}")
        transport.send(_TEXT, data)

    def close(self) -> None:
        self.end("closed", "closed by us")

    def end(self, kind: str, reason: str) -> None:
        """Close the socket and remember why; only the first reason counts."""
        if self.reason:
            return
        self.kind = kind
        self.reason = reason
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def finished(self) -> None:
        """Wait until the socket is closed; the reason is in `reason` already."""
        await self.gone.wait()
        if self._transport is not None:
            with contextlib.suppress(picows.WSError, OSError):
                await self._transport.wait_disconnected()

    @property
    def had_data(self) -> bool:
        """Whether a data frame has come."""
        return self.frames > self._frames_before

    def count_into(self, statistics: ChannelStatistics) -> None:
        """Bring the counts of the channel up to now."""
        statistics.frames = self.frames
        statistics.bytes = self.bytes
        if self.had_data:
            statistics.last_data_ns = self.data_ns

    def _message_of(
        self, transport: picows.WSTransport, frame: picows.WSFrame
    ) -> memoryview | None:
        """Return the message that an unusual frame is, or completes."""
        kind = frame.msg_type
        if kind == _CLOSE:
            payload = frame.get_payload_as_bytes()
            code = int.from_bytes(payload[:2], "big")
            message = payload[2:].decode("utf-8", "replace")
            transport.send_close(picows.WSCloseCode.OK)
            self.end("closed by venue", f"closed by the venue: {code} {message}".rstrip())
        elif kind == _CONTINUATION or (kind in (_TEXT, _BINARY) and not frame.fin):
            return self._join(frame)
        elif kind in (_TEXT, _BINARY):
            return frame.get_payload_as_memoryview()
        return None

    def _join(self, frame: picows.WSFrame) -> memoryview | None:
        if self._parts is None:
            self._parts = bytearray()
        parts = self._parts
        parts += frame.get_payload_as_memoryview()
        if len(parts) > self._max_bytes:
            self.end("oversize", f"message is larger than {self._max_bytes} bytes")
        elif frame.fin:
            self._parts = None
            return memoryview(parts)
        return None


class _Attempt:
    """One attempt to connect. Given up, it leaves no socket: neither now nor by a late answer."""

    def __init__(self, make: Callable[[], _Socket], found: Callable[[_Socket], None]) -> None:
        self._make = make
        self._found = found
        self._socket: _Socket | None = None
        self._given_up = False

    def answered(self) -> _Socket:
        """The handshake was answered: return what listens."""
        self._socket = socket = self._make()
        if self._given_up:
            socket.end("stopped", "stopped")
        else:
            self._found(socket)
        return socket

    async def give_up(self) -> None:
        """Close what stands already."""
        self._given_up = True
        if self._socket is not None:
            self._socket.end("stopped", "stopped")
            await self._socket.finished()


class WebSocketChannel:
    """See the module. `run` owns the connection; everything else may be called at any time.

    `url` is asked before each attempt. `on_open` logs in and subscribes; what it raises closes
    the socket and is retried. `on_text` must not keep the memoryview; a `PerpbotError` out of it
    closes the socket and reconnects, any other exception is a fault and ends `run`. `on_down` is
    called once for each connection that was opened and lost (also when `on_open` did not finish),
    and once when the first attempt fails. `pong` is the venue's text answer to `ping`: frames
    equal to it are neither data nor delivered. Every attempt takes a turn at `dials`; `private`
    channels, which carry orders or private news, go first there.
    """

    def __init__(
        self,
        *,
        venue: str,
        name: str,
        url: Callable[[], Awaitable[str]],
        on_open: Callable[[Connection], Awaitable[None]],
        on_text: Callable[[memoryview, int], None],
        on_down: Callable[[str], None],
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        private: bool = False,
        ping: bytes | None = None,
        pong: bytes | None = None,
        ping_interval_s: float = 20.0,
        silence_s: float = 10.0,
        open_timeout_s: float = 10.0,
        max_frame_bytes: int = 1 << 20,
        backoff_base_s: float = 1.0,
        backoff_cap_s: float = 60.0,
    ) -> None:
        self._venue = venue
        self._name = name
        self._url = url
        self._on_open = on_open
        self._on_text = on_text
        self._on_down = on_down
        self._clock = clock
        self._dials = dials
        self._private = private
        self._ping = ping
        self._pong = pong
        self._ping_interval_s = ping_interval_s
        self._silence_s = silence_s
        self._open_timeout_s = open_timeout_s
        self._max_frame_bytes = max_frame_bytes
        self._backoff = Backoff(base_s=backoff_base_s, cap_s=backoff_cap_s, rng=rng)
        self._socket: _Socket | None = None
        self._up = False
        self._opened = False
        """Whether `on_open` finished on the newest connection."""
        self._refused = False
        """Whether it ended because the venue does not let us in."""
        self._told_down = False
        self._statistics = ChannelStatistics(reasons={})

    async def run(self) -> None:
        """Keep the stream open until cancelled."""
        try:
            while True:
                socket = await self._connect()
                if socket is not None:
                    try:
                        await self._serve(socket)
                    finally:
                        socket.end("stopped", "stopped")
                        self._lost(socket.kind, socket.reason)
                        await socket.finished()
                    if socket.fault is not None:
                        raise socket.fault
                    # The words of a refusal are data too, and prove nothing.
                    if socket.had_data and self._opened:
                        self._backoff.reset()
                delay_s = self._backoff.next_s()
                await asyncio.sleep(max(delay_s, REFUSED_PAUSE_S) if self._refused else delay_s)
        finally:
            self._up = False
            self._socket = None

    def send(self, data: bytes) -> None:
        """Send a text frame; raise `Unavailable` when the stream is not open."""
        if not self._up or self._socket is None:
            raise Unavailable(self._venue, f"the {self._name} websocket is down")
        self._socket.send(data)

    def reconnect(self, reason: str) -> None:
        """Drop the connection and open a new one (an expired session, a desynchronised book)."""
        if self._socket is not None:
            self._socket.end("reconnect", reason)

    @property
    def is_up(self) -> bool:
        """Whether `on_open` has finished on a connection that still stands."""
        return self._up

    def statistics(self) -> ChannelStatistics:
        """Return the counts up to now (copy what you keep)."""
        if self._socket is not None:
            self._socket.count_into(self._statistics)
        return self._statistics

    async def _connect(self) -> _Socket | None:
        # Frames may be read before ws_connect returns; reconnect() must find the socket by then.
        attempt = _Attempt(self._new_socket, self._answered)
        self._opened = self._refused = False
        try:
            url = await self._url()
            async with self._dials.turn(private=self._private):
                listener = await self._dial(url, attempt)
        except (OSError, PerpbotError, picows.WSError, picows.WSInvalidURL) as error:
            self._refused = isinstance(error, AuthFailed)
            self._lost("connect", f"cannot connect: {str(error) or type(error).__name__}")
            return None
        except asyncio.CancelledError:
            # picows leaves a handshake that is under way, or was just answered, to itself.
            await attempt.give_up()
            raise
        if not isinstance(listener, _Socket):
            # Lost before the handshake was answered: picows returns without a listener.
            self._lost("connect", "cannot connect: the connection was lost in the handshake")
            return None
        self._statistics.connects += 1
        return listener

    async def _dial(self, url: str, attempt: _Attempt) -> picows.WSListener | None:
        _, listener = await picows.ws_connect(
            attempt.answered,
            url,
            websocket_handshake_timeout=self._open_timeout_s,
            max_frame_size=self._max_frame_bytes,
            max_redirects=0,
            # Protocol pings find a half-open socket even where data may pause for hours.
            enable_auto_ping=self._ping is None,
            # Whatever comes in: sending is tried too, and the loop's clock is enough.
            auto_ping_strategy=picows.WSAutoPingStrategy.PING_PERIODICALLY,
            auto_ping_idle_timeout=self._ping_interval_s,
            auto_ping_reply_timeout=self._ping_interval_s,
            logger_name=f"{self._venue}.{self._name}",
        )
        return listener

    def _new_socket(self) -> _Socket:
        return _Socket(
            venue=self._venue,
            on_text=self._on_text,
            now_ns=self._clock.monotonic_ns,
            max_bytes=self._max_frame_bytes,
            pong=self._pong,
            statistics=self._statistics,
        )

    def _answered(self, socket: _Socket) -> None:
        self._socket = socket

    async def _serve(self, socket: _Socket) -> None:
        self._told_down = False  # what on_open announces must be taken back
        if not await self._open(socket):
            return
        self._up = self._opened = True
        next_ping_ns = self._clock.monotonic_ns() + int(self._ping_interval_s * SECOND)
        silence_ns = int(self._silence_s * SECOND)
        while not socket.gone.is_set() and not socket.reason:
            now_ns = self._clock.monotonic_ns()
            if now_ns - socket.data_ns >= silence_ns:
                socket.end("silence", f"no data for {self._silence_s:g} s")
                return
            due_ns = socket.data_ns + silence_ns
            if self._ping is not None:
                if now_ns >= next_ping_ns:
                    socket.send(self._ping)
                    next_ping_ns = now_ns + int(self._ping_interval_s * SECOND)
                due_ns = min(due_ns, next_ping_ns)
            try:
                async with asyncio.timeout((due_ns - now_ns) / SECOND):
                    await socket.gone.wait()
            except TimeoutError:
                continue

    async def _open(self, socket: _Socket) -> bool:
        """Run `on_open` against the clock and the socket's own end; False closes it."""
        if socket.reason:
            return False
        opening = asyncio.ensure_future(self._on_open(socket))
        gone = asyncio.ensure_future(socket.gone.wait())
        try:
            await asyncio.wait(
                {opening, gone},
                timeout=self._open_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not opening.done():
                socket.end("open", f"not ready within {self._open_timeout_s:g} s")
                return False
            try:
                opening.result()
            except PerpbotError as error:
                self._refused = isinstance(error, AuthFailed)
                socket.end("open", f"opening failed: {error}")
                return False
            return not socket.reason
        finally:
            for task in (opening, gone):
                task.cancel()
            await asyncio.gather(opening, gone, return_exceptions=True)

    def _lost(self, kind: str, reason: str) -> None:
        was_up, self._up = self._up, False
        if self._socket is not None:
            self._socket.count_into(self._statistics)
            self._socket = None
        self._statistics.last_reason = reason
        self._statistics.reasons[kind] = self._statistics.reasons.get(kind, 0) + 1
        if was_up:
            self._statistics.losses += 1
        if not self._told_down:
            self._told_down = True
            self._on_down(reason)
