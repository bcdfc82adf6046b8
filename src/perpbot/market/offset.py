"""How far a venue's clock is from ours, and so how late its frames are.

Receive times are monotonic, venue times are the venue's wall clock: their difference is transit
time plus a constant that nobody knows. The running minimum of the difference takes the constant
away, whatever it is; what a frame has on top of the minimum is its lag. Minima are forgotten after
one to two windows, so that slow drift and a clock that was set do not stay for ever.
"""

from __future__ import annotations

WINDOW_NS = 120_000_000_000
"""A minimum is remembered for one to two of these."""
STEP_NS = 10_000_000_000
"""A venue time further ahead than this is an error, not a faster path."""
STEP_CONFIRMATIONS = 20
"""Frames in a row after which such a venue time is believed: the venue has set its clock."""

_UNKNOWN = 1 << 63


class ClockOffset:
    """The offset of one venue.

    `least_ns` is the minimum of this window, `floor_ns` that of this and the last one, `limit_ns`
    the largest receive minus venue time that is not late.
    """

    __slots__ = (
        "_ahead",
        "_lag_ns",
        "_previous_ns",
        "_turned_ns",
        "floor_ns",
        "least_ns",
        "limit_ns",
    )

    def __init__(self, lag_ns: int) -> None:
        """`lag_ns`: the lag beyond the floor at which a frame is too late."""
        self._lag_ns = lag_ns
        self._previous_ns = _UNKNOWN
        self._turned_ns = 0
        self._ahead = 0
        self.least_ns = _UNKNOWN
        self.floor_ns = _UNKNOWN
        self.limit_ns = _UNKNOWN

    @property
    def known(self) -> bool:
        """Whether any venue time was seen in the last windows."""
        return self.floor_ns != _UNKNOWN

    def observe(self, transit_ns: int) -> bool:
        """Take a receive minus venue time; False when the venue time cannot be right."""
        floor_ns = self.floor_ns
        if floor_ns != _UNKNOWN and transit_ns < floor_ns - STEP_NS:
            self._ahead += 1
            if self._ahead < STEP_CONFIRMATIONS:
                return False
        self._ahead = 0
        if transit_ns < self.least_ns:
            self.least_ns = transit_ns
            self._set_floor()
        return True

    def turn(self, now_ns: int) -> None:
        """Forget the minimum of the window before the last; called now and then (monotonic)."""
        if not self._turned_ns:
            self._turned_ns = now_ns
        elif now_ns - self._turned_ns >= WINDOW_NS:
            self._turned_ns = now_ns
            self._previous_ns, self.least_ns = self.least_ns, _UNKNOWN
            self._set_floor()

    def _set_floor(self) -> None:
        floor_ns = min(self.least_ns, self._previous_ns)
        self.floor_ns = floor_ns
        self.limit_ns = floor_ns if floor_ns == _UNKNOWN else floor_ns + self._lag_ns
