"""What a restart finds: taken down before its first step changes any of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.app.core import Core
from perpbot.app.restart.outlook import Holding, OrderOutlook, PairOutlook
from perpbot.app.restart.words import awaited
from perpbot.domain.money import ZERO
from perpbot.execution.pair import Pair
from perpbot.portfolio.intake import ReportIntake
from perpbot.portfolio.orders import Order, OrderTable


class Found:
    """Orders at work, pairs that are not flat, and what else is held or latched at `now_ns`."""

    def __init__(self, core: Core, now_ns: int) -> None:
        folds = core.folds
        self.orders = tuple(_order(order, core.intake) for order in folds.orders.unsettled())
        self.pairs = tuple(_pair(pair, folds.orders) for pair in folds.pairs)
        self.latches = _latches(core, now_ns)
        self.holdings = tuple(_holdings(core))
        self.reservations = tuple(_reservations(core))
        self.leases = tuple(_leases(core))


def _order(order: Order, intake: ReportIntake) -> OrderOutlook:
    request = order.request
    return OrderOutlook(
        client_id=request.client_id,
        pair=request.owner,
        venue=request.venue,
        asset=request.asset,
        purpose=request.purpose,
        side=request.side,
        quantity=request.quantity,
        filled=order.filled,
        price=request.price,
        state=order.state,
        since_ns=order.updated_ns,
        awaits=awaited(order, intake),
        steps=(),
    )


def _pair(pair: Pair, orders: OrderTable) -> PairOutlook:
    return PairOutlook(
        pair=pair.plan.pair_id,
        asset=pair.plan.asset,
        state=pair.state,
        long_venue=pair.plan.long_venue,
        long_quantity=pair.long.quantity,
        short_venue=pair.plan.short_venue,
        short_quantity=pair.short.quantity,
        imbalance=pair.imbalance,
        unhedged_since_ns=pair.unhedged_since_ns,
        close_reason=pair.close_reason,
        orders=tuple(order.request.client_id for order in orders.of_owner(pair.plan.pair_id)),
        steps=(),
        state_after="",
        next_look_ms=None,
        waits_for=(),
    )


def _reservations(core: Core) -> list[dict[str, object]]:
    return [
        {
            "reservation": found.reservation_id,
            "pool": found.pool,
            "owner": found.owner,
            "legs": found.legs,
            "used": found.used,
            "sent": found.sent,
            "expires_ns": found.expires_ns,
        }
        for found in core.folds.reservations
    ]


def _latches(core: Core, now_ns: int) -> dict[str, object]:
    latches = core.folds.latches
    override = latches.override if latches.overridden(now_ns) else None
    return {
        "kill_level": latches.kill_level,
        "kill_reason": latches.kill_reason,
        "venue_kills": msgspec.to_builtins(latches.venue_kills),
        "halts": dict(latches.halts),
        "cooldowns": latches.cooling(now_ns),
        "safe_mode": [
            venue
            for venue in core.markets.capabilities
            if core.folds.equity.safe_since_ns(venue) is not None
        ],
        "override": None if override is None else msgspec.to_builtins(override),
    }


def _leases(core: Core) -> list[dict[str, str]]:
    return [
        {"venue": key[0], "account": key[1], "asset": key[2], "side": key[3], "owner": owner}
        for key, owner in core.folds.leases.items()
    ]


def _holdings(core: Core) -> list[Holding]:
    """Return the legs whose position is not what the pairs hold there."""
    by_pairs: dict[tuple[str, str, str, str], Decimal] = {}
    for pair in core.folds.pairs:
        for index in (0, 1):
            venue = pair.venue(index)
            side = core.around.position_side(venue, index)
            key = (venue, pair.account(index), pair.plan.asset, str(side))
            by_pairs[key] = by_pairs.get(key, ZERO) + pair.leg(index).quantity
    found = []
    for key, position in core.folds.positions.held():
        venue, account, asset, position_side = key
        held = by_pairs.get(key, ZERO)
        rest = position.quantity - held
        if rest:
            instrument = core.markets.instruments.get((venue, asset))
            found.append(
                Holding(
                    venue=venue,
                    account=account,
                    asset=asset,
                    side=position_side,
                    quantity=position.quantity,
                    held_by_pairs=held,
                    dust=instrument is not None and abs(rest) < instrument.quantity_step,
                )
            )
    return found
