"""Unhedged time: when the true net of an asset is more than what may stay open."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.kernel.clock import Clock
from perpbot.research.chaos.plan import Plan
from perpbot.research.chaos.testimony.books import Books
from perpbot.research.chaos.testimony.orders import Orders
from perpbot.research.chaos.testimony.truth import Truth
from perpbot.research.chaos.unhedged import Spell


class Exposure:
    """P4: the spells; how long each may last is judged at the end, by `unhedged`."""

    def __init__(
        self, plan: Plan, clock: Clock, truth: Truth, books: Books, orders: Orders
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._truth = truth
        self._books = books
        self._orders = orders
        self.spells: list[Spell] = []
        """Of unhedged time that have ended."""
        self._steps = {
            (venue, contract.asset): contract.quantity_step
            for venue, contracts in plan.contracts.items()
            for contract in contracts
        }
        """The coarsest that each market was traded in."""
        self._open_ns: dict[str, int] = {}
        self._doubt_ns: dict[str, int] = {}
        """By asset: when an order of unknown outcome, or a wrong position, last became known."""

    @property
    def worst_ns(self) -> int:
        """The longest spell."""
        return max((spell.lasted_ns for spell in self.spells), default=0)

    def regridded(self, venue: str, asset: str, step: Decimal) -> None:
        """A venue trades an asset in other steps: dust may be as large as the coarsest of them."""
        self._steps[venue, asset] = max(self._steps[venue, asset], step)

    def doubted(self, asset: str) -> None:
        """Until now nobody could know the asset's position."""
        self._doubt_ns[asset] = self._clock.now_ns()

    def executed(self, asset: str) -> None:
        """The net of an asset moved: a spell may begin or end."""
        now_ns = self._clock.now_ns()
        hedged = self._is_hedged(asset)
        since_ns = self._open_ns.get(asset)
        if hedged and since_ns is not None:
            del self._open_ns[asset]
            self._end(asset, since_ns, now_ns)
        elif not hedged and since_ns is None:
            self._open_ns[asset] = now_ns

    def unhedged(self) -> list[str]:
        """Return the assets whose net is open now."""
        return [
            f"P4 {asset} is unhedged by {self._truth.net(asset)}"
            for asset in self._plan.assets
            if not self._is_hedged(asset)
        ]

    def close(self) -> None:
        """Count spells that have not ended."""
        for asset, since_ns in self._open_ns.items():
            self._end(asset, since_ns, self._clock.now_ns())

    def _is_hedged(self, asset: str) -> bool:
        """Whether no more is open than one step and the dust that was declared."""
        largest = max(step for (_, name), step in self._steps.items() if name == asset)
        dust = self._books.declared_dust.get(asset, ZERO)
        return abs(self._truth.net(asset)) <= largest + dust

    def _end(self, asset: str, start_ns: int, stop_ns: int) -> None:
        doubt_ns = stop_ns
        if not self._orders.any_unknown(asset):
            doubt_ns = self._doubt_ns.get(asset, 0)
        moved = {venue for venue, name in self._truth.moved_by_others if name == asset}
        venues = self._books.pair_venues.get(asset, frozenset()) | moved
        self.spells.append(Spell(asset, venues, start_ns, stop_ns, doubt_ns >= start_ns))
