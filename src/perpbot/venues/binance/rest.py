"""REST requests of Binance: signing, rate budget, clock offset, errors.

A read answers or raises `Unavailable`. A write raises a definite refusal, or `OutcomeUnknown`
for everything that may have happened; it is sent once. Parameters travel in the query string,
signed in the order in which they are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from perpbot.domain.errors import (
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    ReadOnly,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.kernel.clock import MS, Clock
from perpbot.venues.binance.codec import UNREADABLE
from perpbot.venues.binance.errors import error_of
from perpbot.venues.binance.session import LimitCount
from perpbot.venues.binance.signing import Signer
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.wire.http import HttpClient, HttpReply
from perpbot.venues.wire.limits import Lane, RateBudget, Window, before_expiry

T = TypeVar("T")

WEIGHT, ORDERS_10S, ORDERS_1M = "weight", "orders_10s", "orders_1m"
WINDOWS = (
    Window(WEIGHT, 2400, 60.0),
    Window(ORDERS_10S, 300, 10.0),
    Window(ORDERS_1M, 1200, 60.0),
)
"""Sheet section 2; exchangeInfo.rateLimits tells the true ones and replaces them."""
DIALS = Window("dials", 300, 300.0)
"""Sheet section 2: websockets that an address may open, streams and the API together."""

LIMIT_NAMES = {
    ("REQUEST_WEIGHT", "MINUTE", 1): WEIGHT,
    ("ORDERS", "SECOND", 10): ORDERS_10S,
    ("ORDERS", "MINUTE", 1): ORDERS_1M,
}
_FEEDBACK = {
    "x-mbx-used-weight-1m": WEIGHT,
    "x-mbx-order-count-10s": ORDERS_10S,
    "x-mbx-order-count-1m": ORDERS_1M,
}
DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
_LONGEST_QUEUE_S = 5.0
"""Waiting longer for our own budget is an answer in itself."""
_DEFAULT_PAUSE_S = 10.0


class ServerTime(msgspec.Struct, rename="camel"):
    """GET /fapi/v1/time."""

    server_time: int


class RestClient:
    """One account's REST side. Without a signer it reads public data only."""

    def __init__(
        self, *, http: HttpClient, signer: Signer | None, budget: RateBudget, clock: Clock
    ) -> None:
        self._http = http
        self._signer = signer
        self._clock = clock
        self.budget = budget
        self.offset_ns = 0
        """Server time minus ours."""

    @property
    def can_sign(self) -> bool:
        """Whether credentials are present."""
        return self._signer is not None

    def at(self, http: HttpClient) -> RestClient:
        """Return a client of another host of Binance: our key and clock, limits of its own."""
        other = RestClient(
            http=http,
            signer=self._signer,
            budget=RateBudget(WINDOWS, clock=self._clock),
            clock=self._clock,
        )
        other.offset_ns = self.offset_ns
        return other

    def now_ns(self) -> int:
        """Return our own time, UTC."""
        return self._clock.now_ns()

    def count(self, counts: Sequence[LimitCount]) -> None:
        """Take over what the venue's rate limits have counted."""
        for one in counts:
            window = LIMIT_NAMES.get((one.rate_limit_type, one.interval, one.interval_num))
            if window is not None:
                self.budget.feedback(window, one.count)

    def server_ms(self) -> int:
        """Return what the venue's clock shows, as far as we know."""
        return (self._clock.now_ns() + self.offset_ns) // MS

    async def sync_clock(self) -> None:
        """Measure the venue's clock against ours; raise `Unavailable` without an answer."""
        before_ns = self._clock.now_ns()
        answer = await self.read("/fapi/v1/time", ServerTime, signed=False)
        after_ns = self._clock.now_ns()
        self.offset_ns = answer.server_time * MS - (before_ns + after_ns) // 2

    async def read(
        self,
        path: str,
        kind: type[T],
        parameters: str = "",
        *,
        weight: int = 1,
        signed: bool = True,
        lane: Lane = Lane.READ,
    ) -> T:
        """Return the answer of a GET; raise `Unavailable` whatever went wrong, with its code."""
        try:
            return await self.ask(path, kind, parameters, weight=weight, signed=signed, lane=lane)
        except Unavailable:
            raise
        except VenueError as error:
            raise Unavailable(VENUE, f"{path}: {error.message}", code=error.code) from error

    async def ask(
        self,
        path: str,
        kind: type[T],
        parameters: str = "",
        *,
        weight: int = 1,
        signed: bool = True,
        lane: Lane = Lane.READ,
    ) -> T:
        """Return the answer of a GET; raise the very error that its code means.

        A refused timestamp is answered by measuring the clock and asking once more.
        """
        costs = {WEIGHT: weight}
        try:
            return await self._ask_once(path, kind, parameters, costs, lane, signed=signed)
        except NonceClash:
            await self.sync_clock()
            return await self._ask_once(path, kind, parameters, costs, lane, signed=signed)

    async def write(
        self,
        method: str,
        path: str,
        kind: type[T],
        parameters: str = "",
        *,
        costs: Mapping[str, int],
        lane: Lane,
        expires_ns: int = 0,
        sent: Callable[[], None] | None = None,
        signed: bool = True,
    ) -> T:
        """Send one request that changes something, once, and return its answer.

        `expires_ns` (UTC) becomes the request's receive window: the venue must refuse it later.
        """
        if self._signer is None:
            raise ReadOnly(VENUE)
        await self.acquire(lane, costs, expires_ns)
        query = self.signed_query(parameters, expires_ns) if signed else parameters
        try:
            reply = await self._send(method, path, query, sent=sent)
        except Unavailable as error:
            # Nothing left this machine: as definite as a refusal.
            raise Rejected(VENUE, f"not sent: {error.message}", code="not_sent") from error
        if reply.status != 200:
            refusal = error_of(VENUE, reply, self._clock.now_ns())
            await self.learn(refusal)
            raise refusal
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except UNREADABLE as error:
            raise OutcomeUnknown(VENUE, f"the answer could not be read: {error}") from error

    def signed_query(self, parameters: str, expires_ns: int = 0) -> str:
        """Return what a write sends after the `?`: window, time and signature added.

        Raises `ReadOnly` without credentials, `Rejected` for what has expired (UTC).
        """
        if self._signer is None:
            raise ReadOnly(VENUE)
        return self._signed(parameters, self.window_ms(expires_ns))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _ask_once(
        self,
        path: str,
        kind: type[T],
        parameters: str,
        costs: Mapping[str, int],
        lane: Lane,
        *,
        signed: bool,
    ) -> T:
        if signed and self._signer is None:
            raise ReadOnly(VENUE)
        await self.acquire(lane, costs)
        query = self._signed(parameters, DEFAULT_WINDOW_MS) if signed else parameters
        reply = await self._send("GET", path, query)
        if reply.status != 200:
            refusal = error_of(VENUE, reply, self._clock.now_ns())
            self._slow_down(refusal)
            raise refusal
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except UNREADABLE as error:
            raise Unavailable(VENUE, f"{path} could not be read: {error}") from error

    async def acquire(self, lane: Lane, costs: Mapping[str, int], expires_ns: int = 0) -> None:
        """Wait for the rate budget; raise `RateLimited` where that takes too long.

        `Rejected` where the request expires meanwhile.
        """
        if not self.budget.try_acquire(lane, costs):
            await before_expiry(VENUE, self._queue(lane, costs), expires_ns, self._clock)

    async def _queue(self, lane: Lane, costs: Mapping[str, int]) -> None:
        try:
            async with asyncio.timeout(_LONGEST_QUEUE_S):
                await self.budget.acquire(lane, costs)
        except TimeoutError:
            raise RateLimited(
                VENUE, "our own rate budget is spent; nothing was sent", code="own_budget"
            ) from None

    def window_ms(self, expires_ns: int) -> int:
        """Return the receive window of a request; raise `Rejected` for one that has expired."""
        if not expires_ns:
            return DEFAULT_WINDOW_MS
        window_ms = (expires_ns - self._clock.now_ns()) // MS
        if window_ms < 1:
            raise Rejected(VENUE, "expired before it could be sent", code="expired")
        return min(window_ms, MAX_WINDOW_MS)

    def _signed(self, parameters: str, window_ms: int) -> str:
        assert self._signer is not None
        separator = "&" if parameters else ""
        query = f"{parameters}{separator}recvWindow={window_ms}&timestamp={self.server_ms()}"
        return f"{query}&signature={self._signer.sign(query)}"

    async def _send(
        self, method: str, path: str, query: str, *, sent: Callable[[], None] | None = None
    ) -> HttpReply:
        headers = {"X-MBX-APIKEY": self._signer.api_key} if self._signer is not None else {}
        target = f"{path}?{query}" if query else path
        reply = await self._http.request(method, target, headers=headers, sent=sent)
        for header, window in _FEEDBACK.items():
            used = reply.headers.get(header, "")
            if used.isdecimal():
                self.budget.feedback(window, int(used))
        return reply

    def _slow_down(self, error: VenueError) -> None:
        if isinstance(error, RateLimited):
            self.budget.penalise(error.retry_after_s or _DEFAULT_PAUSE_S)

    async def learn(self, error: VenueError) -> None:
        """Take from a refused write what the next one has to heed: a pause, the venue's clock."""
        self._slow_down(error)
        if isinstance(error, NonceClash):
            try:
                await self.sync_clock()
            except Unavailable as still:
                # The refusal stands either way; the next clash measures again.
                error.add_note(f"and the venue's clock could not be measured: {still}")
