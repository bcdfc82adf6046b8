"""What the venue lets an address do: 1200 weight, 2000 messages and 30 new websockets a minute.

Source: the venue's documentation, rate limits. Actions also draw on the budget of the signing
address (one a USD traded), which the venue counts and `userRateLimit` tells.
"""

from __future__ import annotations

from collections.abc import Mapping

from perpbot.kernel.clock import Clock
from perpbot.venues.wire import limits
from perpbot.venues.wire.limits import RateBudget, Window

WEIGHT = "weight"
MESSAGES = "messages"
ROWS_PER_WEIGHT = 20
"""Answers of rows cost one more for each 20 of them."""
ACTION_WEIGHT = 1
"""1 + batch length // 40; we send batches of one."""
_DEFAULT_WEIGHT = 20
_WEIGHTS = {
    "l2Book": 2,
    "allMids": 2,
    "clearinghouseState": 2,
    "orderStatus": 2,
    "spotClearinghouseState": 2,
    "exchangeStatus": 2,
    "userRole": 60,
}
DIALS = Window(name="dials", limit=30, period_s=60.0)
"""New websockets; at most ten may be open. Older copies of the documentation say neither."""
_DEFAULT_RETRY_S = 10.0


def info_weight(kind: str) -> int:
    """Return the weight of a question, without its rows."""
    return _WEIGHTS.get(kind, _DEFAULT_WEIGHT)


def rate_budget(clock: Clock) -> RateBudget:
    """Return the budget of one IP address."""
    return RateBudget(
        (
            Window(name=WEIGHT, limit=1_200, period_s=60.0),
            Window(name=MESSAGES, limit=2_000, period_s=60.0),
        ),
        clock=clock,
    )


def retry_after_s(headers: Mapping[str, str], clock: Clock) -> float:
    """Return how long a refused caller should wait: the venue's word, or 10 s."""
    return limits.retry_after_s(headers, clock.now_ns()) or _DEFAULT_RETRY_S
