"""From equity to pools: a pure function (spec/perpbot.md d.6)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from perpbot.domain.money import ZERO
from perpbot.portfolio.settings import CapitalSettings


class Pool(StrEnum):
    """What capital is for."""

    VOLUME = "volume"
    ARBITRAGE = "arbitrage"
    RESERVE = "reserve"


class Allocation(msgspec.Struct, frozen=True):
    """USD of each pool by venue; the share of a pool that is off is unallocated."""

    pools: dict[str, dict[str, Decimal]]
    unallocated: Decimal

    def total(self, pool: str) -> Decimal:
        """Return a pool's equity over all venues."""
        return sum(self.pools.get(pool, {}).values(), ZERO)


class CapitalAllocator:
    """Divides each venue's equity by the configured shares."""

    def __init__(self, settings: CapitalSettings) -> None:
        self._shares: dict[str, tuple[Decimal, bool]] = {
            Pool.VOLUME: (settings.volume_share_ratio, settings.volume_enabled),
            Pool.ARBITRAGE: (settings.arbitrage_share_ratio, settings.arbitrage_enabled),
            Pool.RESERVE: (settings.reserve_share_ratio, settings.reserve_enabled),
        }

    def allocate(self, equity: Mapping[str, Decimal]) -> Allocation:
        """Divide `equity` (venue -> USD); a venue in debt gives no pool anything."""
        pools: dict[str, dict[str, Decimal]] = {pool: {} for pool in self._shares}
        unallocated = ZERO
        for venue, amount in equity.items():
            usable = max(amount, ZERO)
            for pool, (share, enabled) in self._shares.items():
                if enabled:
                    pools[pool][venue] = usable * share
                else:
                    unallocated += usable * share
        return Allocation(pools, unallocated)
