"""When a venue's "not known" proves that an order never was.

A request that can expire cannot arrive after its expiry. Where the venue knows no expiry, two
negative answers apart from each other, long after the intent, have to do.
"""

from __future__ import annotations

from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.orders import Order

EXPIRY_MARGIN_NS = SECOND
"""Added to a request's expiry before absence is proof: clocks differ."""
ABSENCE_APART_NS = 5 * SECOND
"""Between the two negative answers that prove absence where requests cannot expire."""


class Absences:
    """Negative answers so far, and what they prove."""

    def __init__(self, clock: Clock, resolve_s: float) -> None:
        """`resolve_s` after its intent an order that cannot expire may be judged absent."""
        self._clock = clock
        self._resolve_ns = int(resolve_s * SECOND)
        self._first_ns: dict[str, int] = {}

    def forget(self, client_id: str) -> None:
        """The venue knows the order, or nobody asks any more."""
        self._first_ns.pop(client_id, None)

    def evidence(self, order: Order) -> str:
        """Take a negative answer in; return why it is proof now, or ""."""
        now_ns = self._clock.now_ns()
        if now_ns < self._counts_from_ns(order):
            return ""
        if order.request.expires_ns:
            return "after its expiry"
        first_ns = self._first_ns.setdefault(order.request.client_id, now_ns)
        if now_ns - first_ns < ABSENCE_APART_NS:
            return ""
        return f"twice, {(now_ns - first_ns) // SECOND} s apart"

    def is_gone(self, order: Order) -> bool:
        """Take in that a venue does not know an order that it had taken; return whether it ended.

        It lost the order, or forgot it after its end. One such answer may come from a part of the
        venue that lags.
        """
        now_ns = self._clock.now_ns()
        first_ns = self._first_ns.setdefault(order.request.client_id, now_ns)
        return now_ns - first_ns >= ABSENCE_APART_NS

    def _counts_from_ns(self, order: Order) -> int:
        expires_ns = order.request.expires_ns
        if expires_ns:
            return expires_ns + EXPIRY_MARGIN_NS + 1  # after that moment, not at it
        return order.created_ns + self._resolve_ns

    def terms(self, order: Order) -> str:
        """Say from when on a venue's "not known" proves that an order never was."""
        left_ns = self._counts_from_ns(order) - self._clock.now_ns()
        when = f"in {left_ns / SECOND:.1f} s" if left_ns > 0 else "now"
        if order.request.expires_ns:
            return f"`not known` is proof of absence from {when} on: its request has expired then"
        return (
            f"`not known` counts from {when} on, and is proof of absence when told twice, "
            f"{ABSENCE_APART_NS // SECOND} s apart: its request cannot expire"
        )
