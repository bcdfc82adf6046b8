"""The quotes of one instrument: the hot path between a socket and the bus.

A good quote passes one chain of comparisons and is published; anything else goes through
`_refuses`, which says what is wrong with it. A refused quote also ends the use of the one before
it: what the market is now is not known, so nothing may open on what it was. One that is only late
is kept: to leave a position it says more than an older one that was in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from perpbot.domain.events import Event, QuoteUpdated
from perpbot.domain.instruments import Instrument
from perpbot.market.offset import ClockOffset

LEAST_PRICE: Final = 1e-12
MOST_PRICE: Final = 1e12
"""Of one base coin, in any settle currency; what lies beyond is no price."""
_MOST_TOUCH: Final = 1e18
_LEAST_TOUCH: Final = 1e-12
FORGET_NS: Final = 60_000_000_000
"""A level that nothing confirmed for this long no longer speaks against a new one."""


class Refusal(StrEnum):
    """Why a quote was not used."""

    NOT_FINITE = "not_finite"
    NEGATIVE = "negative"
    ONE_SIDED = "one_sided"
    CROSSED = "crossed"
    WIDE = "wide"
    THIN = "thin"
    BAD_TIMESTAMP = "bad_timestamp"
    OUT_OF_ORDER = "out_of_order"
    LAGGING = "lagging"
    PRICE_ERROR = "price_error"
    JUMP = "jump"
    QUARANTINED = "quarantined"
    OUT_OF_BAND = "out_of_band"


class SlotLimits:
    """What a quote of one instrument must keep to, ready for the comparisons of the hot path."""

    __slots__ = (
        "confirmations",
        "jump",
        "least_touch",
        "sanity_factor",
        "silence_ns",
        "widest",
    )

    def __init__(
        self,
        *,
        silence_ns: int,
        max_jump_bps: float,
        confirmations: int,
        sanity_factor: float,
        max_spread_bps: float,
        least_touch: float,
    ) -> None:
        """`least_touch` is the notional of either side, in settle currency."""
        self.silence_ns = silence_ns
        self.jump = max_jump_bps / 10_000
        self.confirmations = confirmations
        self.sanity_factor = sanity_factor
        self.widest = 1.0 + max_spread_bps / 10_000
        self.least_touch = max(least_touch, _LEAST_TOUCH)


class Slot:
    """A `QuoteSlot`. Read `quote` for the last accepted quote, `fresh_until_ns` for its use.

    `touch` is for those who must trade whatever is known: hedges and reductions.
    """

    __slots__ = (
        "_anchor",
        "_asset",
        "_band_high",
        "_band_low",
        "_candidate",
        "_jump_high",
        "_jump_low",
        "_late",
        "_late_ns",
        "_least_touch",
        "_level",
        "_level_ns",
        "_limits",
        "_offset",
        "_polled",
        "_publish",
        "_quarantine",
        "_silence_ns",
        "_venue",
        "_venue_ns",
        "_widest",
        "accepted",
        "fresh_until_ns",
        "heard_ns",
        "instrument",
        "quote",
        "recv_ns",
        "refused",
    )

    def __init__(
        self,
        instrument: Instrument,
        limits: SlotLimits,
        offset: ClockOffset,
        publish: Callable[[Event], None],
    ) -> None:
        self.instrument = instrument
        self.quote: QuoteUpdated | None = None
        self.heard_ns = 0
        """Monotonic receive time of the last quote, accepted or not."""
        self.recv_ns = 0
        """Monotonic receive time of the last accepted quote."""
        self.fresh_until_ns = 0
        """Monotonic time up to which `quote` may open something; 0 when it must not."""
        self.accepted = 0
        self.refused: dict[str, int] = {}
        self._venue = instrument.venue
        self._asset = instrument.asset
        self._limits = limits
        self._offset = offset
        self._publish = publish
        self._polled = False
        self._silence_ns = limits.silence_ns
        self._widest = limits.widest
        self._least_touch = limits.least_touch
        self._jump_low = 1.0 - limits.jump
        self._jump_high = 1.0 + limits.jump
        self._band_low = LEAST_PRICE
        self._band_high = MOST_PRICE
        self._venue_ns = 0
        # The mid that the next one is compared with; 0 while there is none or it is in doubt.
        self._anchor = 0.0
        self._level = 0.0
        self._level_ns = 0
        self._candidate = 0.0
        self._quarantine = 0
        # Bid and ask of the last quote that was only late, and when it came (monotonic).
        self._late = (0.0, 0.0)
        self._late_ns = 0

    # --- the hot path ---

    def update(
        self,
        bid: float,
        bid_size: float,
        ask: float,
        ask_size: float,
        venue_ns: int,
        recv_ns: int,
    ) -> None:
        """Take one best bid and ask; publish it, or refuse and count it.

        Raises nothing of its own (`BusHalted` when the bus has halted).
        """
        self.heard_ns = recv_ns
        mid = (bid + ask) * 0.5
        anchor = self._anchor
        least = self._least_touch
        offset = self._offset
        # NaN fails every comparison, so it cannot pass this chain.
        if not (
            0.0 < bid < ask <= bid * self._widest
            and least <= bid * bid_size < _MOST_TOUCH
            and least <= ask * ask_size < _MOST_TOUCH
            and offset.least_ns <= recv_ns - venue_ns <= offset.limit_ns
            and venue_ns >= self._venue_ns
            and anchor * self._jump_low < mid < anchor * self._jump_high
            and self._band_low <= mid <= self._band_high
        ) and self._refuses(bid, bid_size, ask, ask_size, venue_ns, recv_ns):
            return
        self._anchor = mid
        self._venue_ns = venue_ns
        self.recv_ns = recv_ns
        self.fresh_until_ns = recv_ns + self._silence_ns
        self.accepted += 1
        self.quote = quote = QuoteUpdated(
            venue=self._venue,
            asset=self._asset,
            bid=bid,
            bid_size=bid_size,
            ask=ask,
            ask_size=ask_size,
            venue_ns=venue_ns,
            recv_ns=recv_ns,
        )
        self._publish(quote)

    # --- what is wrong with a quote ---

    def _refuses(
        self, bid: float, bid_size: float, ask: float, ask_size: float, venue_ns: int, recv_ns: int
    ) -> bool:
        fault = (
            self._number_fault(bid, bid_size, ask, ask_size)
            or self._time_fault(venue_ns, recv_ns)
            or self._price_fault((bid + ask) * 0.5, recv_ns)
        )
        if fault is None:
            return False
        self._count(fault)
        if fault is Refusal.LAGGING and self._same_order((bid + ask) * 0.5):
            self._late, self._late_ns = (bid, ask), recv_ns
        # An old quote that overtook nothing says nothing against the newer one.
        if fault is not Refusal.OUT_OF_ORDER:
            self.fresh_until_ns = 0
        return True

    def _number_fault(
        self, bid: float, bid_size: float, ask: float, ask_size: float
    ) -> Refusal | None:
        isfinite = math.isfinite
        if not (isfinite(bid) and isfinite(bid_size) and isfinite(ask) and isfinite(ask_size)):
            return Refusal.NOT_FINITE
        if bid < 0 or ask < 0 or bid_size < 0 or ask_size < 0:
            return Refusal.NEGATIVE
        if not (bid and ask and bid_size and ask_size):
            return Refusal.ONE_SIDED
        if bid >= ask:
            return Refusal.CROSSED
        if not LEAST_PRICE <= bid <= ask <= MOST_PRICE:
            return Refusal.OUT_OF_BAND
        if ask > bid * self._widest:
            return Refusal.WIDE
        touches = bid * bid_size, ask * ask_size
        if min(touches) < self._least_touch:
            return Refusal.THIN
        return None if max(touches) < _MOST_TOUCH else Refusal.OUT_OF_BAND

    def _time_fault(self, venue_ns: int, recv_ns: int) -> Refusal | None:
        if not venue_ns:
            return None
        transit_ns = recv_ns - venue_ns
        if not self._offset.observe(transit_ns):
            return Refusal.BAD_TIMESTAMP
        if transit_ns > self._offset.limit_ns:
            return Refusal.LAGGING
        if venue_ns < self._venue_ns and recv_ns - self.recv_ns <= FORGET_NS:
            return Refusal.OUT_OF_ORDER
        return None

    def _price_fault(self, mid: float, recv_ns: int) -> Refusal | None:
        fault = self._jump_fault(mid, recv_ns)
        if fault is None and not self._band_low <= mid <= self._band_high:
            return Refusal.OUT_OF_BAND
        return fault

    def _jump_fault(self, mid: float, recv_ns: int) -> Refusal | None:
        """Judge a mid by the last one; believe a new level that holds for some quotes."""
        level = self._anchor or self._level
        if not level:
            self._believe(mid, recv_ns)
            return None
        known = self.quote is not None and recv_ns - self.recv_ns <= FORGET_NS
        if known and not self._same_order(mid):
            self._doubt(level, level)
            return Refusal.PRICE_ERROR
        if not self._quarantine:
            if self._near(mid, level):
                self._believe(mid, recv_ns)
                return None
            self._doubt(level, mid)
            return Refusal.JUMP
        if not self._near(mid, self._candidate):
            self._doubt(level, mid)
            return Refusal.JUMP
        self._candidate = mid
        self._quarantine -= 1
        if self._quarantine:
            return Refusal.QUARANTINED
        self._believe(mid, recv_ns)
        return None

    def _believe(self, mid: float, recv_ns: int) -> None:
        self._level = mid
        self._level_ns = recv_ns

    def _same_order(self, mid: float) -> bool:
        """Whether a mid may be a price of this market at all, as far as one is known."""
        level, factor = self._anchor or self._level, self._limits.sanity_factor
        return not level or level / factor < mid < level * factor

    def _near(self, mid: float, level: float) -> bool:
        return abs(mid - level) <= level * self._limits.jump

    def _doubt(self, level: float, candidate: float) -> None:
        self._level = level
        self._anchor = 0.0
        self._candidate = candidate
        self._quarantine = self._limits.confirmations

    def _count(self, reason: str) -> None:
        self.refused[str(reason)] = self.refused.get(str(reason), 0) + 1

    # --- what others ask and tell it ---

    def touch(self) -> tuple[float, float] | None:
        """Return the newest bid and ask that are known, in time or late; None without any."""
        if self._late_ns > self.recv_ns:
            return self._late
        quote = self.quote
        return None if quote is None else (quote.bid, quote.ask)

    def level(self, now_ns: int) -> float:
        """Return the mid that is believed, be it in band or not; 0 when it is unknown or old."""
        if now_ns - max(self.recv_ns, self._level_ns) > FORGET_NS:
            return 0.0
        return self._anchor or self._level

    def speaks(self, now_ns: int) -> bool:
        """Whether its level was confirmed within the silence that its channel may keep."""
        return now_ns - max(self.recv_ns, self._level_ns) <= self._limits.silence_ns

    @property
    def polled(self) -> bool:
        """Whether quotes come from REST polls: shown, marked by, never opened on."""
        return self._polled

    @polled.setter
    def polled(self, polled: bool) -> None:
        self._polled = polled
        # Polled quotes are born stale, which costs the hot path nothing.
        self._silence_ns = -FORGET_NS if polled else self._limits.silence_ns
        self.fresh_until_ns = 0

    def set_band(self, low: float, high: float) -> None:
        """Refuse mids outside of this band."""
        self._band_low = max(low, LEAST_PRICE)
        self._band_high = min(high, MOST_PRICE)

    def invalidate(self, reason: str) -> None:
        """The channel broke: the last quote must not open anything."""
        self.fresh_until_ns = 0
        self._count(reason)

    def expire(self, now_ns: int) -> None:
        """End the use of a quote whose channel has been silent for too long (monotonic)."""
        if 0 < self.fresh_until_ns < now_ns:
            self.fresh_until_ns = 0
            self._count("silent")
