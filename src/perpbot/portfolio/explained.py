"""Takes an adjustment back when the execution is told that it stood for.

A venue may show a position before it tells the execution that moved it (a liquidation, somebody's
own trade). Our books then follow the position. The execution is booked all the same when it comes,
with its price and fee; were the adjustment left as it is, it would count twice, and a leg that is
hedged would look as if it were not.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.events import OrderFilled, PositionAdjusted
from perpbot.domain.money import ZERO, plain
from perpbot.domain.sides import PositionSide
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.leases import Leg, leg
from perpbot.portfolio.orders import OrderTable
from perpbot.portfolio.positions import Adjustment, PositionBook

CLOCKS_NS = SECOND
"""By which a venue's clock may be ahead of ours."""


class ExplainedAdjustments:
    """See the module. Hears of executions and adjustments once they are folded."""

    def __init__(
        self, bus: EventBus, clock: Clock, positions: PositionBook, orders: OrderTable
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._positions = positions
        self._orders = orders
        self._under_way: dict[tuple[Leg, int], Decimal] = {}
        """By leg and time of an adjustment: what of it is on its way to be taken back."""
        bus.subscribe(OrderFilled, self._filled)
        bus.subscribe(PositionAdjusted, self._adjusted)

    def _filled(self, event: OrderFilled) -> None:
        key = leg(event.venue, event.account, event.asset, event.position_side)
        left = event.quantity * event.side.sign
        for standing in self._positions.get(key).adjustments:
            rest = standing.delta - self._under_way.get((key, standing.ts_ns), ZERO)
            if rest * left > 0 and self._is_earlier(event, standing):
                part = rest if abs(rest) < abs(left) else left
                left -= part
                self._take_back(event, key, standing, part)

    def _is_earlier(self, event: OrderFilled, standing: Adjustment) -> bool:
        """Whether an execution was part of the position that our books were adjusted to."""
        order = self._orders.get(event.client_id) if event.client_id else None
        if order is not None and order.created_ns >= standing.ts_ns:
            return False
        return 0 < event.venue_ns <= standing.ts_ns + CLOCKS_NS

    def _take_back(
        self, event: OrderFilled, key: Leg, standing: Adjustment, part: Decimal
    ) -> None:
        venue, account, asset, side = key
        under_way = self._under_way.get((key, standing.ts_ns), ZERO)
        self._under_way[key, standing.ts_ns] = under_way + part
        self._bus.publish(
            PositionAdjusted(
                ts_ns=self._clock.now_ns(),
                correlation_id=event.correlation_id,
                venue=venue,
                account=account,
                asset=asset,
                position_side=PositionSide(side),
                delta=-part,
                price=standing.price,
                reason=f"execution {event.trade_id} of {plain(event.quantity)} is what the books "
                "had been adjusted for",
                takes_back_ns=standing.ts_ns,
            )
        )

    def _adjusted(self, event: PositionAdjusted) -> None:
        if not event.takes_back_ns:
            return
        key = leg(event.venue, event.account, event.asset, event.position_side)
        left = self._under_way.pop((key, event.takes_back_ns), ZERO) + event.delta
        if left:
            self._under_way[key, event.takes_back_ns] = left
