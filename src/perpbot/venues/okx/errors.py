"""What each OKX code means for us: the one table between the venue's refusals and our errors.

Whatever may have taken effect is `OutcomeUnknown`; a code that is not listed is a definite
refusal, because OKX answers an order it did not take with a code and nothing else
(https://www.okx.com/docs-v5/en/#error-code).
"""

from __future__ import annotations

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)

CODES: dict[str, type[VenueError]] = {
    # Service or matching did not answer for certain: ask by client id, never send again.
    "50001": OutcomeUnknown,  # service temporarily unavailable
    "50004": OutcomeUnknown,  # endpoint request timed out, says nothing of success
    "50013": OutcomeUnknown,  # systems are busy
    "50026": OutcomeUnknown,  # system error
    "51149": OutcomeUnknown,  # order timed out
    "50011": RateLimited,  # rate limit of the user or address (HTTP 429)
    "50061": RateLimited,  # new and amended orders of the sub-account
    "60014": RateLimited,  # websocket requests too fast
    "50102": NonceClash,  # timestamp expired (30 s)
    "50112": NonceClash,  # timestamp unreadable
    "60006": NonceClash,  # timestamp of a login expired
    "50101": AuthFailed,  # key of the other environment
    "50105": AuthFailed,  # passphrase
    "50110": AuthFailed,  # address not on the key's list
    "50111": AuthFailed,  # key
    "50113": AuthFailed,  # signature
    "50114": AuthFailed,  # authorisation
    "50120": AuthFailed,  # permission of the key
    "60005": AuthFailed,  # key of a login
    "60007": AuthFailed,  # signature of a login
    "60009": AuthFailed,  # login failed
    "60011": AuthFailed,  # not logged in
    "60024": AuthFailed,  # passphrase of a login
}

UNKNOWN_ORDER = frozenset({"51400", "51401", "51402", "51410", "51503", "51509", "51510", "51603"})
"""The order is not open (any more), or the venue never heard of it."""

OFF_GRID = frozenset({"51000", "51001", "51020", "51120", "51121", "invalid_order"})
"""Numbers or a name that the instrument does not have; the last is our check before sending."""

SUB_ACCOUNT_RATE = "50061"
"""More than 1000 new and amended orders of the sub-account in 2 s."""

NO_SUCH_ORDER = "51603"
"""Of a query: the venue does not know the order."""

_LIMITER_PAUSE_S = 2.0
"""OKX counts most limits in windows of 2 s and documents no Retry-After; what stands before it may
send one."""


def error_of(venue: str, code: str, message: str, pause_s: float = 0.0) -> VenueError:
    """Return the error that `code` means; unlisted codes are definite refusals.

    `pause_s` is how long the answer asks to wait, if it does.
    """
    kind = CODES.get(code, Rejected)
    text = message or "refused without a message"
    if kind is RateLimited:
        return RateLimited(venue, text, code=code, retry_after_s=pause_s or _LIMITER_PAUSE_S)
    return kind(venue, text, code=code)


def error_of_status(venue: str, status: int, pause_s: float = 0.0) -> VenueError:
    """Return the error of an HTTP answer whose body says nothing readable."""
    text = f"HTTP status {status} with an unreadable body"
    if status == 429:
        return RateLimited(venue, text, code="429", retry_after_s=pause_s or _LIMITER_PAUSE_S)
    if status in {401, 403}:
        return AuthFailed(venue, text, code=str(status))
    return OutcomeUnknown(venue, text, code=str(status))
