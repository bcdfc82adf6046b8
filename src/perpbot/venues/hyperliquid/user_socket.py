"""The user's websocket: private channels and posted requests share one connection.

The venue's private frames do not say whose they are, so a socket serves one user. It is up once
the channels that orders depend on have been confirmed; a lost connection makes every posted
request that waits for its answer `OutcomeUnknown`. While it does not answer nothing is posted; a
post that ends without a word closes it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec

from perpbot.domain.errors import OutcomeUnknown, Unavailable
from perpbot.kernel.clock import SECOND, Clock
from perpbot.venues.hyperliquid.actions import post_frame
from perpbot.venues.hyperliquid.codec import (
    GREETING,
    PING,
    PONG,
    ErrorFrame,
    SubscriptionFrame,
    subscribe,
    unsubscribe,
)
from perpbot.venues.hyperliquid.replies import refused_post
from perpbot.venues.hyperliquid.universe import VENUE
from perpbot.venues.hyperliquid.user_codec import (
    PostFrame,
    UserFrame,
    channel_of,
    decode_user,
)
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.pending import Echo, PendingReplies
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

_PING_INTERVAL_S = 5.0
_DEAD_AFTER_S = 12.0
"""Here the venue's pong counts as life: an order that is posted into a half-open socket has no
answer, and every hedge after it would go the same way, so two missed pongs are the end."""
_SILENCE_S = 60.0
"""A quiet account says nothing for hours; asked again after so long, the venue must answer."""
_CONFIRM_S = 10.0
_MAX_FRAME_BYTES = 8 << 20
"""The first frame of `userFills` repeats up to 2000 executions."""
_MAX_INFLIGHT = 100
"""The venue takes no more posts than these at once; further ones go by REST."""
_CHANNELS = (
    "orderUpdates",
    "userFills",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "clearinghouseState",
)
_NEEDED = frozenset({"orderUpdates", "userFills"})


class UserSocket:
    """Posts requests and hands private frames to `on_frame`; `run` owns the connection.

    `on_unreadable` hears the channel of a frame that could not be read.
    """

    def __init__(
        self,
        *,
        ws_url: str,
        user: str,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        watch_interval_s: float = 1.0,
    ) -> None:
        self._watch_interval_s = watch_interval_s
        self._ws_url = ws_url
        self._user = user
        self._clock = clock
        self._pending: PendingReplies[int, bytes] = PendingReplies()
        self._echo = Echo(clock)
        self._last_id = 0
        self._unconfirmed: set[str] = set()
        self._confirmed = asyncio.Event()
        self._connection: Connection | None = None
        self._last_data_ns = 0
        self._asked_ns = 0
        self.on_frame: Callable[[UserFrame], None] = lambda _frame: None
        self.on_up: Callable[[], None] = lambda: None
        self.on_down: Callable[[str], None] = lambda _reason: None
        self.on_unreadable: Callable[[str], None] = lambda _channel: None
        self._channel = WebSocketChannel(
            venue=VENUE,
            name="user",
            url=self._url,
            on_open=self._opened,
            on_text=self._read,
            on_down=self._lost,
            clock=clock,
            rng=rng,
            dials=dials,
            private=True,
            ping=PING,
            ping_interval_s=_PING_INTERVAL_S,
            silence_s=_DEAD_AFTER_S,
            open_timeout_s=_CONFIRM_S,
            max_frame_bytes=_MAX_FRAME_BYTES,
        )

    @property
    def is_up(self) -> bool:
        """Whether requests can be posted."""
        return self._channel.is_up

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._channel.run(), name=f"{VENUE}.user")
            tasks.create_task(self._watch(), name=f"{VENUE}.user.watch")

    async def post(self, request: bytes, sent: Callable[[], None], *, timeout_s: float) -> bytes:
        """Post a signed action and return the exchange's answer.

        Raises `Unavailable` when it was certainly not sent, `OutcomeUnknown` without an answer,
        and what the answer means where it is an error.
        """
        return await self.answer(self.begin(request, sent), timeout_s=timeout_s)

    def begin(self, request: bytes, sent: Callable[[], None]) -> asyncio.Future[bytes]:
        """Post a signed action now; `answer` waits for it. `Unavailable`: nothing was sent."""
        if len(self._pending) >= _MAX_INFLIGHT:
            raise Unavailable(VENUE, f"{_MAX_INFLIGHT} posts wait for their answers")
        if self._echo.is_late:
            raise Unavailable(VENUE, "the last post was not answered")
        self._last_id += 1
        request_id = self._last_id
        self._channel.send(post_frame(request_id, request))
        sent()
        self._echo.sent()
        # Nothing is read before this step ends: the answer finds its waiter.
        return self._pending.new(request_id)

    async def answer(self, reply: asyncio.Future[bytes], *, timeout_s: float) -> bytes:
        """Return the answer of a post; errors as `post`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError:
            if self._echo.is_missing:
                self._channel.reconnect(f"no answer in {timeout_s:g} s")
            raise OutcomeUnknown(VENUE, f"no answer to a post in {timeout_s:g} s") from None

    async def _url(self) -> str:
        return self._ws_url

    async def _opened(self, connection: Connection) -> None:
        self._confirmed = asyncio.Event()
        self._unconfirmed = set(_NEEDED)
        self._last_data_ns = self._asked_ns = self._clock.monotonic_ns()
        self._connection = connection
        for kind in _CHANNELS:
            connection.send(subscribe(kind, user=self._user))
        await self._confirmed.wait()
        self.on_up()

    def _lost(self, reason: str) -> None:
        self._echo.heard()
        self._pending.fail_all(
            lambda: OutcomeUnknown(VENUE, f"connection lost while waiting: {reason}")
        )
        self.on_down(reason)

    async def _watch(self) -> None:
        """Subscribe again after a long silence; who does not answer that is not there."""
        while True:
            await asyncio.sleep(self._watch_interval_s)
            now_ns = self._clock.monotonic_ns()
            if not self.is_up or now_ns - self._last_data_ns < _SILENCE_S * SECOND:
                continue
            if self._asked_ns <= self._last_data_ns:
                self._asked_ns = now_ns
                self.resubscribe()
            elif now_ns - self._asked_ns >= _CONFIRM_S * SECOND:
                self._channel.reconnect("a subscribe was not answered")

    def resubscribe(self) -> None:
        """Subscribe anew on the same connection: fills and funding come again in full."""
        try:
            for kind in _CHANNELS:
                self._channel.send(unsubscribe(kind, user=self._user))
                self._channel.send(subscribe(kind, user=self._user))
        except Unavailable as error:
            # The loss itself is told by the channel; this is only the reason for asking again.
            self._channel.reconnect(f"cannot subscribe: {error.message}")

    def _read(self, payload: memoryview, recv_ns: int) -> None:
        self._echo.heard()
        if payload == PONG:
            return
        self._last_data_ns = recv_ns
        try:
            frame = decode_user(payload)
        except UNREADABLE:
            if payload[: len(GREETING)] != GREETING:
                self.on_unreadable(channel_of(payload))
            return
        if type(frame) is PostFrame:
            self._answered(frame)
        elif type(frame) is SubscriptionFrame:
            self._unconfirmed.discard(frame.data.subscription.type)
            if not self._unconfirmed:
                self._confirmed.set()
        elif type(frame) is ErrorFrame:
            self._refused(frame.data)
        else:
            self.on_frame(frame)

    def _refused(self, text: str) -> None:
        if "clearinghouseState" in text:
            # An older server: the same state comes as part of a larger push.
            assert self._connection is not None
            self._connection.send(subscribe("webData2", user=self._user))
        elif any(kind in text for kind in self._unconfirmed):
            # Out of the read path this closes the connection, with its reason.
            raise Unavailable(VENUE, f"refused: {text[:200]}")
        else:
            self.on_unreadable("error")

    def _answered(self, frame: PostFrame) -> None:
        post = frame.data
        # The payload lives in the socket's buffer; the waiter reads it later.
        payload = bytes(post.response.payload)
        if post.response.type == "action":
            self._pending.resolve(post.id, payload)
            return
        try:
            text = msgspec.json.decode(payload, type=str)
        except UNREADABLE:
            text = payload.decode(errors="replace")
        self._pending.fail(post.id, refused_post(text))
