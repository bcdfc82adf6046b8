"""The websocket API of Binance (`/ws-fapi/v1`): requests with replies, each signed by itself.

Sessions that log in take Ed25519 keys only, so there is none; an open socket is ready. Once a
request was handed to it, it ends in its reply or in `OutcomeUnknown`: by timeout, or because the
connection was lost. It is never sent again. Every reply tells what the rate limits have counted.
While the socket does not answer the session is not ready, and orders go by REST; a request that
ends without a word closes it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec

from perpbot.domain.errors import OutcomeUnknown, PerpbotError
from perpbot.kernel.clock import Clock
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.pending import Echo, PendingReplies
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

API_PATH = "/ws-fapi/v1"
_SILENCE_S = 86_400.0
"""Nothing comes unasked; pings watch the socket, and Binance cuts it daily."""
_PING_INTERVAL_S = 5.0
"""Of a ping and of the patience for its pong: a half-open socket is found within 15 s."""


class LimitCount(msgspec.Struct, rename="camel"):
    """What one rate limit has counted so far."""

    rate_limit_type: str
    interval: str
    interval_num: int
    count: int = 0


class Pause(msgspec.Struct, rename="camel"):
    """The data of a refusal for rate: when to come back, ms UTC."""

    retry_after: int = 0


class ApiError(msgspec.Struct):
    """Why a request was refused."""

    code: int
    msg: str = ""
    data: Pause | None = None


class ApiReply(msgspec.Struct, rename="camel"):
    """The reply to a request; `status` is an HTTP status."""

    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: ApiError | None = None
    rate_limits: list[LimitCount] = []


_decode = msgspec.json.Decoder(ApiReply).decode


class ApiSession:
    """One socket of one account. `run` keeps it alive; requests may come from anywhere."""

    def __init__(
        self,
        *,
        url: str,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        timeout_s: float,
        on_counts: Callable[[Sequence[LimitCount]], None],
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._echo = Echo(clock)
        self._on_counts = on_counts
        self._replies: PendingReplies[str, ApiReply] = PendingReplies()
        self._last_id = 0
        self.unreadable = 0
        """Frames that could not be read: the request that one answered ends unknown."""
        self.channel = WebSocketChannel(
            venue=VENUE,
            name="orders",
            url=self._address,
            on_open=self._on_open,
            on_text=self._read,
            on_down=self._down,
            clock=clock,
            rng=rng,
            dials=dials,
            private=True,
            ping_interval_s=_PING_INTERVAL_S,
            silence_s=_SILENCE_S,
        )

    @property
    def is_ready(self) -> bool:
        """Whether requests can be sent: the socket is open, and answers."""
        return self.channel.is_up and not self._echo.is_late

    def next_id(self) -> str:
        """Return a request id that no other request of this session has."""
        self._last_id += 1
        return str(self._last_id)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            await self.channel.run()
        finally:
            self._down("the websocket was stopped")

    def post(
        self, number: str, frame: bytes, sent: Callable[[], None] | None = None
    ) -> asyncio.Future[ApiReply]:
        """Send one request now; `answer` waits for its reply. `Unavailable`: nothing was sent."""
        self.channel.send(frame)
        if sent is not None:
            sent()
        self._echo.sent()
        # Nothing is read before this step ends: the reply finds its waiter.
        return self._replies.new(number)

    async def answer(self, reply: asyncio.Future[ApiReply]) -> ApiReply:
        """Return the reply of a request that was sent; raise `OutcomeUnknown` without one."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await reply
        except TimeoutError:
            if self._echo.is_missing:
                self.channel.reconnect(f"no reply in {self._timeout_s:g} s")
            raise OutcomeUnknown(
                VENUE, f"no reply on the websocket in {self._timeout_s:g} s"
            ) from None

    async def _address(self) -> str:
        return self._url

    async def _on_open(self, _connection: Connection) -> None:
        """Nothing to log in to."""

    def _read(self, payload: memoryview, _recv_ns: int) -> None:
        self._echo.heard()
        try:
            reply = _decode(payload)
        except UNREADABLE:
            self.unreadable += 1
            return
        self._on_counts(reply.rate_limits)
        if reply.id is not None:
            self._replies.resolve(str(reply.id), reply)

    def _down(self, reason: str) -> None:
        self._echo.heard()

        def unknown() -> PerpbotError:
            return OutcomeUnknown(VENUE, f"the websocket of orders was lost: {reason}")

        self._replies.fail_all(unknown)
