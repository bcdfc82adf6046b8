"""Leave to dial: how often a venue lets one address open a websocket.

All channels of a venue share one `Dials`, first come first served. Each attempt counts, answered
or not, so channels that are lost together come back one window after the other and are not
refused for it. One node is taken to be alone on its address.
"""

from __future__ import annotations

from perpbot.kernel.clock import Clock, Timers
from perpbot.venues.wire.limits import Lane, RateBudget, Window

SPREAD_S = 0.5
"""Added to a venue's window: it counts what arrives, and dials may arrive closer together than
they left."""
_DIALS = "dials"


class Dials:
    """At most `limit` attempts in any `period_s` seconds, the venue's own figures."""

    def __init__(
        self, limit: int, period_s: float, *, clock: Clock, timers: Timers | None = None
    ) -> None:
        window = Window(name=_DIALS, limit=limit, period_s=period_s + SPREAD_S)
        self._budget = RateBudget([window], clock=clock, reserve_share=0.0, timers=timers)

    async def leave(self) -> None:
        """Wait until one more attempt may be made, and count it."""
        await self._budget.acquire(Lane.READ, {_DIALS: 1})
