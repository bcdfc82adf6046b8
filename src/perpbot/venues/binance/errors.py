"""What each Binance code and status means for us: the one table between its refusals and ours.

Whatever may have taken effect is `OutcomeUnknown`. A listed or unlisted code of a 4xx answer that
is not in the table is a definite refusal
(https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)
from perpbot.kernel.clock import MS
from perpbot.venues.binance.session import ApiError
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.http import HttpReply
from perpbot.venues.wire.limits import retry_after_s

CODES: Mapping[int, type[VenueError]] = {
    # The execution status is unknown: ask by client id, never send again.
    -1000: OutcomeUnknown,  # unknown error while processing
    -1001: OutcomeUnknown,  # internal error, disconnected
    -1006: OutcomeUnknown,  # unexpected response from the message bus
    -1007: OutcomeUnknown,  # timeout waiting for the backend
    # The id exists: this very request, or its twin on the wire, was taken before.
    -4116: OutcomeUnknown,
    -1003: RateLimited,  # weight of the address, or its ban
    -1008: RateLimited,  # overload; reductions are exempt
    -1015: RateLimited,  # orders of the account
    -1021: NonceClash,  # timestamp outside recvWindow
    -5028: NonceClash,  # the same at the matching engine
    -1002: AuthFailed,  # not authorised
    -1022: AuthFailed,  # signature
    -2014: AuthFailed,  # key format
    -2015: AuthFailed,  # key, address or permission
    # Definite refusals that a caller asks for by name.
    -2011: Rejected,  # cancel of an order that is not open
    -2013: Rejected,  # query of an order that does not exist
    -2019: Rejected,  # margin is insufficient
    -2021: Rejected,  # stop would trigger at once
    -2022: Rejected,  # reduce-only refused
    -4061: Rejected,  # position side does not match the account's mode
    -4120: Rejected,  # conditional orders go through /fapi/v1/algoOrder
    -4164: Rejected,  # notional below the minimum
    -5021: Rejected,  # FOK not filled
    -5022: Rejected,  # post-only would take
}

OFF_GRID = frozenset(
    {"-1111", "-1121", "-4003", "-4004", "-4005", "-4014", "-4023", "-4108", "-4164"}
)
"""Precision, symbol, quantity, tick, step, trading status, notional: not what we know of them."""

NO_SUCH_ORDER = "-2013"
UNKNOWN_ORDER = "-2011"
NO_LISTEN_KEY = "-1125"

_NO_MESSAGE = "refused without a message"
_WAF_PAUSE_S = 60.0
"""A 403 of the web application firewall names no time; the weight window is a minute."""


class Refusal(msgspec.Struct):
    """The body of a refusal."""

    code: int
    msg: str = ""


def error_of(venue: str, reply: HttpReply, now_ns: int) -> VenueError:
    """Return the error that a non-200 reply to a write means."""
    try:
        refusal = msgspec.json.decode(reply.body, type=Refusal)
    except UNREADABLE:
        return _error_of_status(venue, reply, now_ns)
    kind = _kind(refusal.code, reply.status)
    message, code = refusal.msg or _NO_MESSAGE, str(refusal.code)
    if kind is RateLimited:
        return _limited(venue, message, code, reply, now_ns)
    return kind(venue, message, code=code)


def error_of_answer(venue: str, status: int, error: ApiError | None, now_ns: int) -> VenueError:
    """Return the error that a reply of the websocket API without a result means."""
    if error is None:
        return OutcomeUnknown(venue, f"status {status} without a reason")
    kind = _kind(error.code, status)
    message, code = error.msg or _NO_MESSAGE, str(error.code)
    if kind is RateLimited:
        until_ms = error.data.retry_after if error.data is not None else 0
        pause_s = max((until_ms - now_ns / MS) / 1_000, 0.0)
        return RateLimited(venue, message, code=code, retry_after_s=pause_s)
    return kind(venue, message, code=code)


def _kind(code: int, status: int) -> type[VenueError]:
    """Return what a code means; the status outweighs it where it says more."""
    kind = CODES.get(code, Rejected)
    if status in (418, 429):
        return RateLimited
    if status >= 500 and kind is not RateLimited:
        return OutcomeUnknown
    return AuthFailed if status == 401 else kind


def _error_of_status(venue: str, reply: HttpReply, now_ns: int) -> VenueError:
    message = f"HTTP status {reply.status} with an unreadable body"
    if reply.status in (403, 418, 429):
        return _limited(venue, message, "", reply, now_ns)
    if reply.status == 401:
        return AuthFailed(venue, message)
    return OutcomeUnknown(venue, message)


def _limited(venue: str, message: str, code: str, reply: HttpReply, now_ns: int) -> RateLimited:
    pause_s = retry_after_s(reply.headers, now_ns)
    if not pause_s and reply.status == 403:
        pause_s = _WAF_PAUSE_S
    return RateLimited(venue, message, code=code, retry_after_s=pause_s)
