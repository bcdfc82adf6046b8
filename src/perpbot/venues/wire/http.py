"""Requests over HTTP whose errors say whether the request may have arrived.

A failure before the first byte was written is `Unavailable`; from the moment the request is
handed to the socket every failure is `OutcomeUnknown`. Nothing is retried, redirected or cached,
and a URL goes out exactly as it was signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace

import aiohttp
import msgspec
from yarl import URL

from perpbot.domain.errors import OutcomeUnknown, Unavailable
from perpbot.domain.masking import MASK
from perpbot.kernel.clock import Clock

MAX_REPLY_BYTES = 4 << 20
SECRET_LENGTH_MIN = 16
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CHUNK = 1 << 16


class HttpReply(msgspec.Struct, frozen=True):
    """A complete answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStatistics(msgspec.Struct, kw_only=True):
    """Counts so far; `last_reply_ns` is monotonic."""

    requests: int = 0
    unavailable: int = 0
    unknown: int = 0
    last_reply_ns: int = 0


class _Flight:
    """How far one request got."""

    __slots__ = ("left", "sent")

    def __init__(self, sent: Callable[[], None] | None) -> None:
        self.left = False
        self.sent = sent

    def handed_over(self) -> None:
        """Call `sent` once, in the loop's next step: right after the write that is under way."""
        if self.sent is not None:
            asyncio.get_running_loop().call_soon(self.sent)
            self.sent = None


class HttpClient:
    """A keep-alive session with one base address."""

    def __init__(
        self,
        *,
        venue: str,
        base_url: str,
        clock: Clock,
        timeout_s: float = 5.0,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        secrets: Sequence[str] = (),
    ) -> None:
        """`secrets` are masked in answers: a proxy or a venue may quote a request's headers.

        Short ones are not: they may be part of an honest answer.
        """
        self._venue = venue
        self._secrets = tuple(s.encode() for s in secrets if len(s) >= SECRET_LENGTH_MIN)
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_reply_bytes = max_reply_bytes
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self.statistics = HttpStatistics()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
        timeout_s: float | None = None,
        sent: Callable[[], None] | None = None,
    ) -> HttpReply:
        """Send one request and return the answer, whatever its status.

        `path` includes the query exactly as signed. `sent` is called once, when the bytes were
        handed to the socket. Raises `Unavailable` when the request certainly did not leave,
        `OutcomeUnknown` when it may have.
        """
        flight = _Flight(sent)
        self.statistics.requests += 1
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with (
                asyncio.timeout(limit_s),
                self._open_session().request(
                    method,
                    URL(self._base_url + path, encoded=True),
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                    trace_request_ctx=flight,
                ) as response,
            ):
                content = await self._read(response)
                reply = HttpReply(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=content,
                )
        except TimeoutError as error:
            raise self._failure(flight, f"no answer to {method} in {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = str(error) or type(error).__name__
            raise self._failure(flight, f"{method} failed: {cause}") from error
        self.statistics.last_reply_ns = self._clock.monotonic_ns()
        return reply

    async def close(self) -> None:
        """Close every connection; later requests raise `Unavailable`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _failure(self, flight: _Flight, message: str) -> Unavailable | OutcomeUnknown:
        if flight.left:
            self.statistics.unknown += 1
            return OutcomeUnknown(self._venue, message)
        self.statistics.unavailable += 1
        return Unavailable(self._venue, f"{message}; nothing was sent")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > self._max_reply_bytes:
                response.close()
                raise ValueError(f"reply is larger than {self._max_reply_bytes} bytes")
            parts.append(chunk)
        return self._without_secrets(b"".join(parts))

    def _without_secrets(self, content: bytes) -> bytes:
        for secret in self._secrets:
            if secret in content:
                content = content.replace(secret, MASK.encode())
        return content

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable(self._venue, "the client is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=16, ttl_dns_cache=300, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[_trace()],
            )
            # aiohttp sends GET, PUT and DELETE again when a kept connection turns out closed. A
            # cancel that arrived twice would answer "unknown order"; nothing is repeated here.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session


def _trace() -> aiohttp.TraceConfig:
    """Watch how far a request got; aiohttp signals just before each write."""
    trace = aiohttp.TraceConfig()

    async def on_headers(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        flight: _Flight = context.trace_request_ctx
        flight.left = True
        if "Content-Length" not in params.headers or params.headers["Content-Length"] == "0":
            flight.handed_over()

    async def on_chunk(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestChunkSentParams,
    ) -> None:
        flight: _Flight = context.trace_request_ctx
        flight.handed_over()

    trace.on_request_headers_sent.append(on_headers)
    trace.on_request_chunk_sent.append(on_chunk)
    return trace
