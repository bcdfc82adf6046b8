"""What to take back and what to close, from what the venues say. Pure.

Only orders whose client id carries the account's own bits are taken back, and of those no
protective stop. Only what the legs of an asset do not hedge of each other is closed (or all, where
that is set), never more than a leg holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import BPS, ONE, ZERO
from perpbot.domain.orders import OrderReport, PositionReport
from perpbot.domain.sides import PositionSide, Purpose, Side
from perpbot.kernel.ids import decode_order_id, stable_bits


class Reduction(msgspec.Struct, frozen=True, kw_only=True):
    """One leg that is to shrink."""

    venue: str
    symbol: str
    asset: str
    side: Side
    """That shrinks it."""
    position_side: PositionSide
    quantity: Decimal
    """At most; the venue's grid cuts it."""
    mark: Decimal


def is_ours(report: OrderReport, account: str) -> bool:
    """Tell whether an open order is this account's own and no protective stop."""
    identity = decode_order_id(report.client_id)
    return (
        identity is not None
        and identity.account == stable_bits(account)
        and identity.purpose is not Purpose.PROTECT
    )


def everything(positions: Iterable[PositionReport]) -> list[Reduction]:
    """Close every leg."""
    return [_shrink(leg, abs(leg.quantity)) for leg in positions if leg.quantity]


def unhedged(positions: Sequence[PositionReport]) -> list[Reduction]:
    """Close what is left over of each asset, the largest leg first.

    `positions` are those of every venue: a leg that is not known would look like none.
    """
    net: dict[str, Decimal] = {}
    for leg in positions:
        net[leg.asset] = net.get(leg.asset, ZERO) + leg.quantity
    wanted = []
    for leg in sorted(positions, key=lambda leg: (-abs(leg.quantity), leg.venue, leg.symbol)):
        over = net[leg.asset]
        if over * leg.quantity <= 0:
            continue
        quantity = min(abs(over), abs(leg.quantity))
        net[leg.asset] = over - (quantity if over > 0 else -quantity)
        wanted.append(_shrink(leg, quantity))
    return wanted


def sized(
    reduction: Reduction, instrument: Instrument, slippage_bps: Decimal
) -> tuple[Decimal, Decimal] | str:
    """Return quantity and limit price as the venue takes them, or why nothing can be sent."""
    quantity = instrument.round_quantity(reduction.quantity)
    if instrument.max_quantity is not None:
        quantity = min(quantity, instrument.round_quantity(instrument.max_quantity))
    if reduction.mark <= 0:
        return "the venue tells no mark price"
    raw = reduction.mark * (ONE + reduction.side.sign * slippage_bps / BPS)
    price = instrument.round_price(raw, reduction.side)
    try:
        instrument.check_order(price, quantity, reduce_only=True)
    except InvalidValue as error:
        return str(error)
    return quantity, price


def _shrink(leg: PositionReport, quantity: Decimal) -> Reduction:
    return Reduction(
        venue=leg.venue,
        symbol=leg.symbol,
        asset=leg.asset,
        side=Side.SELL if leg.quantity > 0 else Side.BUY,
        position_side=leg.position_side,
        quantity=quantity,
        mark=leg.mark_price,
    )


def by_venue(reductions: Iterable[Reduction]) -> Mapping[str, list[Reduction]]:
    """Return them by venue."""
    found: dict[str, list[Reduction]] = {}
    for reduction in reductions:
        found.setdefault(reduction.venue, []).append(reduction)
    return found
