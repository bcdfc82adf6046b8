"""REST requests of OKX: signing, envelopes, errors.

A read answers or raises `Unavailable`. A write raises a definite refusal when the venue (or the
socket, before a byte left) refused it, and `OutcomeUnknown` for everything that may have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from perpbot.domain.errors import (
    OutcomeUnknown,
    RateLimited,
    ReadOnly,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.venues.okx.budgets import Budgets
from perpbot.venues.okx.codec import (
    Envelope,
    ItemResult,
    decode_envelope,
    decode_results,
    rows_of,
)
from perpbot.venues.okx.errors import CODES, error_of, error_of_status
from perpbot.venues.okx.signing import Signer
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.http import HttpClient, HttpReply
from perpbot.venues.wire.limits import Lane

Row = TypeVar("Row")

_PARTLY_OK = frozenset({"0", "1", "2"})
"""Envelope codes of order endpoints: all worked, all failed, some failed; the items say which."""


class RestClient:
    """One account's REST side. Without a signer it reads public data only."""

    def __init__(
        self,
        *,
        venue: str,
        http: HttpClient,
        signer: Signer | None,
        budgets: Budgets,
        simulated: bool,
    ) -> None:
        self._venue = venue
        self._http = http
        self._signer = signer
        self._budgets = budgets
        self._fixed = {"x-simulated-trading": "1"} if simulated else {}

    async def read(
        self,
        path: str,
        kind: type[Row],
        parameters: Mapping[str, str] | None = None,
        *,
        signed: bool = True,
        lane: Lane = Lane.READ,
    ) -> list[Row]:
        """Return the rows of a GET; raise `Unavailable` whatever went wrong, with its code."""
        try:
            return await self.ask(path, kind, parameters, signed=signed, lane=lane)
        except Unavailable:
            raise
        except VenueError as error:
            raise Unavailable(self._venue, f"{path}: {error.message}", code=error.code) from error

    async def ask(
        self,
        path: str,
        kind: type[Row],
        parameters: Mapping[str, str] | None = None,
        *,
        signed: bool = True,
        lane: Lane = Lane.READ,
    ) -> list[Row]:
        """Return the rows of a GET; raise the very error that the venue's code means."""
        await self._budgets.endpoint(path, lane)
        full = f"{path}?{urlencode(parameters)}" if parameters else path
        reply = await self._http.request(
            "GET", full, headers=self._headers("GET", full, b"", signed=signed)
        )
        try:
            envelope = self._envelope(reply)
            if envelope.code != "0":
                raise error_of(self._venue, envelope.code, envelope.msg)
        except RateLimited as limited:
            self._budgets.penalise_endpoint(path, limited.retry_after_s)
            raise
        rows: list[Row] = rows_of(self._venue, envelope.data, list[kind])  # type: ignore[valid-type]
        return rows

    async def write(
        self,
        path: str,
        body: bytes,
        *,
        expires_ms: int = 0,
        sent: Callable[[], None] | None = None,
    ) -> Envelope:
        """POST once and return the envelope, whatever its code but that of a limiter.

        The caller has its budget.
        """
        headers = self._headers("POST", path, body, signed=True)
        if expires_ms:
            headers["expTime"] = str(expires_ms)
        try:
            reply = await self._http.request("POST", path, headers=headers, body=body, sent=sent)
        except Unavailable as error:
            # Nothing left this machine: as definite as a refusal.
            raise Rejected(self._venue, f"not sent: {error.message}", code="not_sent") from error
        return self._envelope(reply)

    async def change(self, path: str, body: bytes, lane: Lane) -> None:
        """POST what is no order, in the budget of its endpoint; raise what its code means."""
        await self._budgets.endpoint(path, lane)
        try:
            answer = await self.write(path, body)
            if answer.code != "0":
                result_of(self._venue, answer.code, answer.msg, answer.data)
        except RateLimited as limited:
            self._budgets.penalise_endpoint(path, limited.retry_after_s)
            raise

    def _headers(self, method: str, path: str, body: bytes, *, signed: bool) -> dict[str, str]:
        headers = dict(self._fixed)
        if body:
            headers["Content-Type"] = "application/json"
        if signed:
            if self._signer is None:
                raise ReadOnly(self._venue)
            headers.update(self._signer.headers(method, path, body))
        return headers

    def _envelope(self, reply: HttpReply) -> Envelope:
        try:
            envelope = decode_envelope(reply.body)
        except UNREADABLE as error:
            pause_s = self._budgets.pause_s(reply.headers)
            raise error_of_status(self._venue, reply.status, pause_s) from error
        if reply.status >= 500 or (reply.status != 200 and envelope.code == "0"):
            raise OutcomeUnknown(self._venue, f"HTTP status {reply.status}", code=envelope.code)
        if CODES.get(envelope.code) is RateLimited:
            pause_s = self._budgets.pause_s(reply.headers)
            raise error_of(self._venue, envelope.code, envelope.msg, pause_s)
        return envelope


def result_of(venue: str, code: str, message: str, data: msgspec.Raw) -> ItemResult:
    """Return what became of the one order of a request; raise what its codes mean."""
    if code not in _PARTLY_OK:
        raise error_of(venue, code, message)
    try:
        items = decode_results(data)
    except UNREADABLE as error:
        raise OutcomeUnknown(venue, f"the answer could not be read: {error}") from error
    if items and items[0].s_code != "0":
        raise error_of(venue, items[0].s_code, items[0].s_msg)
    if not items or code != "0":
        raise OutcomeUnknown(venue, f"the answer contradicts itself: {message}", code=code)
    return items[0]
