"""The private websocket: login, subscriptions, pushes, and requests with replies.

It is ready when the login and every subscription were answered; before that nothing goes out and a
request raises `Unavailable`, so that the caller may take another way. Once a request was
handed to the socket it ends in its reply or in `OutcomeUnknown`: by timeout, or because the
connection was lost. It is never sent again. While the socket does not answer it is not ready, and
a request that ends without a word closes it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable

from perpbot.domain.errors import (
    OutcomeUnknown,
    PerpbotError,
    ProtocolViolation,
    Unavailable,
    VenueError,
)
from perpbot.kernel.clock import Clock
from perpbot.venues.okx.codec import Frame, decode_frame
from perpbot.venues.okx.errors import error_of
from perpbot.venues.okx.feed import PING, PONG, SERVICE_NOTICE
from perpbot.venues.okx.signing import Signer
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.pending import Echo, PendingReplies
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

PING_INTERVAL_S = 5.0
SILENCE_S = 12.0
"""A quiet account pushes nothing, so the venue's pong counts as life here: a half-open socket is
noticed within two missed pongs, and before an order is sent into it for long."""
OPEN_TIMEOUT_S = 8.0
"""For the login and the subscriptions together; the venue itself waits 30 s for a login."""

_SUBSCRIBE = (
    b'{"op":"subscribe","args":[{"channel":"orders","instType":"SWAP"},'
    b'{"channel":"positions","instType":"SWAP"},{"channel":"account"}]}'
)
_CHANNELS = frozenset({"orders", "positions", "account"})
_REQUEST_ID = re.compile(r'\\*"id\\*"\s*:\s*\\*"([0-9A-Za-z]{1,32})\\*"')
"""OKX answers a malformed request with an event whose `msg` quotes the request, id and all."""


class PrivateSession:
    """One login of one account. `run` keeps it alive; requests may come from anywhere."""

    def __init__(
        self,
        *,
        venue: str,
        url: str,
        signer: Signer,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        timeout_s: float,
    ) -> None:
        self._venue = venue
        self._url = url
        self._signer = signer
        self._timeout_s = timeout_s
        self._replies: PendingReplies[str, Frame] = PendingReplies()
        self._echo = Echo(clock)
        self._login: asyncio.Future[None] | None = None
        self._subscribed: asyncio.Future[None] | None = None
        self._unconfirmed: set[str] = set()
        self._connection: Connection | None = None
        self._last_id = 0
        self._on_push: Callable[[Frame], None] = lambda _frame: None
        self._on_change: Callable[[bool, str], None] = lambda _up, _reason: None
        self._refuse: Callable[[str], None] = lambda _reason: None
        self.channel = WebSocketChannel(
            venue=venue,
            name="private",
            url=self._address,
            on_open=self._open,
            on_text=self._read,
            on_down=self._down,
            clock=clock,
            rng=rng,
            dials=dials,
            private=True,
            ping=PING,
            ping_interval_s=PING_INTERVAL_S,
            silence_s=SILENCE_S,
        )

    @property
    def is_ready(self) -> bool:
        """Whether requests can be sent: logged in, and answered."""
        return self._connection is not None and not self._echo.is_late

    def next_id(self) -> str:
        """Return a request id that no other request of this session has."""
        self._last_id += 1
        return str(self._last_id)

    async def run(
        self,
        *,
        on_push: Callable[[Frame], None],
        on_change: Callable[[bool, str], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Stay logged in until cancelled; `on_change` hears each login and each loss."""
        self._on_push, self._on_change, self._refuse = on_push, on_change, refuse
        try:
            await self.channel.run()
        finally:
            self._fail_waiting("the private websocket was stopped")

    async def request(
        self, request_id: str, frame: bytes, sent: Callable[[], None] | None = None
    ) -> Frame:
        """Send one request and return its reply.

        Raises `Unavailable` when nothing was sent, the error of the venue's code when the frame
        was refused as a whole, `OutcomeUnknown` for everything after it was sent.
        """
        return await self.answer(self.post(request_id, frame, sent))

    def post(
        self, request_id: str, frame: bytes, sent: Callable[[], None] | None = None
    ) -> asyncio.Future[Frame]:
        """Send one request now; `answer` waits for its reply. `Unavailable`: nothing was sent."""
        connection = self._connection
        if connection is None:
            raise Unavailable(self._venue, "the private websocket is not logged in")
        connection.send(frame)
        if sent is not None:
            sent()
        self._echo.sent()
        # Nothing is read before this step ends: the reply finds its waiter.
        return self._replies.new(request_id)

    async def answer(self, reply: asyncio.Future[Frame]) -> Frame:
        """Return the reply of a request that was sent; errors as `request`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await reply
        except TimeoutError:
            if self._echo.is_missing:
                self.channel.reconnect(f"no reply in {self._timeout_s:g} s")
            raise OutcomeUnknown(
                self._venue, f"no reply on the websocket in {self._timeout_s:g} s"
            ) from None

    async def _address(self) -> str:
        return f"{self._url}/ws/v5/private"

    async def _open(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._login, self._subscribed = loop.create_future(), loop.create_future()
        self._unconfirmed = set(_CHANNELS)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                connection.send(self._signer.login())
                await self._login
                connection.send(_SUBSCRIBE)
                await self._subscribed
        except TimeoutError:
            # The timeout cancelled the future that was being waited for.
            what = "login" if self._login.cancelled() else ", ".join(sorted(self._unconfirmed))
            raise Unavailable(self._venue, f"not answered: {what}") from None
        finally:
            self._login = self._subscribed = None
        self._connection = connection
        self._on_change(True, "logged in")  # noqa: FBT003 - a state, told by its only caller

    def _read(self, payload: memoryview, _recv_ns: int) -> None:
        self._echo.heard()
        if payload == PONG:
            return
        try:
            frame = decode_frame(payload)
        except UNREADABLE:
            self._refuse("unreadable_frame")
            return
        if frame.op and frame.id:
            self._replies.resolve(frame.id, frame)
        elif frame.event:
            self._event(frame)
        elif frame.arg is not None:
            self._push(frame)
        else:
            self._refuse("unknown_frame")

    def _push(self, frame: Frame) -> None:
        try:
            self._on_push(frame)
        except (ProtocolViolation, *UNREADABLE):
            # What the push said is lost to us, and the account has to be asked: told as a loss and
            # a return. A reconnect would only repeat a snapshot that cannot be read either.
            self._refuse("unreadable_push")
            self._on_change(False, "a private push could not be read")  # noqa: FBT003
            self._on_change(True, "pushes go on; what was lost has to be asked for")  # noqa: FBT003

    def _event(self, frame: Frame) -> None:
        if frame.event == "login":
            _settle(self._login, None if frame.code == "0" else self._error(frame))
        elif frame.event == "subscribe" and frame.arg is not None:
            self._unconfirmed.discard(frame.arg.channel)
            if not self._unconfirmed:
                _settle(self._subscribed, None)
        elif frame.event == "error":
            error = self._error(frame)
            named = _REQUEST_ID.search(frame.msg)
            if named is not None and self._replies.fail(named.group(1), error):
                return
            if not (_settle(self._login, error) or _settle(self._subscribed, error)):
                self._refuse(f"error_{frame.code}")
        elif frame.event == "notice" and frame.code == SERVICE_NOTICE:
            self.channel.reconnect("service notice 64008")
        elif frame.event == "channel-conn-count-error":
            self._refuse("error_channel-conn-count-error")

    def _error(self, frame: Frame) -> VenueError:
        return error_of(self._venue, frame.code, frame.msg)

    def _down(self, reason: str) -> None:
        was_ready = self._connection is not None
        self._fail_waiting(reason)
        self._on_change(False, reason if was_ready else f"not logged in: {reason}")  # noqa: FBT003

    def _fail_waiting(self, reason: str) -> None:
        def unknown() -> PerpbotError:
            return OutcomeUnknown(self._venue, f"the private websocket was lost: {reason}")

        self._connection = None
        self._echo.heard()
        self._replies.fail_all(unknown)


def _settle(future: asyncio.Future[None] | None, error: VenueError | None) -> bool:
    """End a wait of `_open`; False when nobody waits (any more)."""
    if future is None or future.done():
        return False
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return True
