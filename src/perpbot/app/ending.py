"""How a node leaves its venues: what it takes back, and whether the rest can be left alone."""

from __future__ import annotations

import asyncio

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.domain.events import CancelOrders
from perpbot.domain.sides import PairState, Purpose
from perpbot.kernel.clock import Clock

DRAIN_S = 5.0
POLL_S = 0.05


async def cancel_resting(core: Core, clock: Clock) -> None:
    """Take back what may still open; reductions and protective stops stay at the venue."""
    orders = core.folds.orders
    resting = tuple(
        order.request.client_id
        for order in orders.unsettled()
        if order.request.purpose in {Purpose.OPEN, Purpose.HEDGE} and not order.state.is_end
    )
    if resting:
        core.bus.publish(
            CancelOrders(ts_ns=clock.now_ns(), client_ids=resting, reason="the node ends")
        )
    loop = asyncio.get_running_loop()
    until = loop.time() + DRAIN_S
    # That all have ended is a fact of a table: looked at, not waited for.
    while (  # noqa: ASYNC110
        any(not order.state.is_end for order in orders.unsettled()) and loop.time() < until
    ):
        await asyncio.sleep(POLL_S)


def left_in_order(folds: Folds) -> bool:
    """Whether nothing is under way and every pair that stays open is hedged.

    Else the guardian is not told that we ended: it will see to what we leave behind.
    """
    return all(
        order.state.is_end or order.request.purpose is Purpose.PROTECT
        for order in folds.orders.unsettled()
    ) and all(pair.state in {PairState.HEDGED, PairState.FLAT} for pair in folds.pairs)
