"""Exposure: what the positions add up to.

Net by asset, `total_net` = sum of absolute nets (used for limits), `directional_net` = signed sum
(information), gross = sum of absolute legs, and concentration as shares of gross and of equity
(spec/perpbot.md d.8 as corrected by E-06 and E-07). USD throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from perpbot.domain.events import OrderFilled, PositionAdjusted, PositionUpdated
from perpbot.domain.money import ZERO
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.portfolio.positions import PositionBook


class Exposure(msgspec.Struct, frozen=True):
    """USD figures over all legs."""

    net_by_asset: dict[str, Decimal]
    gross_by_asset: dict[str, Decimal]

    @property
    def total_net(self) -> Decimal:
        """Sum of the absolute nets by asset."""
        return sum((abs(net) for net in self.net_by_asset.values()), ZERO)

    @property
    def directional_net(self) -> Decimal:
        """Signed sum over assets."""
        return sum(self.net_by_asset.values(), ZERO)

    @property
    def gross(self) -> Decimal:
        """Sum of the absolute legs."""
        return sum(self.gross_by_asset.values(), ZERO)

    def gross_share(self, asset: str) -> Decimal | None:
        """Return the asset's share of gross, or None when there is no exposure."""
        gross = self.gross
        return self.gross_by_asset.get(asset, ZERO) / gross if gross else None

    def net_share(self, asset: str, equity: Decimal) -> Decimal | None:
        """Return |net of the asset| / equity, or None when equity is not positive."""
        return abs(self.net_by_asset.get(asset, ZERO)) / equity if equity > 0 else None


def expose(legs: Iterable[tuple[str, Decimal]]) -> Exposure:
    """Add up (asset, signed USD notional) legs."""
    net: dict[str, Decimal] = {}
    gross: dict[str, Decimal] = {}
    for asset, notional in legs:
        net[asset] = net.get(asset, ZERO) + notional
        gross[asset] = gross.get(asset, ZERO) + abs(notional)
    return Exposure(net, gross)


class PositionAggregator:
    """Positions at their marks; publishes POSITION_UPDATED after every change of a leg."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        book: PositionBook,
        mark: Callable[[str, str], Decimal | None],
    ) -> None:
        """`mark(venue, asset)` gives USD per base coin, or None where it is not known."""
        self._bus = bus
        self._clock = clock
        self._book = book
        self._mark = mark
        bus.subscribe(OrderFilled, self._changed)
        bus.subscribe(PositionAdjusted, self._changed)

    def exposure(self) -> Exposure:
        """Return the exposure now; a leg without a mark counts at its entry price."""
        return expose(
            (key[2], position.quantity * self._price(key[0], key[2], position.entry_usd))
            for key, position in self._book.held()
        )

    def net(self, asset: str) -> Decimal:
        """Return the signed net of one asset now, USD."""
        return sum(
            (
                position.quantity * self._price(key[0], asset, position.entry_usd)
                for key, position in self._book.held()
                if key[2] == asset
            ),
            ZERO,
        )

    def _price(self, venue: str, asset: str, entry: Decimal) -> Decimal:
        mark = self._mark(venue, asset)
        return entry if mark is None else mark

    def _changed(self, event: OrderFilled | PositionAdjusted) -> None:
        per_venue: dict[str, Decimal] = {}
        net = gross = ZERO
        for key, position in self._book.held():
            if key[2] != event.asset:
                continue
            per_venue[key[0]] = per_venue.get(key[0], ZERO) + position.quantity
            notional = position.quantity * self._price(key[0], key[2], position.entry_usd)
            net += notional
            gross += abs(notional)
        self._bus.publish(
            PositionUpdated(
                ts_ns=self._clock.now_ns(),
                correlation_id=event.correlation_id,
                asset=event.asset,
                per_venue=per_venue,
                net_usd=net,
                gross_usd=gross,
            )
        )
