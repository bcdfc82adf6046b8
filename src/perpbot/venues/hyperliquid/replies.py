"""What the exchange answers to actions, and which error each of its sentences means.

`{"status":"ok"}` may carry a refusal for each item; `{"status":"err"}` is a refusal of the whole
request. The venue has no codes: sentences are matched by prefix in one table. A sentence that the
table does not know is still a definite refusal, because the venue answered with one.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)
from perpbot.venues.hyperliquid.universe import VENUE
from perpbot.venues.wire.decoding import UNREADABLE


class _Meaning(NamedTuple):
    error: type[Rejected | RateLimited | AuthFailed | NonceClash]
    code: str


REFUSALS: tuple[tuple[str, _Meaning], ...] = (
    ("Insufficient margin", _Meaning(Rejected, "insufficient_margin")),
    ("Post only order would have immediately matched", _Meaning(Rejected, "post_only_crossed")),
    ("Order was never placed, already canceled, or filled", _Meaning(Rejected, "missing_order")),
    ("Price must be divisible by tick size", _Meaning(Rejected, "tick_size")),
    ("Order must have minimum value", _Meaning(Rejected, "min_notional")),
    ("Order has invalid size", _Meaning(Rejected, "invalid_size")),
    ("Order has zero size", _Meaning(Rejected, "invalid_size")),
    ("Order has invalid price", _Meaning(Rejected, "invalid_price")),
    ("Reduce only order would increase position", _Meaning(Rejected, "reduce_only")),
    ("Order could not immediately match", _Meaning(Rejected, "no_match")),
    ("Invalid TP/SL price", _Meaning(Rejected, "trigger_price")),
    ("No liquidity available for market order", _Meaning(Rejected, "no_liquidity")),
    ("Order price cannot be more than 80% away", _Meaning(Rejected, "price_band")),
    ("Builder fee has not been approved", _Meaning(Rejected, "builder_fee")),
    ("Action expired", _Meaning(Rejected, "expired")),
    # The recovered signer is nobody: the signature does not belong to this request.
    ("User or API Wallet", _Meaning(AuthFailed, "unknown_signer")),
    ("Must deposit before performing actions", _Meaning(AuthFailed, "unknown_signer")),
    ("Vault not registered", _Meaning(AuthFailed, "unknown_vault")),
    ("Invalid nonce", _Meaning(NonceClash, "nonce")),
    ("Too many cumulative requests sent", _Meaning(RateLimited, "address_budget")),
)
_ADDRESS_BUDGET_RETRY_S = 10.0
"""An address that is out of budget may send one request each 10 s."""


class Resting(msgspec.Struct, frozen=True):
    """The order rests in the book."""

    oid: int


class Filled(msgspec.Struct, frozen=True, rename="camel"):
    """The order was filled at once, in whole or, for an IOC, in part."""

    total_sz: str
    avg_px: str
    oid: int


class ItemStatus(msgspec.Struct, frozen=True):
    """What became of one item of an action."""

    resting: Resting | None = None
    filled: Filled | None = None
    error: str | None = None


class _Statuses(msgspec.Struct, frozen=True):
    statuses: tuple[str | ItemStatus, ...] = ()


class _Response(msgspec.Struct, frozen=True):
    type: str = ""
    data: _Statuses = _Statuses()


class _Reply(msgspec.Struct, frozen=True):
    status: str
    response: _Response | str = ""


_REPLY = msgspec.json.Decoder(_Reply)


def refusal(sentence: str) -> VenueError:
    """Return the error that a sentence of the venue means."""
    for prefix, meaning in REFUSALS:
        if sentence.startswith(prefix):
            if meaning.error is RateLimited:
                return RateLimited(
                    VENUE, sentence, code=meaning.code, retry_after_s=_ADDRESS_BUDGET_RETRY_S
                )
            return meaning.error(VENUE, sentence, code=meaning.code)
    return Rejected(VENUE, sentence or "refused without a reason", code="refused")


OFF_GRID = frozenset({"tick_size", "invalid_size", "invalid_price", "min_notional", "symbol"})
"""Codes of numbers or a name that the instrument does not have."""


def refused_status(status: int, text: str, *, retry_after_s: float = 0.0) -> VenueError:
    """Return what an HTTP status other than 200 means for an action."""
    detail = f"HTTP {status}: {text[:200]}"
    if status == 429:
        return RateLimited(VENUE, detail, code="429", retry_after_s=retry_after_s)
    if status in {401, 403}:
        return AuthFailed(VENUE, detail, code=str(status))
    if 400 <= status < 500 and status != 408:
        return Rejected(VENUE, detail, code=str(status))
    return OutcomeUnknown(VENUE, detail, code=str(status))


def refused_post(text: str) -> VenueError:
    """Return what an error payload of a websocket post means: it starts with an HTTP status."""
    head = text.lstrip()[:3]
    if head.isdigit():
        return refused_status(int(head), text)
    if text.startswith("Failed to deserialize"):
        return Rejected(VENUE, text, code="422")
    return OutcomeUnknown(VENUE, f"post failed: {text[:200]}")


def read_reply(body: bytes | msgspec.Raw) -> tuple[str | ItemStatus, ...]:
    """Return the statuses of an accepted action, in order; empty where the action has none.

    Raises the refusal of the whole action, the refusal of its first refused item where it has one
    item, and `OutcomeUnknown` for an answer that cannot be read.
    """
    try:
        reply = _REPLY.decode(body)
    except UNREADABLE as error:
        raise OutcomeUnknown(VENUE, f"unreadable answer: {error}") from None
    response = reply.response
    if reply.status == "err" and isinstance(response, str):
        raise refusal(response)
    if reply.status != "ok" or isinstance(response, str):
        raise OutcomeUnknown(VENUE, f"unreadable answer: status {reply.status[:40]!r}")
    return response.data.statuses


def single_status(body: bytes | msgspec.Raw) -> str | ItemStatus:
    """Return the status of an action of one item; raise its refusal (see `read_reply`)."""
    statuses = read_reply(body)
    if len(statuses) != 1:
        raise OutcomeUnknown(VENUE, f"one status was expected, {len(statuses)} came")
    status = statuses[0]
    if isinstance(status, ItemStatus) and status.error is not None:
        raise refusal(status.error)
    return status
