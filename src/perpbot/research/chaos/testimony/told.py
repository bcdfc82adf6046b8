"""The market as the node was told it: what it may open on, and on which grid."""

from __future__ import annotations

from collections.abc import Iterable

from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ZERO
from perpbot.domain.orders import OrderRequest
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.research.chaos.plan import QUOTE_INTERVAL_S
from perpbot.research.chaos.testimony.verdict import Verdict

QUOTE_AGE_NS = int(QUOTE_INTERVAL_S * SECOND) + 300 * MS
"""A quote may be this old, and a sweep late, when something opens on it."""


class Told:
    """R6, V3, O7: quotes, channels, comparisons and lists that reached the node."""

    def __init__(self, verdict: Verdict, clock: Clock) -> None:
        self._verdict = verdict
        self._clock = clock
        self._good_ns: dict[tuple[str, str], int] = {}
        self._live: dict[tuple[str, str], bool] = {}
        self._compared: set[str] = set()
        self._listed: dict[tuple[str, str], tuple[Instrument, int]] = {}
        """What the node was told of an instrument since it lives, and when."""

    def good_quote(self, venue: str, asset: str) -> None:
        """A quote that may open something reached the node."""
        self._good_ns[venue, asset] = self._clock.now_ns()

    def bad_quote(self, venue: str, asset: str) -> None:
        """A quote that must not open anything reached the node."""
        self._good_ns.pop((venue, asset), None)

    def listed(self, instruments: Iterable[Instrument]) -> None:
        """A venue's list reached the node."""
        for told in instruments:
            self._listed[told.venue, told.asset] = (told, self._clock.now_ns())

    def channel(self, venue: str, channel: str, *, live: bool) -> None:
        """The node was told where a channel is."""
        if channel == "private" and self._live.get((venue, channel)) is not live:
            self._compared.discard(venue)
        self._live[venue, channel] = live

    def compared(self, venue: str) -> None:
        """A full snapshot of a venue reached the node."""
        if self._live.get((venue, "private")):
            self._compared.add(venue)

    def died(self) -> None:
        """The node died: the next one has to be told anew."""
        self._compared.clear()
        self._listed.clear()
        self._live.clear()

    def check_grid(self, order: OrderRequest) -> None:
        """What was told of an instrument holds from the next instant on."""
        told, told_ns = self._listed.get((order.venue, order.asset), (None, 0))
        if told is None or told_ns == self._clock.now_ns():
            return
        off = order.quantity % told.quantity_step or (order.price or ZERO) % told.tick_size
        if off or order.quantity < told.min_quantity:
            self._verdict.violate(
                f"O7 {order.purpose} order of {order.quantity} at {order.price} on {order.venue},"
                f" which had told steps of {told.quantity_step} and {told.tick_size}"
            )

    def check_opening(self, order: OrderRequest) -> None:
        """Nothing opens without a fresh good quote, both channels and compared books."""
        venue = order.venue
        good_ns = self._good_ns.get((venue, order.asset))
        if good_ns is None or self._clock.now_ns() - good_ns > QUOTE_AGE_NS:
            self._verdict.violate(f"R6 opened on {venue} without a fresh good quote")
        if venue not in self._compared:
            self._verdict.violate(f"V3 opened on {venue} before its books were compared")
        if not all(self._live.get((venue, name)) for name in ("public", "private")):
            self._verdict.violate(f"V3 opened on {venue} with a channel down")
